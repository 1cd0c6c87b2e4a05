import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.uid import (
    CTImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    RawDataStorage,
    SecondaryCaptureImageStorage,
)

from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import Volume
from fusionnode.errors import DatasetUnreadable, FusionNodeError, SeriesMixed, SeriesUnsupported
from fusionnode.volumes.assemble import assemble_volume
from fusionnode.volumes.suv import measure_suv
from tests.support.datasets import (
    AXIAL,
    CORONAL,
    OBLIQUE,
    SAGITTAL,
    Identity,
    Layout,
    make_mr_series,
    make_nm_recon,
    make_pt_series,
)
from tests.support.enhanced import make_enhanced_mr, make_enhanced_pet

LAYOUTS = st.builds(
    Layout,
    slices=st.integers(2, 8),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    spacing_mm=st.tuples(*[st.floats(0.3, 9)] * 3),
    origin_mm=st.tuples(*[st.floats(-400, 400)] * 3),
    orientation=st.sampled_from([AXIAL, CORONAL, SAGITTAL, OBLIQUE]),
)


@given(LAYOUTS, st.integers(0, 99))
def test_mr_volume_equals_the_array_it_was_made_of(layout: Layout, seed: int) -> None:
    wanted = np.random.default_rng(seed).integers(0, 65536, layout.shape)
    volume = assemble_volume(make_mr_series(layout, voxels=wanted))
    np.testing.assert_array_equal(volume.voxels, wanted)
    np.testing.assert_allclose(volume.grid.patient_from_index, layout.grid.patient_from_index, atol=1e-6)
    assert volume.grid.patient_from_index.dtype == np.float64


@given(LAYOUTS, st.integers(0, 99))
def test_spect_volume_equals_the_array_it_was_made_of(layout: Layout, seed: int) -> None:
    wanted = np.random.default_rng(seed).integers(0, 65536, layout.shape)
    volume = assemble_volume([make_nm_recon(layout, voxels=wanted)])
    np.testing.assert_array_equal(volume.voxels, wanted)
    np.testing.assert_allclose(volume.grid.patient_from_index, layout.grid.patient_from_index, atol=1e-6)
    assert volume.unit is Unit.CNTS


@pytest.mark.parametrize("make", [make_mr_series, make_pt_series])
@pytest.mark.parametrize("seed", range(4))
def test_shuffled_input_gives_the_same_bits(make: type[make_mr_series], seed: int) -> None:  # type: ignore[valid-type]
    datasets: list[Dataset] = make(Layout(orientation=OBLIQUE))
    straight = assemble_volume(datasets)
    random.Random(seed).shuffle(datasets)
    shuffled = assemble_volume(datasets)
    assert shuffled.voxels.tobytes() == straight.voxels.tobytes()
    assert shuffled.grid.patient_from_index.tobytes() == straight.grid.patient_from_index.tobytes()
    assert (shuffled.sources, shuffled.notes) == (straight.sources, straight.notes)


def test_pet_becomes_suv_by_one_factor() -> None:
    datasets = make_pt_series()
    volume, factor = assemble_volume(datasets), measure_suv(datasets).factor
    for ds, voxels in zip(datasets, volume.voxels, strict=True):
        expected = (ds.pixel_array.astype(np.float64) * float(ds.RescaleSlope) * factor).astype(np.float32)
        np.testing.assert_allclose(voxels, expected, rtol=1e-6)
    assert volume.unit is Unit.SUVBW


def test_volume_names_its_sources_and_its_space() -> None:
    datasets = make_mr_series(identity=Identity(frame_of_reference_uid="1.2.3"))
    volume = assemble_volume(datasets[::-1])
    assert [source.sop_instance_uid for source in volume.sources] == [ds.SOPInstanceUID for ds in datasets]
    assert {source.frame_number for source in volume.sources} == {None}
    assert volume.frame_of_reference_uid == "1.2.3"
    assert volume.series_instance_uid == datasets[0].SeriesInstanceUID


def test_series_without_frame_of_reference_is_a_volume_in_no_named_space() -> None:
    datasets = make_mr_series()
    for ds in datasets:
        del ds.FrameOfReferenceUID
    assert assemble_volume(datasets).frame_of_reference_uid == ""


@pytest.mark.parametrize("kind", [CTImageStorage, SecondaryCaptureImageStorage, LegacyConvertedEnhancedPETImageStorage])
def test_other_kinds_of_objects_are_refused_by_name(kind: str) -> None:
    datasets = make_mr_series()
    for ds in datasets:
        ds.SOPClassUID = kind
    with pytest.raises(SeriesUnsupported) as refusal:
        assemble_volume(datasets)
    assert refusal.value.facts["sop_class_uid"] == kind


def test_modality_that_contradicts_the_class_is_refused() -> None:
    datasets = make_mr_series()
    for ds in datasets:
        ds.Modality = "PT"
    with pytest.raises(SeriesUnsupported):
        assemble_volume(datasets)


def test_no_instances_are_no_volume() -> None:
    with pytest.raises(SeriesUnsupported):
        assemble_volume([])


def test_classes_do_not_mix() -> None:
    identity = Identity(series_uid="1.2.3")
    with pytest.raises(SeriesMixed, match="MR Image Storage"):
        assemble_volume([*make_mr_series(identity=identity), *make_pt_series(identity=identity)])


def test_classic_copies_beside_an_enhanced_object_are_left_out_and_the_note_says_so() -> None:
    classic = make_mr_series()
    enhanced = make_enhanced_mr(classic)
    enhanced.SOPInstanceUID += ".1"
    volume = assemble_volume([*classic, enhanced])
    np.testing.assert_array_equal(volume.voxels, assemble_volume(classic).voxels)
    assert {source.sop_instance_uid for source in volume.sources} == {enhanced.SOPInstanceUID}
    assert volume.notes == ("The series holds 12 classic copies beside the enhanced object, which is shown.",)


def test_classic_slices_that_are_no_copies_of_the_enhanced_object_are_mixed() -> None:
    classic = make_mr_series()
    with pytest.raises(SeriesMixed, match="several kinds"):
        assemble_volume([*classic[1:], make_enhanced_mr(classic)])


def test_two_reconstructions_are_two_volumes() -> None:
    with pytest.raises(SeriesMixed, match="2 reconstructions"):
        assemble_volume([make_nm_recon(), make_nm_recon(seed=1)])


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "Rows"])
def test_missing_attribute_is_named(keyword: str) -> None:
    datasets = make_mr_series()
    delattr(datasets[3], keyword)
    with pytest.raises(DatasetUnreadable, match=keyword):
        assemble_volume(datasets)


def test_what_is_no_image_is_refused_as_what_it_is_and_not_for_its_missing_extent() -> None:
    datasets = make_mr_series()
    for ds in datasets:
        ds.SOPClassUID = RawDataStorage
        del ds.Rows, ds.Columns
    with pytest.raises(SeriesUnsupported, match="Raw Data Storage with modality MR"):
        assemble_volume(datasets)


def test_refusals_never_name_the_patient() -> None:
    datasets = make_mr_series(identity=Identity(patient_id="SECRET-7"))
    del datasets[4]
    with pytest.raises(FusionNodeError) as refusal:
        assemble_volume(datasets)
    told = f"{refusal.value} {refusal.value.facts}"
    assert "SECRET-7" not in told
    assert "Nobody" not in told


def _read_by_simpleitk(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    reader.SetOutputPixelType(sitk.sitkFloat64)
    return reader.Execute()


def _compare(volume: Volume, image: sitk.Image) -> None:
    directions = np.asarray(image.GetDirection()).reshape(3, 3)[:, ::-1]
    np.testing.assert_allclose(volume.grid.directions, directions, atol=1e-6)
    np.testing.assert_allclose(volume.grid.spacing_mm, image.GetSpacing()[::-1], atol=1e-5)
    np.testing.assert_allclose(volume.grid.origin_mm, image.GetOrigin(), atol=1e-6)


@pytest.mark.real_data
@pytest.mark.parametrize(
    "series",
    [
        "aanlib/pet_axial/mr",
        "aanlib/pet_axial/pt",
        "aanlib/pet_hybrid/mr",
        "aanlib/pet_hybrid/pt",
        "aanlib/spect_a/mr",
        *(f"sts_pet_mr/STS_00{patient}/{kind}" for patient in (1, 3, 4) for kind in ("MR_T1", "PET")),
        "philips_mr/classic_1901_3DpCASL",
    ],
)
def test_real_series_agree_with_an_independent_reader(real_data: Path, series: str) -> None:
    datasets = [dcmread(path) for path in (real_data / series).glob("*.dcm")]
    volume, image = assemble_volume(datasets), _read_by_simpleitk(real_data / series)
    _compare(volume, image)
    factor = measure_suv(datasets).factor if datasets[0].get("Units") == "BQML" else 1.0
    assert factor is not None
    np.testing.assert_allclose(volume.voxels, sitk.GetArrayFromImage(image) * factor, rtol=1e-5, atol=1e-5)


@pytest.mark.real_data
def test_real_odd_series_are_refused(real_data: Path) -> None:
    mosaics = [dcmread(path) for path in (real_data / "mr_odd" / "siemens_mosaic").glob("*.dcm")]
    with pytest.raises(SeriesUnsupported, match="mosaic"):
        assemble_volume(mosaics)
    with pytest.raises(SeriesUnsupported, match="CT Image Storage"):
        assemble_volume([dcmread(path) for path in (real_data / "sts_pet_mr" / "STS_001" / "CT").glob("*.dcm")])


def test_raw_data_under_the_series_uid_of_its_images_is_left_alone() -> None:
    datasets = make_mr_series()
    raw = Dataset()
    raw.SOPClassUID, raw.SOPInstanceUID = RawDataStorage, "1.2"
    raw.SeriesInstanceUID, raw.Modality = datasets[0].SeriesInstanceUID, "MR"
    plain, beside = assemble_volume(datasets), assemble_volume([raw, *datasets])
    assert beside.voxels.tobytes() == plain.voxels.tobytes()
    assert (beside.sources, beside.notes, beside.unit) == (plain.sources, plain.notes, plain.unit)


@pytest.mark.parametrize("make", [make_enhanced_mr, make_enhanced_pet])
def test_an_object_without_frames_is_refused(make: Callable[[list[Dataset]], Dataset]) -> None:
    ds = make(make_mr_series() if make is make_enhanced_mr else make_pt_series())
    ds.NumberOfFrames, ds.PerFrameFunctionalGroupsSequence = 0, []
    with pytest.raises(DatasetUnreadable, match="no frame"):
        assemble_volume([ds])
