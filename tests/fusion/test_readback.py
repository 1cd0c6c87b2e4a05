"""What displayed colours tell: palettes found again, uptake read back, and honesty where there is no telling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionnode.fusion.colour import (
    chroma_of,
    chroma_table,
    colourise,
    luminance,
    recombine,
    show_uptake,
)
from fusionnode.fusion.readback import locate_uptake, read_uptake, trace_palette
from fusionnode.pipeline.palettes import palette_table
from fusionnode.pipeline.schema import Palette
from tests.support.pictures import RAINBOW, colour, make_grey, make_uptake

_FUSED = (make_grey() / np.float32(255))[None].astype(np.float32)
_UPTAKE = make_uptake()[None].astype(np.float32)
# The order of PET 20 step, a staircase of twenty colours with wide gaps, is a guess; grey has no hue.
_SMOOTH = (Palette.HOT_IRON, Palette.PET, Palette.HOT_METAL_BLUE)


def _correlate(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@given(seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_a_palette_is_traced_whatever_the_order_of_its_pixels(seed: int) -> None:
    pixels = np.random.default_rng(seed).permutation(RAINBOW.repeat(3, axis=0)).reshape(1, 20, 18, 3)
    traced = trace_palette(pixels)
    assert traced is not None
    assert np.array_equal(traced, RAINBOW)


@pytest.mark.parametrize("palette", _SMOOTH)
def test_the_standard_s_palettes_are_traced(palette: Palette) -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None, None]
    traced = trace_palette(show_uptake(ramp, palette))
    assert traced is not None
    table = np.rint(palette_table(palette) * 255).astype(np.uint8)
    assert np.array_equal(traced, table[np.sort(np.unique(table, axis=0, return_index=True)[1])])


@pytest.mark.parametrize(
    "colours",
    [
        np.zeros((4, 3)),
        np.random.default_rng(0).integers(0, 256, (400, 3)),
        np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]),
    ],
    ids=["one colour", "true colour", "wide gaps"],
)
def test_where_there_is_no_telling_no_palette_is_traced(colours: np.ndarray) -> None:
    assert trace_palette(colours.astype(np.uint8)[None, None]) is None


def test_uptake_is_the_place_in_the_palette() -> None:
    places = locate_uptake(colour(make_uptake()), RAINBOW)
    np.testing.assert_allclose(places, make_uptake(), atol=0.51 / 119)
    with pytest.raises(ValueError, match="not in the palette"):
        locate_uptake(np.full((1, 1, 3), 77, np.uint8), RAINBOW)


@pytest.mark.parametrize("palette", _SMOOTH)
def test_uptake_is_read_back_through_the_palette_it_was_shown_in(palette: Palette) -> None:
    rgb = colourise(_FUSED, _UPTAKE, palette)
    assert _correlate(read_uptake(rgb, chroma_table(palette)), _UPTAKE) > 0.9


def test_uptake_is_read_back_from_a_recombined_picture() -> None:
    coloured = colour(_UPTAKE)
    rgb = recombine(_FUSED, coloured)
    inside = _FUSED > 0.1  # in the black around the head nothing can be read
    recovered = read_uptake(rgb, chroma_of(RAINBOW / 255))[inside]
    assert _correlate(recovered, _UPTAKE[inside]) > 0.97


def test_a_picture_reads_as_itself() -> None:
    recovered = read_uptake(RAINBOW, chroma_of(RAINBOW / 255))
    # The darkest blues differ by less than a grey level in what they add to grey.
    np.testing.assert_allclose(recovered, np.linspace(0, 1, 120), atol=3 / 119)


def test_colours_washed_out_are_not_read() -> None:
    """Clipping, as when Cb and Cr are put back unchanged, and greying must both cost."""
    coloured = colour(_UPTAKE)
    chroma = chroma_of(RAINBOW / 255)
    honest = _correlate(read_uptake(recombine(_FUSED, coloured), chroma), _UPTAKE)
    grey = np.rint(luminance(coloured)[..., None].repeat(3, axis=-1) * 255).astype(np.uint8)
    assert not read_uptake(grey, chroma).any()
    white = np.full_like(coloured, 255)
    assert not read_uptake(white, chroma).any()
    half_washed = np.where((np.arange(64) % 2 == 0)[None, None, :, None], grey, recombine(_FUSED, coloured))
    assert _correlate(read_uptake(half_washed, chroma), _UPTAKE) < honest - 0.1


def test_where_a_palette_passes_through_grey_uptake_cannot_be_told_from_none() -> None:
    """Blue to yellow in a straight line has grey in its middle, and there uptake looks like plain MRI."""
    palette = np.linspace((0, 0, 255), (255, 255, 0), 101)
    shown = recombine(np.full((1, 1, 101), 0.5, np.float32), palette.astype(np.uint8)[None, None])
    recovered = read_uptake(shown, np.concatenate([np.zeros((1, 3)), chroma_of(palette / 255)]).astype(np.float32))
    assert recovered[0, 0, 50] == 0
    assert (recovered[0, 0, [0, 25, 75, 100]] > 0).all()


def test_the_grey_palette_tells_nothing() -> None:
    rgb = colourise(_FUSED, _UPTAKE, Palette.GREY)
    assert not read_uptake(rgb, chroma_table(Palette.GREY)).any()
