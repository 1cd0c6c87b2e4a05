"""Laws of geometry, with SimpleITK's and highdicom's own readers as oracles.

Whatever the orientation, the spacing, the order of the slices and the handedness in which an object stacks them, the
same matter must lie at the same place of the patient.
"""

import random
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import (
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)
from pydicom.valuerep import format_number_as_ds

from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import Volume
from fusionnode.volumes.assemble import assemble_volume
from tests.support.datasets import Gamma, Layout, Orientation, Uptake, make_mr_series, make_nm_recon, make_pt_series
from tests.support.enhanced import make_enhanced_mr, make_enhanced_pet
from tests.support.files import write_series

BRIEF = settings(deadline=None, max_examples=10)


@st.composite
def orientations(draw: st.DrawFn) -> Orientation:
    """Two perpendicular unit vectors in any direction, as decimal strings can hold them."""
    numbers = draw(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1))
    w, x, y, z = np.asarray(numbers) / np.linalg.norm(numbers)
    row = (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y))
    column = (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x))
    return tuple(float(format_number_as_ds(float(v))) for v in (*row, *column))  # type: ignore[return-value]


LAYOUTS = st.builds(
    Layout,
    slices=st.integers(2, 6),
    rows=st.integers(2, 7),
    columns=st.integers(2, 7),
    spacing_mm=st.tuples(*[st.floats(0.4, 8)] * 3),
    origin_mm=st.tuples(*[st.floats(-300, 300)] * 3),
    orientation=orientations(),
)


def _make_voxels(layout: Layout, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 4096, layout.shape)


@BRIEF
@given(LAYOUTS, st.integers(0, 99), st.randoms(use_true_random=False))
def test_order_of_arrival_and_direction_of_stacking_move_nothing(
    layout: Layout, seed: int, chance: random.Random
) -> None:
    voxels = _make_voxels(layout, seed)
    shuffled = make_mr_series(layout, voxels=voxels)
    chance.shuffle(shuffled)
    classic = assemble_volume(shuffled)
    onwards = assemble_volume([make_nm_recon(layout, voxels=voxels)])
    backwards = assemble_volume([make_nm_recon(layout, gamma=Gamma(-layout.spacing_mm[0]), voxels=voxels)])
    np.testing.assert_allclose(classic.grid.patient_from_index, layout.grid.patient_from_index, atol=1e-5)
    for other in (onwards, backwards):
        np.testing.assert_array_equal(other.voxels, classic.voxels)
        np.testing.assert_allclose(other.grid.patient_from_index, classic.grid.patient_from_index, atol=1e-5)


def _make_shuffled(make: Callable[[list[Dataset]], Dataset], classic: list[Dataset]) -> list[Dataset]:
    """One multi-frame object whose frames are stored in another order than they lie."""
    return [make(random.Random(len(classic)).sample(classic, len(classic)))]


def _make_nm(layout: Layout, voxels: NDArray[np.int64], sign: int) -> list[Dataset]:
    return [make_nm_recon(layout, gamma=Gamma(sign * layout.spacing_mm[0]), voxels=voxels)]


_COUNTS = Uptake(units="CNTS")
STORED: dict[str, Callable[[Layout, NDArray[np.int64]], list[Dataset]]] = {
    "classic MR": lambda layout, voxels: make_mr_series(layout, voxels=voxels)[::-1],
    "classic PET": lambda layout, voxels: make_pt_series(layout, uptake=_COUNTS, voxels=voxels)[::-1],
    "enhanced MR": lambda layout, voxels: _make_shuffled(make_enhanced_mr, make_mr_series(layout, voxels=voxels)),
    "enhanced PET": lambda layout, voxels: _make_shuffled(
        make_enhanced_pet, make_pt_series(layout, uptake=_COUNTS, voxels=voxels)
    ),
    "NM": lambda layout, voxels: _make_nm(layout, voxels, 1),
    "NM of negative spacing": lambda layout, voxels: _make_nm(layout, voxels, -1),
}


@pytest.mark.parametrize("kind", STORED)
@settings(deadline=None, max_examples=6)
@given(LAYOUTS, st.integers(0, 99), st.sampled_from(["rows", "columns", "both", "transposed"]))
def test_the_same_matter_stored_with_another_handedness_lies_at_the_same_place(
    kind: str, layout: Layout, seed: int, turned: str
) -> None:
    """Reading rows or columns from the other end, or rows as columns, turns the normal round and the stack with it."""
    voxels = _make_voxels(layout, seed)
    mirrored, stored = _mirror(layout, voxels, turned)
    assert np.linalg.det(mirrored.grid.directions) == pytest.approx(-1)
    found = [assemble_volume(STORED[kind](*one)) for one in ((layout, voxels), (mirrored, stored))]
    for volume in found:
        # PET stores its values to a share of the brightest of the slice.
        _require_matter(volume, layout, voxels, 4096 / 32700 if "PET" in kind else 0)


def _require_matter(volume: Volume, layout: Layout, voxels: NDArray[np.int64], allowed: float) -> None:
    """Every voxel of ``voxels`` lies where ``layout`` puts it, found by its place in the patient."""
    indices = np.argwhere(np.ones(volume.grid.shape, dtype=bool)).astype(np.float64)
    back = np.linalg.inv(layout.grid.patient_from_index)
    places = volume.grid.points_mm(indices) @ back[:3, :3].T + back[:3, 3]
    np.testing.assert_allclose(places, places.round(), atol=2e-3)
    wanted = np.full(layout.shape, np.nan)
    wanted[tuple(places.round().astype(int).T)] = volume.voxels.ravel()
    np.testing.assert_allclose(wanted, voxels, atol=allowed + 1e-3)


def _mirror(layout: Layout, voxels: NDArray[np.int64], turned: str) -> tuple[Layout, NDArray[np.int64]]:
    """Describe the same matter with other axes; where that turns the normal, slices are counted from the far end."""
    axes = {"rows": np.asarray(layout.orientation[3:]), "columns": np.asarray(layout.orientation[:3])}
    step_mm, rows_mm, columns_mm = layout.spacing_mm
    lengths_mm = {"rows": rows_mm * (layout.rows - 1), "columns": columns_mm * (layout.columns - 1)}
    origin_mm, spacing_mm = np.asarray(layout.origin_mm), layout.spacing_mm
    flipped = [name for name in axes if turned in (name, "both")]
    for name in flipped:
        origin_mm, axes[name] = origin_mm + axes[name] * lengths_mm[name], -axes[name]
        voxels = np.flip(voxels, axis=1 if name == "rows" else 2)
    if turned == "transposed":
        axes = {"rows": axes["columns"], "columns": axes["rows"]}
        voxels, spacing_mm = voxels.swapaxes(1, 2), (step_mm, columns_mm, rows_mm)
    if turned != "both":
        origin_mm, voxels = origin_mm + layout.normal * step_mm * (layout.slices - 1), voxels[::-1]
    x, y, z = (float(v) for v in origin_mm)
    cosines: Orientation = tuple(float(v) for v in (*axes["columns"], *axes["rows"]))  # type: ignore[assignment]
    return Layout(layout.slices, *voxels.shape[1:], spacing_mm, (x, y, z), cosines), voxels


@pytest.mark.parametrize("kind", STORED)
@settings(deadline=None, max_examples=5)
@given(LAYOUTS, st.lists(st.tuples(*[st.floats(-50, 50)] * 3), min_size=1, max_size=5))
def test_index_to_patient_and_back_is_the_identity(
    kind: str, layout: Layout, indices: list[tuple[float, float, float]]
) -> None:
    grid = assemble_volume(STORED[kind](layout, _make_voxels(layout, 0))).grid
    wanted = np.asarray(indices)
    back = np.linalg.inv(grid.patient_from_index)
    found = grid.points_mm(wanted) @ back[:3, :3].T + back[:3, 3]
    np.testing.assert_allclose(found, wanted, atol=1e-7)


@BRIEF
@given(LAYOUTS, st.integers(0, 99), st.randoms(use_true_random=False))
def test_classic_mr_is_what_highdicom_reads(layout: Layout, seed: int, chance: random.Random) -> None:
    datasets = make_mr_series(layout, voxels=_make_voxels(layout, seed))
    chance.shuffle(datasets)
    _compare_with_highdicom(assemble_volume(datasets), highdicom.get_volume_from_series(datasets))


@BRIEF
@given(LAYOUTS, st.integers(0, 99))
def test_classic_pet_is_what_highdicom_reads(layout: Layout, seed: int) -> None:
    datasets = make_pt_series(layout, uptake=Uptake(units="CNTS"), voxels=_make_voxels(layout, seed))
    volume = assemble_volume(datasets)
    assert volume.unit is Unit.CNTS
    _compare_with_highdicom(volume, highdicom.get_volume_from_series(datasets))


@BRIEF
@given(LAYOUTS, st.integers(0, 99))
def test_enhanced_mr_is_what_highdicom_reads_and_equals_the_classic_copy_to_the_bit(layout: Layout, seed: int) -> None:
    classic = make_mr_series(layout, voxels=_make_voxels(layout, seed))
    enhanced = make_enhanced_mr(classic)
    assert enhanced.SOPClassUID == EnhancedMRImageStorage
    volume = assemble_volume([enhanced])
    _require_same_bits(volume, assemble_volume(classic))
    _compare_with_highdicom(volume, highdicom.Image.from_dataset(enhanced).get_volume())


@BRIEF
@given(LAYOUTS, st.integers(0, 99))
def test_enhanced_pet_equals_the_classic_copy_to_the_bit(layout: Layout, seed: int) -> None:
    classic = make_pt_series(layout, voxels=_make_voxels(layout, seed))
    volume, expected = assemble_volume([make_enhanced_pet(classic)]), assemble_volume(classic)
    assert (volume.unit, volume.notes) == (Unit.SUVBW, ())
    _require_same_bits(volume, expected)


@BRIEF
@given(LAYOUTS, st.integers(0, 99))
def test_enhanced_pet_is_what_highdicom_reads(layout: Layout, seed: int) -> None:
    enhanced = make_enhanced_pet(make_pt_series(layout, uptake=_COUNTS, voxels=_make_voxels(layout, seed)))
    volume = assemble_volume([enhanced])
    assert volume.unit is Unit.CNTS
    oracle = highdicom.Image.from_dataset(enhanced).get_volume(apply_real_world_transform=False)
    _compare_with_highdicom(volume, oracle)


def test_copy_that_highdicom_converted_equals_the_classic_series_to_the_bit() -> None:
    classic = make_mr_series(Layout(slices=5, rows=6, columns=4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = highdicom.legacy.LegacyConvertedEnhancedMRImage(
            classic, highdicom.UID(), 9, highdicom.UID(), 1, transfer_syntax_uid=classic[0].file_meta.TransferSyntaxUID
        )
    assert converted.SOPClassUID == LegacyConvertedEnhancedMRImageStorage
    _require_same_bits(assemble_volume([converted]), assemble_volume(classic))


@settings(deadline=None, max_examples=6)
@given(LAYOUTS, st.integers(0, 99), st.sampled_from([MRImageStorage, PositronEmissionTomographyImageStorage]))
def test_classic_series_are_what_simpleitk_reads(layout: Layout, seed: int, kind: str) -> None:
    voxels = _make_voxels(layout, seed)
    datasets: list[Dataset] = make_mr_series(layout, voxels=voxels)
    if kind == PositronEmissionTomographyImageStorage:
        datasets = make_pt_series(layout, uptake=Uptake(units="CNTS"), voxels=voxels)
    volume = assemble_volume(datasets)
    with tempfile.TemporaryDirectory() as folder:
        write_series(Path(folder), datasets[::-1])
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
        reader.SetOutputPixelType(sitk.sitkFloat64)
        image = reader.Execute()
    np.testing.assert_allclose(volume.voxels, sitk.GetArrayFromImage(image), rtol=1e-6, atol=1e-6)
    corners = np.argwhere(np.ones((2, 2, 2))) * (np.asarray(volume.grid.shape) - 1)
    found = [image.TransformIndexToPhysicalPoint([int(v) for v in corner[::-1]]) for corner in corners]
    np.testing.assert_allclose(volume.grid.points_mm(corners.astype(np.float64)), found, atol=1e-3)


def _require_same_bits(volume: Volume, expected: Volume) -> None:
    assert volume.voxels.tobytes() == expected.voxels.tobytes()
    assert volume.grid.patient_from_index.tobytes() == expected.grid.patient_from_index.tobytes()
    assert volume.unit is expected.unit


def _compare_with_highdicom(volume: Volume, oracle: highdicom.Volume) -> None:
    """highdicom stacks right-handed, we along row x column: both are brought to the patient's axes."""
    same = oracle.match_geometry(highdicom.VolumeGeometry(volume.grid.patient_from_index, volume.grid.shape, "PATIENT"))
    np.testing.assert_allclose(same.affine, volume.grid.patient_from_index, atol=1e-4)
    np.testing.assert_allclose(same.array, volume.voxels, rtol=1e-6, atol=1e-6)
