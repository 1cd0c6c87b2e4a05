import numpy as np
import pytest
import SimpleITK as sitk

from fusionnode.registration.bridge import array_from_image, grid_from_image, image_from_volume
from fusionnode.registration.shrink import shrink_volume
from tests.support.phantoms import make_grid, make_mr


def test_shrinking_twice_is_shrinking_once() -> None:
    fine = make_mr(make_grid((40, 50, 51), (5.0, 0.9, 0.7)))
    once = shrink_volume(fine, 2.0)
    assert once.grid.spacing_mm == pytest.approx((5.0, 1.8, 1.4))
    twice = shrink_volume(once, 2.0)
    np.testing.assert_array_equal(twice.voxels, once.voxels)
    np.testing.assert_allclose(twice.grid.patient_from_index, once.grid.patient_from_index)


def test_simpleitk_averages_alike() -> None:
    fine = make_mr(make_grid((9, 50, 51), (1.5, 0.9, 0.4)))
    ours, theirs = shrink_volume(fine, 2.0), sitk.BinShrink(image_from_volume(fine), [5, 2, 1])
    np.testing.assert_allclose(ours.voxels, array_from_image(theirs), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(ours.grid.patient_from_index, grid_from_image(theirs).patient_from_index)


def test_the_input_is_left_alone_and_what_is_no_number_counts_as_zero() -> None:
    fine = make_mr(make_grid((4, 8, 8), (1.0, 1.0, 1.0)))
    fine.voxels[:2, :2, :2] = np.nan
    fine.voxels[2, 2, 2] = np.inf
    before = fine.voxels.copy()
    shrunk = shrink_volume(fine, 2.0)
    np.testing.assert_array_equal(fine.voxels, before)
    assert np.isfinite(shrunk.voxels).all()
    assert shrunk.voxels[0, 0, 0] == 0


def test_coarse_voxels_and_the_last_one_of_an_axis_are_kept() -> None:
    assert shrink_volume(make_mr(make_grid((3, 4, 4), (5.0, 4.0, 4.0))), 2.0).grid.shape == (3, 4, 4)
    assert shrink_volume(make_mr(make_grid((1, 2, 2), (0.1, 0.1, 0.1))), 2.0).grid.shape == (1, 1, 1)


def test_what_needs_no_change_is_not_copied() -> None:
    coarse = make_mr(make_grid((3, 4, 4), (5.0, 4.0, 4.0)))
    assert shrink_volume(coarse, 2.0).voxels is coarse.voxels
    coarse.voxels[0, 0, 0] = np.nan
    assert shrink_volume(coarse, 2.0).voxels[0, 0, 0] == 0
    assert np.isnan(coarse.voxels[0, 0, 0])
