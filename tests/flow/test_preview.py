"""The picture shows three planes of three pictures and is large enough to look at."""

from dataclasses import replace

import numpy as np
import pytest

from fusionnode.domain.images import FusedStack
from fusionnode.flow.preview import render_alignment, render_preview
from fusionnode.pipeline.schema import Palette
from tests.support.datasets import CORONAL, Layout
from tests.support.pairs import make_prepared_pair


@pytest.mark.parametrize("layout", [Layout(), Layout(orientation=CORONAL), Layout(slices=2, rows=700, columns=600)])
def test_render_preview_is_large_enough_and_repeatable(layout: Layout) -> None:
    prepared = make_prepared_pair(layout)
    rgb = np.zeros((*layout.shape, 3), np.uint8)
    rgb[..., 1] = 255
    sheet = render_preview(prepared, FusedStack(rgb, "laplacian@1"), Palette.HOT_IRON, "PT")
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] > 240
    assert sheet.shape[1] > 480
    green = (sheet == [0, 255, 0]).all(axis=-1)
    assert green.any(axis=0)[sheet.shape[1] * 2 // 3 :].any(), "the fused picture stands in the last column"
    assert not green.any(axis=0)[: sheet.shape[1] // 2].any()
    np.testing.assert_array_equal(
        sheet, render_preview(prepared, FusedStack(rgb, "laplacian@1"), Palette.HOT_IRON, "PT")
    )


def test_render_preview_shows_what_the_colours_mean_and_every_warning() -> None:
    quiet = replace(make_prepared_pair(), notes=())
    warned = replace(quiet, estimate=replace(quiet.estimate, warnings=("Large rotation.",)), notes=("No dose.",))
    fused = FusedStack(np.zeros((*quiet.grid.shape, 3), np.uint8), "laplacian@1")
    calm, loud = (render_preview(pair, fused, Palette.HOT_IRON, "PT") for pair in (quiet, warned))
    np.testing.assert_array_equal(loud[: len(calm)], calm)
    assert (loud[len(calm) :].max(axis=2).reshape(2, -1) > 0).any(axis=1).all(), "two lines, one per warning"
    bar = (calm == [255, 0, 0]).all(axis=2)[-40:]
    third = calm.shape[1] // 3
    assert bar[:, third : 2 * third].any(), "hot iron is pure red at its middle"
    assert not bar[:, :third].any()


@pytest.mark.parametrize("layout", [Layout(), Layout(orientation=CORONAL)])
def test_render_alignment_outlines_each_series_on_the_other(layout: Layout) -> None:
    prepared = make_prepared_pair(layout)
    sheet = render_alignment(prepared, Palette.HOT_IRON, "PT")
    np.testing.assert_array_equal(sheet, render_alignment(prepared, Palette.HOT_IRON, "PT"))
    lines = (sheet == [0, 255, 120]).all(axis=-1).any(axis=0)
    third = sheet.shape[1] // 3
    assert [lines[start : start + third].any() for start in (0, third, 2 * third)] == [False, True, True]


def test_render_alignment_shows_the_warnings_of_the_registration_and_bears_blackness() -> None:
    quiet = replace(make_prepared_pair(), notes=("No dose.",))
    warned = replace(quiet, estimate=replace(quiet.estimate, warnings=("Large rotation.",)))
    calm, loud = (render_alignment(pair, Palette.HOT_IRON, "PT") for pair in (quiet, warned))
    np.testing.assert_array_equal(loud[: len(calm)], calm)
    assert len(loud) == len(calm) + 22
    dark = replace(quiet, fixed=np.zeros_like(quiet.fixed), moving=np.zeros_like(quiet.moving))
    assert not (render_alignment(dark, Palette.HOT_IRON, "PT") == [0, 255, 120]).all(axis=-1).any()
