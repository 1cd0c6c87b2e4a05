import numpy as np
import pytest

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import RigidMotion
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import SourceFrame, Volume
from fusionnode.registration.resample import MAX_VOXELS, find_cubes, reformat_isotropic, resample_onto
from tests.support.datasets import OBLIQUE, Layout
from tests.support.phantoms import AXIAL, CORONAL, make_grid, make_motion, make_uptake

STILL = RigidMotion.identity()


def _make_ramp(grid: Grid) -> Volume:
    """Values that grow linearly with the point, so that linear interpolation is exact."""
    indices = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1).reshape(-1, 3)
    values = 1000 + grid.points_mm(indices.astype(np.float64)) @ [1.0, -2.0, 3.0]
    return Volume(values.reshape(grid.shape).astype(np.float32), grid, Unit.BQML, "1.9", "1.8")


def test_onto_its_own_grid_nothing_changes() -> None:
    volume = make_uptake(make_grid((20, 24, 28)))
    result = resample_onto(volume, volume.grid, STILL, "1.7")
    np.testing.assert_array_equal(result.volume.voxels, volume.voxels)
    assert result.covered.all()


def test_the_result_lies_in_the_fixed_space_under_the_moving_series() -> None:
    grid = make_grid((4, 5, 6))
    source = SourceFrame("1.2", "1.3")
    moving = Volume(np.ones(grid.shape, np.float32), grid, Unit.SUVBW, "1.9", "1.8", (source,) * 4, ("note",))
    volume = resample_onto(moving, grid, STILL, "1.7").volume
    assert (volume.frame_of_reference_uid, volume.series_instance_uid) == ("1.7", "1.8")
    assert (volume.unit, volume.sources, volume.notes) == (Unit.SUVBW, (), ("note",))
    assert volume.grid is grid


@pytest.mark.parametrize("directions", [AXIAL, CORONAL, AXIAL * [-1, 1, 1]])
def test_values_come_from_where_the_motion_says(directions: np.ndarray) -> None:
    moving = _make_ramp(make_grid((40, 40, 40), (3.0, 3.0, 3.0)))
    fixed = make_grid((10, 12, 14), (3.0, 3.0, 3.0), directions=directions)
    motion = make_motion((10, -20, 15), (4, 5, -6))
    result = resample_onto(moving, fixed, motion, "1.7")
    index = np.array([[2.0, 9.0, 4.0]])
    there_mm = (motion.moving_from_fixed @ [*fixed.points_mm(index)[0], 1])[:3]
    assert result.covered.all()
    assert result.volume.voxels[2, 9, 4] == pytest.approx(1000 + there_mm @ [1, -2, 3], abs=0.05)


def test_outside_is_zero_and_not_covered_and_nothing_else_is() -> None:
    moving = _make_ramp(make_grid((6, 6, 6), (4.0, 4.0, 4.0)))
    fixed = make_grid((14, 14, 14), (4.0, 4.0, 4.0), centre_mm=(0.0, 0.0, 0.0))
    result = resample_onto(moving, fixed, STILL, "1.7")
    expected = np.zeros(fixed.shape, dtype=bool)
    expected[4:10, 4:10, 4:10] = True
    np.testing.assert_array_equal(result.covered, expected)
    assert (result.volume.voxels[~expected] == 0).all()
    np.testing.assert_allclose(result.volume.voxels[expected].reshape(6, 6, 6), moving.voxels)


def test_a_field_that_does_not_meet_the_grid_covers_nothing() -> None:
    moving = _make_ramp(make_grid((6, 6, 6), centre_mm=(900.0, 0.0, 0.0)))
    result = resample_onto(moving, make_grid((6, 6, 6)), STILL, "1.7")
    assert not result.covered.any()
    assert not result.volume.voxels.any()


@pytest.mark.parametrize("spacing_mm", [1.5, 8.0])
def test_no_value_leaves_the_range_of_the_original(spacing_mm: float) -> None:
    voxels = np.random.default_rng(1).choice(np.float32([0, 100]), (20, 20, 20))
    moving = Volume(voxels, make_grid((20, 20, 20), (4.0, 4.0, 4.0)), Unit.BQML, "1.9", "1.8")
    fixed = make_grid((12, 12, 12), (spacing_mm,) * 3)
    values = resample_onto(moving, fixed, make_motion((10, 20, 30)), "1.7").volume.voxels
    assert values.min() >= 0
    assert values.max() <= 100 + 1e-3


def test_detail_between_thick_slices_is_averaged_not_skipped() -> None:
    grid = make_grid((80, 8, 8), (1.0, 4.0, 4.0))
    stripes = np.zeros(grid.shape, dtype=np.float32)
    stripes[::2] = 100
    moving = Volume(stripes, grid, Unit.BQML, "1.9", "1.8")
    thick = resample_onto(moving, make_grid((8, 8, 8), (8.0, 4.0, 4.0)), STILL, "1.7").volume.voxels
    np.testing.assert_allclose(thick, 50, atol=1)


def test_a_uniform_volume_stays_uniform_when_blurred() -> None:
    moving = Volume(np.full((40, 40, 40), 7, np.float32), make_grid((40, 40, 40), (1.0,) * 3), Unit.BQML, "1.9", "1.8")
    result = resample_onto(moving, make_grid((5, 5, 5), (6.0,) * 3), make_motion((5, 5, 5), (0, 0, 0)), "1.7")
    np.testing.assert_allclose(result.volume.voxels[result.covered], 7, rtol=1e-5)


@pytest.mark.parametrize("spacing_mm", [(3.0, 1.0, 1.25), (0.8, 1.0, 1.0), (1.0, 1.0, 1.0)])
def test_cubes_of_the_finest_spacing_lie_within_the_volume(spacing_mm: tuple[float, float, float]) -> None:
    grid = Layout(slices=7, rows=11, columns=9, spacing_mm=spacing_mm, orientation=OBLIQUE).grid
    cubes = find_cubes(grid)
    np.testing.assert_allclose(cubes.spacing_mm, [min(spacing_mm)] * 3)
    np.testing.assert_allclose(cubes.origin_mm, grid.origin_mm)
    np.testing.assert_allclose(cubes.directions, grid.directions, atol=1e-12)
    reach = (np.asarray(cubes.shape) - 1) * min(spacing_mm) - (np.asarray(grid.shape) - 1) * np.asarray(spacing_mm)
    assert (reach <= 1e-6).all()
    assert (reach > -min(spacing_mm)).all()


def test_a_reformat_keeps_a_linear_field_and_names_the_nearest_slices() -> None:
    grid = Layout(slices=7, rows=11, columns=9).grid
    indices = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    field = (grid.points_mm(indices) @ [0.5, -0.25, 2.0]).reshape(grid.shape).astype(np.float32)
    sources = tuple(SourceFrame("1.2", f"1.3.{index}") for index in range(7))
    cubes = reformat_isotropic(Volume(field, grid, Unit.ARBITRARY, "1.4", "1.5", sources=sources, scale=2.0))
    places = np.indices(cubes.grid.shape).reshape(3, -1).T.astype(np.float64)
    expected = (cubes.grid.points_mm(places) @ [0.5, -0.25, 2.0]).reshape(cubes.grid.shape)
    np.testing.assert_allclose(cubes.voxels, expected, atol=1e-3)
    assert [sources.index(one) for one in cubes.sources] == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6]
    assert (cubes.scale, cubes.frame_of_reference_uid) == (2.0, "1.4")


def test_more_cubes_than_a_worker_can_hold_become_larger_ones() -> None:
    grid = Grid.from_axes((400, 1024, 1024), np.zeros(3), np.eye(3), (1.0, 0.2, 0.2))
    cubes = find_cubes(grid)
    assert MAX_VOXELS * 0.9 < np.prod(cubes.shape) <= MAX_VOXELS
    assert len({round(one, 9) for one in cubes.spacing_mm}) == 1
