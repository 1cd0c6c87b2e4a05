"""Laws of colour: the luminance is the fused image, no uptake is grey, uptake is never grey."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fusionnode.domain.images import RgbStack, SliceStack
from fusionnode.fusion.colour import (
    chroma_of,
    chroma_table,
    colourise,
    find_paled,
    luminance,
    pale,
    recombine,
    shade_uptake,
    show_uptake,
)
from fusionnode.pipeline.palettes import palette_table
from fusionnode.pipeline.schema import Palette

every_palette = pytest.mark.parametrize("palette", list(Palette))
coloured_palettes = pytest.mark.parametrize("palette", [palette for palette in Palette if palette is not Palette.GREY])

_STACK_PAIRS = st.tuples(st.just(2), st.integers(1, 2), st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: arrays.arrays(np.float32, shape, elements=st.floats(0, 1, width=32))
)


def _cross_levels(count: int = 256) -> tuple[SliceStack, SliceStack]:
    """Every fused level (row) with every uptake (column)."""
    levels = np.linspace(0, 1, count, dtype=np.float32)
    fused, uptake = np.meshgrid(levels, levels, indexing="ij")
    return fused[None], uptake[None]


def _colourfulness(rgb: RgbStack) -> np.ndarray:
    return np.ptp(rgb.astype(int), axis=-1)


@every_palette
@given(pair=_STACK_PAIRS)
@settings(max_examples=40, deadline=None)
def test_the_luminance_is_the_fused_image(palette: Palette, pair: np.ndarray) -> None:
    fused, moving = pair

    rgb = colourise(fused, moving, palette)

    assert rgb.shape == (*fused.shape, 3)
    assert rgb.dtype == np.uint8
    np.testing.assert_allclose(luminance(rgb), fused, rtol=0, atol=0.51 / 255)


@every_palette
def test_the_luminance_is_right_for_every_level_with_every_uptake(palette: Palette) -> None:
    fused, moving = _cross_levels()

    np.testing.assert_allclose(luminance(colourise(fused, moving, palette)), fused, rtol=0, atol=0.51 / 255)


@every_palette
def test_without_uptake_the_picture_is_the_grey_mri(palette: Palette) -> None:
    fused, _ = _cross_levels()

    rgb = colourise(fused, np.zeros_like(fused), palette)

    assert np.array_equal(rgb, np.repeat(np.rint(fused * 255).astype(np.uint8)[..., None], 3, axis=-1))


@every_palette
def test_black_and_white_stay_black_and_white(palette: Palette) -> None:
    _, moving = _cross_levels()

    assert not colourise(np.zeros_like(moving), moving, palette).any()
    assert (colourise(np.ones_like(moving), moving, palette) == 255).all()


@coloured_palettes
def test_strong_uptake_is_never_grey_at_middle_luminance(palette: Palette) -> None:
    """The palettes end in white, yet the hottest spot must not look like plain MRI."""
    uptake = np.linspace(0.5, 1, 64, dtype=np.float32)[None, None]

    rgb = colourise(np.full_like(uptake, 0.5), uptake, palette)

    assert _colourfulness(rgb).min() > 60


@pytest.mark.parametrize("palette", [Palette.HOT_IRON, Palette.HOT_METAL_BLUE, Palette.PET])
def test_faint_uptake_gives_faint_colour(palette: Palette) -> None:
    uptake = np.linspace(0, 0.25, 65, dtype=np.float32)[None, None]

    colourfulness = _colourfulness(colourise(np.full_like(uptake, 0.5), uptake, palette))[0, 0]

    assert (np.diff(colourfulness) >= -2).all()  # rounding of three channels
    assert colourfulness[1] <= 3
    assert colourfulness[-1] > 30


@coloured_palettes
def test_the_hottest_uptake_is_not_the_dullest_colour(palette: Palette) -> None:
    strengths = np.linalg.norm(chroma_table(palette), axis=1)

    assert strengths[-13:].min() >= 0.849 * strengths.max()


@pytest.mark.parametrize("palette", [Palette.HOT_IRON, Palette.HOT_METAL_BLUE])
def test_colour_does_not_weaken_from_its_strongest_entry_on(palette: Palette) -> None:
    strengths = np.linalg.norm(chroma_table(palette), axis=1)

    assert strengths[strengths.argmax() :].min() >= 0.849 * strengths.max()


@every_palette
def test_noise_in_air_is_not_coloured(palette: Palette) -> None:
    """The lowest twentieth of uptake fades to grey faster than the palette itself does."""
    strengths = np.linalg.norm(chroma_table(palette), axis=1)

    assert strengths[0] < 1e-6
    assert strengths[6] <= 0.3 * strengths[13] + 1e-6
    assert np.diff(strengths[:13]).min() > -0.002


@every_palette
def test_brighter_fused_pixels_are_never_shown_darker(palette: Palette) -> None:
    fused, moving = _cross_levels()

    shown = luminance(colourise(fused, moving, palette))[0]

    assert np.diff(shown, axis=0).min() >= 0


@coloured_palettes
def test_out_of_gamut_colour_is_paled_along_its_own_hue(palette: Palette) -> None:
    """Clipping channel by channel would turn the hue; here the direction from grey stays."""
    table = palette_table(palette)[128]
    chroma = table - table @ [0.299, 0.587, 0.114]
    fused = np.linspace(0.1, 0.9, 9, dtype=np.float32)[None, None]

    rgb = colourise(fused, np.full_like(fused, 128 / 255), palette)[0, 0] / 255.0

    shown = rgb - fused[0, 0][:, None]
    cosine = shown @ chroma / np.linalg.norm(shown, axis=1) / np.linalg.norm(chroma)
    assert cosine.min() > 0.99


def test_grey_palette_adds_nothing() -> None:
    fused, moving = _cross_levels(64)

    assert not _colourfulness(colourise(fused, moving, Palette.GREY)).any()


def test_shapes_that_differ_are_the_callers_defect() -> None:
    with pytest.raises(ValueError, match="one fused value per uptake"):
        colourise(np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 5), np.float32), Palette.PET)


@every_palette
def test_uptake_alone_runs_through_the_palette_from_black_to_white(palette: Palette) -> None:
    ramp = (np.arange(256, dtype=np.float32) / 255)[None, None]

    shown = show_uptake(ramp, palette)

    assert shown.shape == (1, 1, 256, 3)
    assert np.array_equal(shown[0, 0], np.rint(palette_table(palette) * 255).astype(np.uint8))
    assert not shown[0, 0, 0].any()
    assert (shown[0, 0, 255] == 255).all()


@pytest.mark.parametrize("palette", [Palette.HOT_IRON, Palette.GREY])
def test_more_uptake_is_shown_brighter(palette: Palette) -> None:
    ramp = (np.arange(256, dtype=np.float32) / 255)[None, None]

    assert np.diff(luminance(show_uptake(ramp, palette))[0, 0]).min() >= -1e-6


def test_the_palettes_are_the_standards_own() -> None:
    """PS3.6 annex B.1: single entries, to tell the four apart."""
    entries = {palette: np.rint(palette_table(palette)[128] * 255).tolist() for palette in Palette}

    assert entries == {
        Palette.HOT_IRON: [255, 0, 0],
        Palette.PET: [128, 0, 255],
        Palette.HOT_METAL_BLUE: [116, 17, 97],
        Palette.PET_20_STEP: [80, 192, 80],
        Palette.GREY: [128, 128, 128],
    }


_PICTURES = arrays.arrays(np.uint8, (2, 5, 7, 3))
_LEVELS = arrays.arrays(np.float32, (2, 5, 7), elements=st.floats(0, 1, width=32))


@given(fused=_LEVELS, coloured=_PICTURES)
@settings(max_examples=60, deadline=None)
def test_recombined_luminance_is_the_fused_image(fused: SliceStack, coloured: RgbStack) -> None:
    np.testing.assert_allclose(luminance(recombine(fused, coloured)), fused, rtol=0, atol=0.51 / 255)


@given(coloured=_PICTURES)
@settings(max_examples=60, deadline=None)
def test_a_picture_recombined_with_its_own_luminance_is_itself(coloured: RgbStack) -> None:
    assert np.array_equal(recombine(luminance(coloured), coloured), coloured)
    assert not find_paled(luminance(coloured), coloured).any()


@given(fused=_LEVELS, coloured=_PICTURES)
@settings(max_examples=60, deadline=None)
def test_recombined_colour_keeps_its_hue_and_is_never_stronger(fused: SliceStack, coloured: RgbStack) -> None:
    shown = chroma_of(recombine(fused, coloured) / 255)
    own = chroma_of(coloured / 255)

    strength = (shown * own).sum(axis=-1) / np.maximum((own * own).sum(axis=-1), 1e-12)
    aside = shown - strength[..., None] * own
    assert np.abs(aside).max() < 1.01 / 255  # rounding of three channels
    assert ((strength - 1) * np.linalg.norm(own, axis=-1)).max() < 1.01 / 255


def test_only_colours_that_do_not_exist_at_the_fused_luminance_are_paled() -> None:
    blue = np.full((1, 1, 5, 3), (0, 0, 200), np.uint8)
    own = 0.114 * 200 / 255
    fused = np.array([[[0.0, own - 0.02, own, own + 1 - 200 / 255, own + 1 - 200 / 255 + 0.02]]], np.float32)

    assert find_paled(fused, blue).tolist() == [[[True, True, False, False, True]]]
    shown = recombine(fused, blue)[0, 0].astype(int)
    assert shown[0].tolist() == [0, 0, 0]
    assert np.ptp(shown, axis=-1)[2:4].tolist() == [200, 200]
    assert (np.ptp(shown, axis=-1)[[1, 4]] < 195).all()


def test_grey_pictures_get_no_colour() -> None:
    fused, moving = _cross_levels(64)
    grey = np.rint(moving[..., None].repeat(3, axis=-1) * 255).astype(np.uint8)

    assert not _colourfulness(recombine(fused, grey)).any()


def test_one_colour_per_fused_value_is_the_callers_duty() -> None:
    for function in (recombine, find_paled):
        with pytest.raises(ValueError, match="one colour per fused value"):
            function(np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 5, 3), np.uint8))


@every_palette
def test_paled_colours_exist_at_their_luminance(palette: Palette) -> None:
    chroma = chroma_table(palette)
    for level in (0.0, 0.2, 0.9, 1.0):
        shown = level + pale(np.full(256, level, np.float32), chroma)
        assert shown.min() > -1e-6
        assert shown.max() < 1 + 1e-6
    with pytest.raises(ValueError, match="read-only"):
        chroma[0, 0] = 1


@every_palette
def test_the_shade_of_an_uptake_rises_with_it_and_is_its_colour_s_own_or_itself(palette: Palette) -> None:
    uptake = np.linspace(0, 1, 256, dtype=np.float32)[None, None]
    shades = shade_uptake(uptake, palette)

    assert shades.dtype == np.float32
    assert shades.shape == uptake.shape
    assert (np.diff(shades) >= 0).all()
    assert 0 <= shades.min() <= shades.max() <= 1
    own = luminance(show_uptake(uptake, palette))
    assert np.abs(shades - (own if (np.diff(own) >= 0).all() else uptake)).max() < 1e-5
