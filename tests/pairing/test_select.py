"""Which series fit a role: every refusal has a reason, nothing unfit slips through."""

import random
from dataclasses import replace

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
from fusionnode.pipeline.schema import Condition, Preference, SeriesRule
from tests.support.series_headers import AXIAL, SC_CLASS, Stack, add_raw_data, alter_instances, make_series

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


@pytest.mark.parametrize(
    "attributes",
    [
        {"ManufacturerModelName": "fusionnode"},
        {"ImageType": "DERIVED\\PRIMARY\\ON_MRI_GRID", "ManufacturerModelName": "rewritten by a PACS"},
    ],
)
def test_what_fusionnode_itself_made_fits_no_rule(attributes: dict[str, str]) -> None:
    rule = SeriesRule(modality=("PT",))
    own, theirs = (make_series(name, "PT", attributes=one) for name, one in (("own", attributes), ("pet", {})))
    assert [choice.series for choice in select_series(rule, [own, theirs])[0]] == [theirs]
    assert explain_unfit(rule, own) == "was made by fusionnode itself"
    arriving = replace(own, state=SeriesState.RECEIVING)
    assert foresee_series(rule, [arriving]) == []


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


def test_a_rule_may_ask_for_the_plane() -> None:
    sagittal = make_series("sag", stack=Stack(orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0)))
    axial_only = Condition(attribute="SlicePlane", matches="^AXIAL$")
    assert list_unmet([axial_only], sagittal) == [axial_only]
    assert list_unmet([axial_only], make_series("ax")) == []


def test_a_condition_may_speak_of_all_instances() -> None:
    phase = Condition(attribute="ImageType", excludes_if_all="P")
    every, none = (make_series("one", attributes={"ImageType": kind}) for kind in ("P", "M"))
    some = replace(every, instances=(*every.instances, *none.instances))
    assert [list_unmet([phase], one) for one in (every, some, none)] == [[phase], [], []]
    assert find_unmet([phase], every) == "not met: ImageType excludes 'P' in all"


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


def test_time_points_are_no_slices() -> None:
    assert explain_unfit(RULE, make_series("one", stack=Stack(slices=1))) == "has 1 slice(s), fewer than 8"
    (one,) = make_series("dynamic", stack=Stack(slices=1, frames=120)).instances
    dynamic = replace(make_series("dynamic"), instances=(replace(one, places=6),))
    assert explain_unfit(RULE, dynamic) == "has 6 slice(s), fewer than 8"
    few = make_series("echoes", stack=Stack(slices=5))
    echoes = replace(few, instances=(*few.instances, *few.instances))
    assert explain_unfit(RULE, echoes) == "has 5 slice(s), fewer than 8"


@given(series=many_series)
def test_raw_data_under_the_uid_of_a_series_neither_excludes_nor_recommends_it(series: list[Series]) -> None:
    for one in series:
        assert explain_unfit(RULE, add_raw_data(one)) == explain_unfit(RULE, one)
        assert score_series(RULE, add_raw_data(one)).preference_score == score_series(RULE, one).preference_score


def test_a_screenshot_among_the_slices_still_excludes_the_series() -> None:
    series = make_series("mr")
    shot = replace(series.instances[0], sop_class_uid=SC_CLASS, sop_instance_uid="1.2")
    assert "hold no volume" in explain_unfit(RULE, replace(series, instances=(*series.instances, shot)))
