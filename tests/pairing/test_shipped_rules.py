"""The rules that come with fusionnode: any T1 before any T2, no map, no phase, and what real scanners write."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from fusionnode.domain.series import Series, SeriesKey
from fusionnode.domain.terms import SeriesState
from fusionnode.flow.ports import StoredFile
from fusionnode.index.header import read_header
from fusionnode.pairing.select import explain_unfit, score_series, select_series
from fusionnode.pipeline.parse import parse_pipeline
from fusionnode.pipeline.schema import Pipeline, SeriesRule
from tests.support.series_headers import Stack, make_series

WHOLE = Stack()
PIPELINES = Path(__file__).parents[2] / "pipelines"
SHIPPED = [parse_pipeline(path.read_text(), path.name) for path in sorted(PIPELINES.glob("*.yaml"))]


@pytest.mark.parametrize(
    ("echo_time", "short"),
    [("2.98", True), ("19.9", True), ("3.700000e+00", True), ("1.25e+01", True), ("20", False), ("9.9e+01", False)],
)
def test_shipped_rules_read_echo_times_as_vendors_write_them(echo_time: str, short: bool) -> None:
    scores = rank(SHIPPED[0].fixed, [{"EchoTime": echo_time}, {"EchoTime": "200"}])
    assert scores[0] - scores[1] == (0.5 if short else 0)


def name_it(description: str) -> dict[str, str]:
    return {"SeriesDescription": description}


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
        "t1_mp2rage_sag_p3_iso_T1_Images",
        "Head_MRAC_UMAP",
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
        "ORIGINAL\\PRIMARY\\T1 MAP\\ND",
        "DERIVED\\PRIMARY\\T2_STAR MAP\\T2_STAR MAP\\FFE",
        "ORIGINAL\\PRIMARY\\B0 MAP\\B0\\UNSPECIFIED",
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


@pytest.mark.parametrize("pipeline", SHIPPED, ids=lambda one: one.name)
@pytest.mark.parametrize("part", ["PHASE", "IMAGINARY"])
def test_shipped_rules_refuse_phase_alone_and_keep_a_magnitude_that_shares_its_series_with_it(
    pipeline: Pipeline, part: str
) -> None:
    magnitude, other, silent = (
        make_series("both", attributes={"ComplexImageComponent": kind, **name_it("t1_fl3d")})
        for kind in ("MAGNITUDE", part, "")
    )
    assert "no magnitude" in explain_unfit(pipeline.fixed, other)
    for kept in (magnitude, silent):
        assert explain_unfit(pipeline.fixed, kept) == ""
        both = replace(kept, instances=(*kept.instances, *other.instances))
        assert explain_unfit(pipeline.fixed, both) == ""


@pytest.mark.parametrize("pipeline", SHIPPED, ids=lambda one: one.name)
def test_shipped_rules_take_the_combined_image_of_an_mp2rage_and_best_without_its_noise(pipeline: Pipeline) -> None:
    derived, original = {"ImageType": "DERIVED\\PRIMARY\\M\\UNI"}, {"ImageType": "ORIGINAL\\PRIMARY\\M\\ND"}
    ranked = rank(
        pipeline.fixed,
        [
            name_it("t1_mp2rage_sag_p3_iso_UNI-DEN") | derived,
            name_it("t1_mp2rage_sag_p3_iso_UNI_Images") | derived,
            name_it("t1_mp2rage_sag_p3_iso_INV2") | original,
            name_it("T2 SPACE") | original,
        ],
    )
    assert ranked == sorted(ranked, reverse=True)
    assert len(set(ranked)) == len(ranked)


@pytest.mark.real_data
def test_shipped_rules_read_what_real_scanners_write(real_data: Path, tmp_path: Path) -> None:
    def read(name: str, series: str) -> Series:
        facts, *_ = json.loads((real_data / "vendor_headers" / f"{name}.json").read_text(encoding="utf-8"))
        ds = Dataset.from_json({tag: element for tag, element in facts.items() if tag[:4] not in ("0002", "7FE0")})
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.save_as(tmp_path / series, enforce_file_format=True)
        header = read_header(StoredFile(tmp_path / series, series, "0" * 64))
        places = [replace(header, sop_instance_uid=f"1.{n}", position_mm=(0.0, 0.0, float(n))) for n in range(9)]
        return Series(SeriesKey(f"1.2.{len(series)}", 1), SeriesState.COMPLETE, tuple(places))

    rules = {pipeline.name: pipeline for pipeline in SHIPPED}["mr-pt"]
    corrected = read("siemens_biograph_vision_quadra_PET_VR20B", "ac")
    uncorrected = read("siemens_biograph_vision_quadra_PET_uncorrected_VR20B", "nac")
    mri = read("siemens_skyra_T1w_D13C", "t1")
    chosen, refused = select_series(rules.moving, [uncorrected, corrected])
    assert not refused
    assert max(chosen, key=lambda one: one.preference_score).series is corrected
    assert corrected.head.attributes["Radionuclide"] == "68"
    assert explain_unfit(rules.fixed, mri) == ""
    assert {"T1-weighted", "acquired in 3D", "original, not reformatted"} <= set(score_series(rules.fixed, mri).reasons)
    assert mri.head.attributes["ComplexImageComponent"] == "MAGNITUDE"


def test_what_kind_of_series_it_is_comes_before_how_many_slices_it_has() -> None:
    rules = {pipeline.name: pipeline for pipeline in SHIPPED}
    mosaic = make_series("m", stack=Stack(slices=1), attributes={"ImageType": "ORIGINAL\\PRIMARY\\M\\ND\\MOSAIC"})
    planar = make_series("n", "NM", Stack(slices=1), attributes={"ImageType": "ORIGINAL\\PRIMARY\\STATIC\\EMISSION"})
    assert "mosaic" in explain_unfit(rules["mr-nm"].fixed, mosaic)
    assert "planar" in explain_unfit(rules["mr-nm"].moving, planar)


@pytest.mark.parametrize(
    ("description", "taken"),
    [
        ("Brain SPECT scatter", False),
        ("SCATTERED photons", False),
        ("Compton window", False),
        ("Brain scatter corrected", True),
        ("Brain AC scatter-corr", True),
        ("Brain SPECT", True),
    ],
)
def test_shipped_rules_leave_the_scatter_window_alone(description: str, taken: bool) -> None:
    [pipeline] = [one for one in SHIPPED if one.moving.modality == ("NM",)]
    made = make_series(
        "1", "NM", WHOLE, attributes={**name_it(description), "ImageType": "ORIGINAL\\PRIMARY\\RECON TOMO"}
    )
    assert (explain_unfit(pipeline.moving, made) == "") is taken
