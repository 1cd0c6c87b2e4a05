from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fusionnode.capture.sheet import (
    ColourBar,
    SheetRow,
    draw_outline,
    encode_png,
    lay_checkerboard,
    render_contact_sheet,
)

TITLES = ("MRI", "PET", "Fused")
SIDES = st.integers(1, 60)


def make_panel(rows: int, columns: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(1, 256, (rows, columns, 3), dtype=np.uint8)


def make_rows(*sizes: tuple[int, int], left: str = "", right: str = "") -> list[SheetRow]:
    return [
        SheetRow(f"plane {k}", tuple(make_panel(*size, seed=3 * k + j) for j in range(3)), left, right)
        for k, size in enumerate(sizes)
    ]


def find_panel(sheet: NDArray[np.uint8], panel: NDArray[np.uint8]) -> int:
    """How often the panel stands in the sheet, pixel for pixel."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, panel.shape)[:, :, 0]
    return int((windows == panel).all(axis=(2, 3, 4)).sum())


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(2, 20), st.integers(2, 20)), min_size=1, max_size=3))
def test_every_panel_stands_in_the_sheet_unchanged_and_once(sizes: list[tuple[int, int]]) -> None:
    rows = make_rows(*sizes)
    sheet = render_contact_sheet(rows, TITLES)
    for row in rows:
        for panel in row.panels:
            assert find_panel(sheet, panel) == 1


def test_columns_keep_their_order_and_small_panels_are_centred() -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    small = [np.full((4, 6, 3), colour, np.uint8) for colour in colours]
    rows = [SheetRow("", tuple(small), "", ""), *make_rows((20, 30))]
    sheet = render_contact_sheet(rows, ("", "", ""))
    places = [np.argwhere((sheet == colour).all(axis=2)) for colour in colours]
    assert [len(place) for place in places] == [24, 24, 24]
    lefts = [int(place[:, 1].min()) for place in places]
    assert lefts == [8 + 12, 8 + 38 + 12, 8 + 2 * 38 + 12]
    assert {int(place[:, 0].min()) for place in places} == {2 * 22 + 8}


def test_labels_titles_and_letters_are_drawn_where_they_belong() -> None:
    black = tuple(np.zeros((60, 80, 3), np.uint8) for _ in range(3))
    bare = render_contact_sheet([SheetRow("", black, "", "")], ("", "", ""))
    assert not bare.any()
    titled = render_contact_sheet([SheetRow("", black, "", "")], TITLES)
    assert titled[:22].any()
    assert not titled[22:].any()
    labelled = render_contact_sheet([SheetRow("axial", black, "", "")], ("", "", ""))
    assert labelled[22:44].any()
    assert not labelled[44:].any()
    lettered = render_contact_sheet([SheetRow("", black, "R", "L")], ("", "", ""))
    for column in range(3):
        cell = lettered[44:104, 8 + 88 * column : 88 + 88 * column]
        assert cell[:, :20].any()
        assert cell[:, -20:].any()
        assert not cell[:, 20:-20].any()


def test_letters_show_on_a_white_picture() -> None:
    white = tuple(np.full((60, 80, 3), 255, np.uint8) for _ in range(3))
    plain = render_contact_sheet([SheetRow("", white, "", "")], TITLES)
    lettered = render_contact_sheet([SheetRow("", white, "R", "L")], TITLES)
    changed = (plain != lettered).any(axis=2)
    assert (lettered[changed].max(axis=1) < 60).any()


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [SheetRow("", (make_panel(3, 3),) * 2, "", "")],
        [SheetRow("", (np.zeros((3, 3), np.uint8),) * 3, "", "")],
        [SheetRow("", (np.zeros((3, 3, 3), np.float32),) * 3, "", "")],  # type: ignore[arg-type]
        [SheetRow("", (np.zeros((0, 3, 3), np.uint8),) * 3, "", "")],
    ],
)
def test_what_is_no_row_of_pictures_is_a_defect(rows: list[SheetRow]) -> None:
    with pytest.raises(ValueError, match=r"row|panel"):
        render_contact_sheet(rows, TITLES)


def test_the_bar_stands_below_its_column_with_its_limits() -> None:
    black = tuple(np.zeros((60, 80, 3), np.uint8) for _ in range(3))
    rows = [SheetRow("", black, "", "")]
    plain = render_contact_sheet(rows, ("", "", ""))
    ramp = np.stack([np.arange(1, 256)] * 3, axis=1).astype(np.uint8)
    barred = render_contact_sheet(rows, ("", "", ""), ColourBar(ramp, "0 to 7 SUVbw", 1))
    assert np.array_equal(barred[: len(plain)], plain)
    below = barred[len(plain) :]
    bar = below[0, 96:176, 0].astype(int)
    assert (np.diff(bar) > 0).all()
    assert (bar[0], bar[-1] > 240) == (1, True)
    assert below[12:, 96:176].any(), "the limits are written below"
    assert not below[:, :90].any()
    assert not below[:, 190:].any()


def test_every_footnote_is_drawn_and_long_ones_are_broken() -> None:
    rows = [SheetRow("", tuple(np.zeros((60, 80, 3), np.uint8) for _ in range(3)), "", "")]
    plain = render_contact_sheet(rows, TITLES)
    one = render_contact_sheet(rows, TITLES, footnotes=["Check it."])
    two = render_contact_sheet(rows, TITLES, footnotes=["Check it.", "And this."])
    long = render_contact_sheet(rows, TITLES, footnotes=["The two series agree less than usual; check by eye. " * 3])
    assert [len(sheet) - len(plain) for sheet in (one, two)] == [22, 44]
    assert np.array_equal(two[: len(one)], one)
    assert one[len(plain) :].any()
    assert two[len(one) :].any()
    assert len(long) > len(two)
    assert not long[:, -6:].any(), "nothing is cut off at the right edge"


@settings(max_examples=20, deadline=None)
@given(SIDES, SIDES, st.integers(0, 100))
def test_png_is_lossless_and_repeatable(rows: int, columns: int, seed: int) -> None:
    picture = make_panel(rows, columns, seed)
    data = encode_png(picture)
    assert data == encode_png(picture.copy())
    with Image.open(BytesIO(data)) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), picture)


@settings(max_examples=20, deadline=None)
@given(SIDES, SIDES, st.integers(1, 9))
def test_a_checkerboard_shows_each_pixel_of_one_of_both_and_half_of_each(rows: int, columns: int, field: int) -> None:
    first, second = np.zeros((rows, columns, 3), np.uint8), np.full((rows, columns, 3), 9, np.uint8)
    board = lay_checkerboard(first, second, field)
    assert np.array_equal(board[:field, :field], first[:field, :field])
    assert np.array_equal(board[:field, field : 2 * field], second[:field, field : 2 * field])
    assert np.array_equal(board[field : 2 * field, :field], second[field : 2 * field, :field])
    assert np.array_equal(lay_checkerboard(first, second, field) + lay_checkerboard(second, first, field), second)
    assert not first.any(), "the pictures themselves are left alone"


def test_a_checkerboard_of_two_sizes_is_a_defect() -> None:
    with pytest.raises(ValueError, match="one size"):
        lay_checkerboard(make_panel(4, 5, 0), make_panel(5, 4, 0), 2)


def test_an_outline_is_the_edge_of_the_mask_and_nothing_else() -> None:
    picture, mask = np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    drawn = draw_outline(picture, mask).any(axis=-1)
    assert drawn.sum() == 16
    assert not drawn[3:6, 3:6].any()
    assert not (drawn & ~mask).any()
    assert not draw_outline(picture, np.ones((9, 9), bool)).any(), "where the picture ends there is no edge"


@given(rows=st.integers(0, 9), columns=st.integers(0, 9))
def test_where_the_knowledge_ends_there_is_no_edge(rows: int, columns: int) -> None:
    picture, known = np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), bool)
    known[:rows, :columns] = True
    assert not draw_outline(picture, known, known).any()
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    whole, part = (draw_outline(picture, mask & seen, seen).any(axis=-1) for seen in (np.ones_like(known), known))
    assert not (part & ~(whole & known)).any()
    surely = known.copy()  # with all its neighbours
    surely[max(0, rows - 1) :] = surely[:, max(0, columns - 1) :] = False
    np.testing.assert_array_equal(part & surely, whole & surely)
