"""The picture shows three planes of three pictures and is large enough to look at."""

import numpy as np
import pytest

from fusionnode.domain.images import FusedStack
from fusionnode.flow.preview import render_preview
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
