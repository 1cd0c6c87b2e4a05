import numpy as np
import pytest
from numpy.typing import NDArray

from fusionnode.capture.bar import burn_bar

COLOURS = np.stack([np.arange(1, 256), np.full(255, 7), np.full(255, 9)], axis=1).astype(np.uint8)


def burn(rows: int, columns: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rgb = np.random.default_rng(1).integers(0, 256, (3, rows, columns, 3), dtype=np.uint8)
    before = rgb.copy()
    barred = burn_bar(rgb, COLOURS, "0", "7.5 SUVbw")
    np.testing.assert_array_equal(rgb, before)
    return rgb, barred


@pytest.mark.parametrize("size", [(512, 512), (256, 200), (64, 48), (16, 16)])
def test_the_bar_is_the_same_on_every_slice_and_leaves_most_of_the_picture_alone(size: tuple[int, int]) -> None:
    rgb, barred = burn(*size)
    changed = (rgb != barred).any(axis=3)
    covered = changed.any(axis=0)
    assert 0 < covered.mean() < 0.1
    assert (barred == barred[:1])[:, covered].all()


def test_the_highest_uptake_is_on_top() -> None:
    barred = burn_bar(np.zeros((1, 256, 256, 3), np.uint8), COLOURS, "0", "7.5 SUVbw")
    red = np.where((barred[0, ..., 1] == 7) & (barred[0, ..., 2] == 9), barred[0, ..., 0], 0)
    column = red[:, red.any(axis=0)][:, 0]
    shown = column[column > 0].astype(int)
    assert shown[0] == 255
    assert shown[-1] == 1
    assert (np.diff(shown) <= 0).all()


def test_limits_are_written_where_they_can_be_read_and_lie_in_the_picture() -> None:
    dark = np.zeros((1, 256, 256, 3), np.uint8)
    barred = burn_bar(dark, np.zeros((256, 3), np.uint8), "0", "7.5 SUVbw")[0]
    rows, columns = np.nonzero(barred.min(axis=2) > 200)
    above, below = rows < 15, rows > 256 // 3
    assert above.sum() > 30
    assert below.any()
    assert (above | below).all()
    assert rows.min() > 0
    assert columns.min() > 128
    assert columns.max() < 255
    small = burn_bar(np.zeros((1, 100, 100, 3), np.uint8), np.zeros((256, 3), np.uint8), "0", "7.5 SUVbw")
    assert not small.any()


@pytest.mark.parametrize("size", [(15, 300), (3, 2), (1, 1)])
def test_a_picture_that_is_hardly_one_stays_as_it_is(size: tuple[int, int]) -> None:
    rgb, barred = burn(*size)
    np.testing.assert_array_equal(barred, rgb)
