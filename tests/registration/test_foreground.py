from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from fusionnode.errors import RegistrationImplausible
from fusionnode.registration.bridge import grid_from_image, image_from_volume
from fusionnode.registration.foreground import find_foreground_points_mm, find_head, reduce_image
from tests.support.phantoms import CORONAL, make_grid, make_mr, make_uptake

HEIGHT_MM = 190.0


def _change(volume, voxels):
    return replace(volume, voxels=voxels.astype(np.float32))


def test_the_head_is_found_where_it_is() -> None:
    head = find_head(make_mr(make_grid(centre_mm=(8.0, 5.0, -6.0))), HEIGHT_MM)
    np.testing.assert_allclose(head.centre_mm, 0, atol=3)
    assert head.vertex_mm[2] == pytest.approx(82, abs=5)
    assert head.points_mm[:, 1].min() == pytest.approx(-95, abs=5)


def test_the_head_is_the_same_whichever_way_the_slices_run() -> None:
    axial = find_head(make_mr(make_grid()), HEIGHT_MM)
    coronal = find_head(make_mr(make_grid((64, 56, 64), (3.5, 3.3, 3.5), directions=CORONAL)), HEIGHT_MM)
    np.testing.assert_allclose(axial.centre_mm, coronal.centre_mm, atol=1.5)


def test_body_and_a_hot_bladder_below_the_head_are_left_out() -> None:
    whole = make_uptake(make_grid((100, 60, 80), (6.0, 6.0, 6.0), (0.0, 0.0, -200.0)), body=True)
    alone = find_head(make_uptake(make_grid()), HEIGHT_MM)
    head = find_head(whole, HEIGHT_MM)
    np.testing.assert_allclose(head.centre_mm, alone.centre_mm, atol=15)
    assert head.points_mm[:, 2].min() > head.vertex_mm[2] - HEIGHT_MM - 6
    assert sitk.GetArrayViewFromImage(head.image).max() < 2, "the bladder (6.0) must not set the range of values"


def test_a_small_bright_object_beside_the_head_is_ignored() -> None:
    volume = make_mr(make_grid())
    voxels = volume.voxels.copy()
    voxels[-4:, :6, :6] = 5000
    shifted = find_head(_change(volume, voxels), HEIGHT_MM).centre_mm - find_head(volume, HEIGHT_MM).centre_mm
    assert np.abs(shifted).max() < 2


def test_voxels_that_are_no_numbers_do_no_harm() -> None:
    volume = make_mr(make_grid())
    voxels = volume.voxels.copy()
    voxels[10, 20:25, 20:25] = np.nan
    voxels[12, 20, 20] = np.inf
    np.testing.assert_allclose(
        find_head(_change(volume, voxels), HEIGHT_MM).centre_mm, find_head(volume, HEIGHT_MM).centre_mm, atol=1
    )


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0])
def test_a_uniform_volume_shows_no_head(value: float) -> None:
    volume = make_mr(make_grid((12, 16, 16)))
    with pytest.raises(RegistrationImplausible) as refusal:
        find_head(_change(volume, np.full(volume.voxels.shape, value)), HEIGHT_MM)
    assert refusal.value.facts["series_instance_uid"] == volume.series_instance_uid
    assert refusal.value.remedy


def test_a_thing_smaller_than_a_head_is_refused() -> None:
    volume = make_mr(make_grid((12, 16, 16), (2.0, 2.0, 2.0)))
    with pytest.raises(RegistrationImplausible, match="less than a head"):
        find_head(volume, HEIGHT_MM)


def test_foreground_needs_no_anatomy() -> None:
    volume = make_mr(make_grid((12, 16, 16), (2.0, 2.0, 2.0)))
    voxels = np.zeros_like(volume.voxels)
    assert len(find_foreground_points_mm(_change(volume, voxels))) == 0
    voxels[3:9, 4:12, 4:12] = 100
    points_mm = find_foreground_points_mm(_change(volume, voxels))
    np.testing.assert_allclose(points_mm.mean(axis=0), volume.grid.points_mm(np.array([[5.5, 7.5, 7.5]]))[0], atol=1.5)


def test_reduction_keeps_the_place_of_the_volume_and_axes_that_are_coarse_already() -> None:
    image = image_from_volume(make_mr(make_grid((20, 64, 64), (9.0, 3.0, 3.0), directions=CORONAL)))
    reduced = grid_from_image(reduce_image(image, 6.0, 0.0))
    assert reduced.shape == (20, 32, 32)
    np.testing.assert_allclose(reduced.spacing_mm, (9, 6, 6))
    np.testing.assert_allclose(reduced.centre_mm, grid_from_image(image).centre_mm, atol=1e-9)


def test_one_slice_does_not_break_the_search() -> None:
    volume = make_mr(make_grid((1, 64, 64), (5.0, 3.5, 3.5)))
    with pytest.raises(RegistrationImplausible):
        find_head(volume, HEIGHT_MM)
