"""Which series fit a role: every refusal has a reason, nothing unfit slips through."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.series import Series
from fusionnode.domain.terms import UNSETTLED, SeriesState
from fusionnode.pairing.select import (
    explain_unfit,
    find_unmet,
    foresee_series,
    list_unmet,
    name_plane,
    score_series,
    select_series,
)
from fusionnode.pipeline.parse import parse_pipeline
from fusionnode.pipeline.schema import Condition, Pipeline, Preference, SeriesRule
from tests.support.series_headers import AXIAL, SC_CLASS, Stack, add_raw_data, alter_instances, make_series

WHOLE = Stack()
PIPELINES = Path(__file__).parents[2] / "pipelines"
RULE = SeriesRule(
    modality=("MR",),
    min_slices=8,
    where=(Condition(attribute="ImageType", excludes="LOCALIZER", because="is a localizer"),),
    prefer=(
        Preference(attribute="SeriesDescription", matches="t1", weight=3, because="T1-weighted"),
        Preference(attribute="MRAcquisitionType", matches="^3D$", weight=2),
    ),
)

many_series = st.lists(
    st.builds(
        make_series,
        name=st.sampled_from("abcdefgh"),
        modality=st.sampled_from(["MR", "PT", "OT"]),
        stack=st.builds(Stack, slices=st.integers(1, 12)),
        attributes=st.fixed_dictionaries(
            {}, optional={"ImageType": st.sampled_from(["ORIGINAL\\PRIMARY\\M", "original\\primary\\localizer"])}
        ),
        state=st.sampled_from(list(SeriesState)),
    ),
    max_size=6,
    unique_by=lambda one: one.key,
)


@given(series=many_series, seed=st.integers(0, 9))
def test_each_series_is_chosen_or_refused_with_a_reason_whatever_the_order(series: list[Series], seed: int) -> None:
    shuffled = random.Random(seed).sample(series, len(series))
    chosen, refused = select_series(RULE, shuffled)
    assert (chosen, refused) == select_series(RULE, series)
    assert sorted(str(one.key) for one in series) == sorted(
        [str(choice.series.key) for choice in chosen] + [str(one.key) for one, _ in refused]
    )
    assert all(reason for _, reason in refused)
    assert all(one.series.frames >= 8 and one.series.state is SeriesState.COMPLETE for one in chosen)


def test_preferences_that_hold_add_their_weights_and_say_so() -> None:
    series = make_series("t1", attributes={"SeriesDescription": "AX T1 SPGR", "MRAcquisitionType": "3D"})
    ((chosen,), refused) = select_series(RULE, [series])
    assert not refused
    assert chosen.preference_score == 5
    assert chosen.reasons == ("T1-weighted", "MRAcquisitionType matches '^3D$'")


@given(series=many_series)
def test_only_what_is_on_its_way_is_foreseen_and_fits_once_it_is_whole(series: list[Series]) -> None:
    for choice in foresee_series(RULE, series):
        assert choice.series.state in UNSETTLED
        whole = replace(choice.series, state=SeriesState.COMPLETE)
        reason = explain_unfit(RULE, whole)
        assert reason == "" or "fewer than 8" in reason
        assert choice.preference_score == score_series(RULE, whole).preference_score


@pytest.mark.parametrize(
    ("orientation", "plane"),
    [
        (AXIAL, "AXIAL"),
        ((-1.0, 0, 0, 0, -1, 0), "AXIAL"),
        ((1.0, 0, 0, 0, 0.94, 0.34), "AXIAL"),
        ((0.0, 1, 0, 0, 0, -1), "SAGITTAL"),
        ((1.0, 0, 0, 0, 0, -1), "CORONAL"),
        ((1.0, 0, 0, 0, 0.70710678, 0.70710679), "AXIAL"),
        ((1.0, 0, 0, 1, 0, 0), ""),
        ((1.0, 0, 0, 0, float("nan"), 0), ""),
        ((1.0, 0, 0), ""),
        (None, ""),
    ],
)
def test_a_plane_is_named_after_the_nearest(orientation: tuple[float, ...] | None, plane: str) -> None:
    assert name_plane(orientation) == plane


@pytest.mark.parametrize(
    ("attributes", "holds"),
    [
        ({"SeriesDescription": "T1"}, True),
        ({"ProtocolName": "T1"}, True),
        ({"SeriesDescription": "T2", "ProtocolName": "T1"}, False),
        ({}, False),
    ],
)
def test_a_description_that_is_missing_is_the_protocol_s(attributes: dict[str, str], holds: bool) -> None:
    condition = Condition(attribute="Description", matches="T1")
    assert (find_unmet([condition], make_series("one", attributes=attributes)) == "") == holds


@pytest.mark.parametrize(
    ("echo_time", "short"),
    [("2.98", True), ("19.9", True), ("3.700000e+00", True), ("1.25e+01", True), ("20", False), ("9.9e+01", False)],
)
def test_shipped_rules_read_echo_times_as_vendors_write_them(echo_time: str, short: bool) -> None:
    scores = rank(SHIPPED[0].fixed, [{"EchoTime": echo_time}, {"EchoTime": "200"}])
    assert scores[0] - scores[1] == (0.5 if short else 0)


def test_a_rule_may_ask_for_the_plane() -> None:
    sagittal = make_series("sag", stack=Stack(orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0)))
    axial_only = Condition(attribute="SlicePlane", matches="^AXIAL$")
    assert list_unmet([axial_only], sagittal) == [axial_only]
    assert list_unmet([axial_only], make_series("ax")) == []


SHIPPED = [parse_pipeline(path.read_text(), path.name) for path in sorted(PIPELINES.glob("*.yaml"))]


def rank(rule: SeriesRule, attributes: Sequence[dict[str, str]], stack: Stack = WHOLE) -> list[float]:
    modality = rule.modality[0]
    made = [make_series(str(number), modality, stack, attributes=one) for number, one in enumerate(attributes)]
    return [score_series(rule, one).preference_score for one in made]


@pytest.mark.parametrize("pipeline", SHIPPED, ids=lambda one: one.name)
def test_shipped_rules_put_3d_t1_before_2d_t1_before_t2_before_the_rest_before_attenuation_maps(
    pipeline: Pipeline,
) -> None:
    best_of = {"MRAcquisitionType": "3D", "ImageType": "ORIGINAL\\PRIMARY", "ContrastBolusAgent": "GADOVIST"}
    ranked = rank(
        pipeline.fixed,
        [
            {"SeriesDescription": "t1_mprage_sag_p2_iso", "MRAcquisitionType": "3D", "EchoTime": "2.98"},
            {"SeriesDescription": "T1 SE ax", "MRAcquisitionType": "2D", "EchoTime": "9"},
            {"SeriesDescription": "T2 SPACE FLAIR 3D", "EchoTime": "388", **best_of},
            {"SeriesDescription": "T2 tse", "EchoTime": "101"},
            {"SeriesDescription": "Proton density", "EchoTime": "12.0", **best_of},
            {"SeriesDescription": "Head_MRAC_PET", "EchoTime": "1.2"},
        ],
    )
    assert ranked == sorted(ranked, reverse=True)
    assert len(set(ranked)) == len(ranked)


@pytest.mark.parametrize("description", ["sT1W_3D_TFE", "3DT1", "AX T1 SPGR", "WIP T1W", "MP2RAGE_UNI", "t1_fl2d"])
def test_shipped_rules_know_t1_by_its_vendors_names(description: str) -> None:
    (chosen, other) = rank(SHIPPED[0].fixed, [{"SeriesDescription": description}, {"SeriesDescription": "post1 T10"}])
    assert chosen == other + 10


def test_shipped_rules_prefer_contrast_agent_and_axial_planes_between_equals() -> None:
    rule = SHIPPED[0].fixed
    agents = ["GADOVIST 7.5 ml", "NONE", "no", "", "without contrast"]
    scores = rank(rule, [{"SeriesDescription": "T1", "ContrastBolusAgent": agent} for agent in agents])
    assert scores == [scores[1] + 0.5, *[scores[1]] * 4]
    coronal = rank(rule, [{"SeriesDescription": "T1"}], Stack(orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0)))
    assert coronal == [scores[1] - 0.5]


@pytest.mark.parametrize("pipeline", SHIPPED, ids=lambda one: one.name)
def test_shipped_rules_prefer_corrected_to_uncorrected_uptake(pipeline: Pipeline) -> None:
    corrected, plain, *uncorrected = rank(
        pipeline.moving,
        [
            {"SeriesDescription": "PET wb", "CorrectedImage": "DECY\\ATTN\\SCAT"},
            {"SeriesDescription": "PET AC brain", "CorrectedImage": "DECY"},
            *(
                {"SeriesDescription": f"brain {words}"}
                for words in ("NAC", "BrainNAC", "no AC", "uncorrected", "non-AC")
            ),
        ],
    )
    assert corrected > plain > max(uncorrected)


def test_both_shipped_pipelines_choose_the_mri_alike() -> None:
    assert SHIPPED[0].fixed == SHIPPED[1].fixed


@pytest.mark.parametrize("pipeline", SHIPPED, ids=lambda one: one.name)
@pytest.mark.parametrize(
    "description",
    [
        "gre_field_mapping",
        "ep2d_diff_3scan_trace",
        "resolve_3scan_trace_tra",
        "ax diffusion",
        "ep2d_tracew",
        "relCBF",
        "rCBV",
        "CBF",
        "eADC",
        "ADC",
        "FA_color",
        "ColFA",
        "dti FA",
        "B1map",
        "b0 map",
        "t1_map",
        "T2*_map",
        "T2 star map",
        "Pha_Images",
        "swi_pha",
        "TOF_3D_multi-slab",
        "3D TOF",
        "3DTOF",
        "MinIP",
    ],
)
def test_shipped_rules_refuse_maps_diffusion_and_angiography_by_description(
    pipeline: Pipeline, description: str
) -> None:
    assert "by its description" in explain_unfit(pipeline.fixed, make_series("a", attributes=name_it(description)))


@pytest.mark.parametrize("pipeline", SHIPPED, ids=lambda one: one.name)
@pytest.mark.parametrize(
    "image_type",
    [
        "ORIGINAL\\PRIMARY\\DIFFUSION\\NONE\\ND",
        "DERIVED\\PRIMARY\\MNIP\\ND",
        "DERIVED\\SECONDARY\\MIN IP",
        "ORIGINAL\\PRIMARY\\VELOCITY\\NONE",
        "ORIGINAL\\PRIMARY\\VELOCITY MAP\\V\\PCA",
    ],
)
def test_shipped_rules_refuse_maps_diffusion_and_velocity_by_image_type(pipeline: Pipeline, image_type: str) -> None:
    attributes = {**name_it("t1_mprage_sag"), "ImageType": image_type}
    assert "by its Image Type" in explain_unfit(pipeline.fixed, make_series("a", attributes=attributes))


@pytest.mark.parametrize("pipeline", SHIPPED, ids=lambda one: one.name)
@pytest.mark.parametrize(
    "description",
    [
        "t1_mprage_sag",
        "Ax T2 FLAIR",
        "Sag 3D BRAVO",
        "t1_vibe_fs",
        "T2 TSE",
        "sT1W_3D_TFE",
        "t1_vibe_FA15",
        "T1 FA 20",
        "T1 arterial phase",
        "T1 post tracer",
        "T2* GRE",
        "fast T1",
        "isotropic T1",
    ],
)
def test_shipped_rules_keep_anatomy(pipeline: Pipeline, description: str) -> None:
    attributes = {**name_it(description), "ImageType": "ORIGINAL\\PRIMARY\\M\\NORM\\DIS3D"}
    assert explain_unfit(pipeline.fixed, make_series("a", attributes=attributes)) == ""


def test_shipped_rules_keep_a_magnitude_that_shares_its_series_with_the_phase() -> None:
    magnitude, phase = (
        make_series("both", attributes={"ImageType": f"ORIGINAL\\PRIMARY\\{kind}\\NORM"}) for kind in ("M", "P")
    )
    both = replace(magnitude, instances=(*magnitude.instances, *phase.instances))
    assert explain_unfit(SHIPPED[0].fixed, both) == ""


def name_it(description: str) -> dict[str, str]:
    return {"SeriesDescription": description}


def test_what_can_never_become_a_volume_takes_no_role() -> None:
    legacy = alter_instances(make_series("old", "PT"), sop_class_uid="1.2.840.10008.5.1.4.1.1.128.1")
    assert "hold no volume" in explain_unfit(SeriesRule(modality=("PT",)), legacy)


def test_a_fused_series_is_never_a_source() -> None:
    ours = alter_instances(make_series("ours"), sop_class_uid=SC_CLASS)
    chosen, ((_, reason),) = select_series(RULE, [ours])
    assert not chosen
    assert "no volume" in reason


def test_one_localizer_slice_spoils_the_series() -> None:
    series = make_series("mixed", attributes={"ImageType": "ORIGINAL\\PRIMARY"})
    spoiled = make_series("mixed", attributes={"ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"})
    mixed = Series(series.key, series.state, (*series.instances[:-1], spoiled.instances[-1]))
    _, ((_, reason),) = select_series(RULE, [mixed])
    assert reason == "is a localizer"


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ({"matches": "^3d$"}, "3D", True),
        ({"matches": "."}, None, False),
        ({"excludes": "."}, None, True),
        ({"matches": "AC", "excludes": "NAC"}, "PET NAC", False),
        ({"matches": "AC", "excludes": "NAC"}, "PET AC", True),
        ({"matches": r"\\RECON TOMO\\"}, "ORIGINAL\\PRIMARY\\RECON TOMO\\EMISSION", True),
    ],
)
def test_conditions(condition: dict[str, str], value: str | None, holds: bool) -> None:
    attributes = {} if value is None else {"SeriesDescription": value}
    series = make_series("one", attributes=attributes)
    unmet = find_unmet([Condition(attribute="SeriesDescription", **condition)], series)
    assert (unmet == "") == holds


def test_the_words_of_a_refusal_do_not_repeat_the_header() -> None:
    series = make_series("named", attributes={"SeriesDescription": "Mrs Example localizer"})
    unmet = find_unmet([Condition(attribute="SeriesDescription", excludes="localizer")], series)
    assert unmet
    assert "Example" not in unmet


def test_what_kind_of_series_it_is_comes_before_how_many_slices_it_has() -> None:
    rules = {pipeline.name: pipeline for pipeline in SHIPPED}
    mosaic = make_series("m", stack=Stack(slices=1), attributes={"ImageType": "ORIGINAL\\PRIMARY\\M\\ND\\MOSAIC"})
    planar = make_series("n", "NM", Stack(slices=1), attributes={"ImageType": "ORIGINAL\\PRIMARY\\STATIC\\EMISSION"})
    assert "mosaic" in explain_unfit(rules["mr-nm"].fixed, mosaic)
    assert "planar" in explain_unfit(rules["mr-nm"].moving, planar)
    assert explain_unfit(RULE, make_series("one", stack=Stack(slices=1))) == "has 1 slice(s), fewer than 8"


@given(series=many_series)
def test_raw_data_under_the_uid_of_a_series_neither_excludes_nor_recommends_it(series: list[Series]) -> None:
    for one in series:
        assert explain_unfit(RULE, add_raw_data(one)) == explain_unfit(RULE, one)
        assert score_series(RULE, add_raw_data(one)).preference_score == score_series(RULE, one).preference_score


def test_a_screenshot_among_the_slices_still_excludes_the_series() -> None:
    series = make_series("mr")
    shot = replace(series.instances[0], sop_class_uid=SC_CLASS, sop_instance_uid="1.2")
    assert "hold no volume" in explain_unfit(RULE, replace(series, instances=(*series.instances, shot)))
