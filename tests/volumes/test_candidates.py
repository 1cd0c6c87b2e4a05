import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread

from fusionnode.errors import GeometryIrregular, SeriesMixed
from fusionnode.volumes.assemble import assemble_volume
from fusionnode.volumes.candidates import choose_planes, list_candidates, shares_positions
from fusionnode.volumes.planes import Plane, read_plane
from tests.support.datasets import AXIAL, CORONAL, SAGITTAL, Layout, make_mr_series, make_nm_recon, make_pt_series

LAYOUT = Layout(slices=9, rows=6, columns=5)


def _read(datasets: list[Dataset]) -> list[Plane]:
    return [read_plane(ds) for ds in datasets]


def _copy_series(number: int, change: Callable[[Dataset], None], layout: Layout = LAYOUT) -> list[Dataset]:
    datasets = make_mr_series(layout, seed=number)
    for ds in datasets:
        ds.SOPInstanceUID += f".{number}"
        change(ds)
    return datasets


def _set(**values: object) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        for keyword, value in values.items():
            setattr(ds, keyword, value)

    return change


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 10**6))
def test_the_choice_depends_on_the_set_of_planes_only(seed: int) -> None:
    planes = _read([*make_mr_series(LAYOUT), *_copy_series(1, _set(EchoTime="90", EchoNumbers=2))])
    straight = choose_planes(planes)
    random.Random(seed).shuffle(planes)
    shuffled = choose_planes(planes)
    assert [plane.source for plane in shuffled.planes] == [plane.source for plane in straight.planes]
    assert shuffled.note == straight.note


@settings(deadline=None, max_examples=15)
@given(st.lists(st.sampled_from(["2.98", "30", "90"]), min_size=9, max_size=9))
def test_no_volume_ever_mixes_echoes(times: list[str]) -> None:
    datasets = make_mr_series(LAYOUT)
    for ds, time in zip(datasets, times, strict=True):
        ds.EchoTime = time
    candidates = list_candidates(_read(datasets))
    assert sum(len(one.planes) for one in candidates) == len(datasets)
    assert all(len({plane.traits["EchoTime"] for plane in one.planes}) == 1 for one in candidates)
    if len(candidates) > 1:  # no echo lies on all slices
        with pytest.raises((SeriesMixed, GeometryIrregular)):
            assemble_volume(datasets)


def test_one_volume_is_chosen_without_a_word() -> None:
    choice = choose_planes(_read(make_mr_series()))
    assert len(choice.planes) == 12
    assert choice.note == ""


def test_echo_times_that_differ_by_rounding_are_one_echo() -> None:
    datasets = make_mr_series(LAYOUT)
    for index, ds in enumerate(datasets):
        ds.EchoTime = f"{2.98 + 0.005 * (index % 3):.3f}"
    assert len(list_candidates(_read(datasets))) == 1


def test_shortest_echo_is_shown_and_the_note_tells_of_the_other() -> None:
    first, second = make_mr_series(LAYOUT), _copy_series(1, _set(EchoTime="90", EchoNumbers=2))
    volume = assemble_volume([*second, *first])
    np.testing.assert_array_equal(volume.voxels, assemble_volume(first).voxels)
    assert {one.sop_instance_uid for one in volume.sources} == {str(ds.SOPInstanceUID) for ds in first}
    (note,) = volume.notes
    assert "2 volumes" in note
    assert "EchoTime 90" in note
    assert "the shortest echo time: EchoNumbers 1, EchoTime 2.98: 9 slices" in note


def test_magnitude_comes_before_phase_whatever_its_echo() -> None:
    phase = _copy_series(1, _set(ImageType=["ORIGINAL", "PRIMARY", "P", "ND"], EchoTime="1"))
    volume = assemble_volume([*phase, *make_mr_series(LAYOUT)])
    np.testing.assert_array_equal(volume.voxels, assemble_volume(make_mr_series(LAYOUT)).voxels)
    assert "the magnitude" in volume.notes[0]


def test_reference_images_across_the_stack_are_left_out() -> None:
    across = _copy_series(1, _set(Rows=6), Layout(slices=1, rows=6, columns=5, orientation=SAGITTAL))
    volume = assemble_volume([*across, *make_mr_series(LAYOUT)])
    np.testing.assert_array_equal(volume.voxels, assemble_volume(make_mr_series(LAYOUT)).voxels)
    assert "reference images" in volume.notes[0]


@pytest.mark.parametrize(
    ("named", "values"),
    [
        ("InversionTime", {"InversionTime": "2500"}),
        ("TemporalPositionIdentifier", {"TemporalPositionIdentifier": 2}),
        ("DiffusionBValue", {"DiffusionBValue": 1000.0}),
        ("TriggerTime", {"TriggerTime": "400"}),
        ("AcquisitionNumber", {"AcquisitionNumber": 2}),
        ("ImageType", {"ImageType": ["DERIVED", "PRIMARY", "DIXON", "FAT"]}),
    ],
)
def test_no_rule_chooses_between_time_points_and_contrasts(named: str, values: dict[str, object]) -> None:
    with pytest.raises(SeriesMixed, match=named) as refusal:
        assemble_volume([*make_mr_series(LAYOUT), *_copy_series(1, _set(**values))])
    assert refusal.value.facts["differing"] == (named,)
    assert len(refusal.value.facts["volumes"]) == 2  # type: ignore[arg-type]


def test_halves_of_two_echoes_at_different_places_are_not_one_volume() -> None:
    datasets = make_mr_series(Layout(slices=10))
    for ds in datasets[5:]:
        ds.EchoTime = "90"
    with pytest.raises(GeometryIrregular, match=r"the same slices \(EchoTime 2.98: 5 slices, from -18.00 to -6.00"):
        assemble_volume(datasets)


def test_moments_that_run_from_slice_to_slice_do_not_part_a_volume() -> None:
    datasets = make_mr_series(LAYOUT)
    for index, ds in enumerate(datasets):
        ds.TriggerTime, ds.AcquisitionNumber = str(100 * index), index
    assert assemble_volume(datasets).grid.shape == LAYOUT.shape


@pytest.mark.parametrize("lost", [1, 3])
def test_chosen_echo_with_fewer_slices_than_the_other_is_refused(lost: int) -> None:
    first, second = make_mr_series(LAYOUT), _copy_series(1, _set(EchoTime="90"))
    with pytest.raises(GeometryIrregular, match="slices are missing") as refusal:
        assemble_volume([*first[lost:], *second])
    assert refusal.value.facts["missing"] == lost


def test_three_plane_localizer_is_refused_with_its_orientations() -> None:
    layouts = [Layout(slices=3, orientation=orientation) for orientation in (AXIAL, CORONAL, SAGITTAL)]
    with pytest.raises(SeriesMixed, match="several orientations") as refusal:
        choose_planes([plane for layout in layouts for plane in _read(make_mr_series(layout))])
    assert refusal.value.facts["differing"] == ("ImageOrientationPatient",)


def test_dynamic_pet_is_refused_with_its_frames() -> None:
    slots = []
    for slot in range(3):
        for ds in make_pt_series(Layout(slices=4)):
            ds.FrameReferenceTime, ds.SOPInstanceUID = str(slot * 1000), f"{ds.SOPInstanceUID}.{slot}"
            slots.append(ds)
    with pytest.raises(SeriesMixed, match="FrameReferenceTime") as refusal:
        choose_planes(_read(slots))
    assert len(refusal.value.facts["volumes"]) == 3  # type: ignore[arg-type]


def test_gated_pet_that_tells_its_gates_by_image_index_alone_is_refused() -> None:
    gates = []
    for gate in range(2):
        for index, ds in enumerate(make_pt_series(Layout(slices=4))):
            ds.ImageIndex, ds.SOPInstanceUID = gate * 4 + index + 1, f"{ds.SOPInstanceUID}.{gate}"
            gates.append(ds)
    with pytest.raises(SeriesMixed, match="time slot by ImageIndex 2: 4 slices"):
        choose_planes(_read(gates))


def test_energy_windows_are_refused_by_name() -> None:
    ds = make_nm_recon(Layout(slices=4))
    ds.SliceVector, ds.EnergyWindowVector = [1, 2, 1, 2], [1, 1, 2, 2]
    windows = []
    for name in ("Tc99m", "I123"):
        window = Dataset()
        window.EnergyWindowName = name
        windows.append(window)
    ds.EnergyWindowInformationSequence = windows
    with pytest.raises(SeriesMixed, match=r"EnergyWindowVector 1 \(Tc99m\): 2 slices"):
        assemble_volume([ds])


def test_shared_positions_are_seen_along_the_normal() -> None:
    planes = _read(make_mr_series(LAYOUT))
    assert not shares_positions(planes)
    assert shares_positions([*planes, *_read(_copy_series(1, _set()))])


@pytest.mark.real_data
def test_magnitude_of_a_real_field_map_is_shown(real_data: Path) -> None:
    volume = assemble_volume([dcmread(real_data / "mr_odd" / "enhanced" / "Philips_IM_0027_fMAP.dcm")])
    assert volume.grid.shape == (32, 64, 64)
    assert "ComplexImageComponent MAGNITUDE" in volume.notes[0]


@pytest.mark.real_data
def test_time_points_in_objects_of_one_real_series_are_not_mixed(real_data: Path) -> None:
    objects = [dcmread(path) for path in sorted((real_data / "mr_odd" / "enhanced").glob("Siemens_XA10_6_*.dcm"))]
    with pytest.raises(SeriesMixed, match="TemporalPositionIndex 4: 6 slices") as refusal:
        assemble_volume(objects)
    assert refusal.value.facts["differing"] == ("TemporalPositionIndex",)
