import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import RigidMotion
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import SourceFrame, Volume
from fusionnode.registration.resample import resample_onto
from fusionnode.volumes.crop import crop_to_view
from tests.support.phantoms import CORONAL, make_grid, make_motion

WIDE = make_grid((30, 20, 20), (4.0, 6.0, 6.0))


def _make_volume(grid: Grid = WIDE) -> Volume:
    voxels = np.random.default_rng(0).normal(100, 30, grid.shape).astype(np.float32)
    return Volume(voxels, grid, Unit.BQML, "1.2.3", "1.2.4", (SourceFrame("1.2", "1.3"),), ("remark",))


@settings(deadline=None, max_examples=8)
@given(
    st.tuples(*[st.floats(-30, 30)] * 3),
    st.tuples(*[st.floats(-40, 40)] * 3),
    st.floats(0.8, 9),
    st.tuples(*[st.floats(-60, 60)] * 3),
)
def test_nothing_that_the_fixed_grid_sees_is_cut_off(
    turns_deg: tuple[float, float, float],
    shift_mm: tuple[float, float, float],
    spacing_mm: float,
    centre_mm: tuple[float, float, float],
) -> None:
    volume, motion = _make_volume(), make_motion(turns_deg, shift_mm)
    grid = make_grid((6, 7, 5), (spacing_mm, 2.0, 1.5), centre_mm)
    whole = resample_onto(volume, grid, motion, "1.2.5")
    part = resample_onto(crop_to_view(volume, grid, motion), grid, motion, "1.2.5")
    np.testing.assert_array_equal(part.covered, whole.covered)
    np.testing.assert_allclose(part.volume.voxels, whole.volume.voxels, atol=2e-3)


def test_voxels_stay_where_they_are_and_everything_else_is_kept() -> None:
    volume = _make_volume(make_grid((40, 30, 30), (3.0, 4.0, 4.0), directions=CORONAL))
    part = crop_to_view(volume, make_grid((4, 4, 4), (2.0, 2.0, 2.0), (9.0, -7.0, 5.0)), RigidMotion.identity())
    assert part.voxels.size < volume.voxels.size / 8
    indices = np.argwhere(np.ones(part.grid.shape))
    back = np.linalg.inv(volume.grid.patient_from_index)
    found = part.grid.points_mm(indices.astype(np.float64)) @ back[:3, :3].T + back[:3, 3]
    np.testing.assert_allclose(found, np.rint(found), atol=1e-9)
    np.testing.assert_array_equal(volume.voxels[tuple(np.rint(found).astype(int).T)], part.voxels.ravel())
    assert (part.unit, part.sources, part.notes) == (volume.unit, volume.sources, volume.notes)
    assert part.voxels.base is None, "a view would keep the whole volume in memory"


@pytest.mark.parametrize("centre_mm", [(0.0, 0.0, 0.0), (5000.0, 0.0, 0.0)])
def test_volume_that_is_seen_whole_or_not_at_all_stays_as_it_is(centre_mm: tuple[float, float, float]) -> None:
    volume = _make_volume()
    spacing_mm = 10.0 if centre_mm[0] == 0 else 1.0
    grid = make_grid((30, 30, 30), (spacing_mm,) * 3, centre_mm)
    assert crop_to_view(volume, grid, RigidMotion.identity()) is volume
