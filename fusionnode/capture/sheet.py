"""A contact sheet: MRI, functional series and fused picture side by side, one row for each plane (middle)."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fusionnode.domain.images import RgbStack

_MARGIN = 8
_BAND = 22
_BAR = 12
_TEXT_SIZE = 13
_BACKGROUND = (0, 0, 0)
_INK = (230, 230, 230)
_LETTER_INK = (255, 210, 80)
_OUTLINE_INK = (0, 255, 120)


@dataclass(frozen=True, eq=False)
class SheetRow:
    """One plane.

    Attributes:
        label: name of the plane, written above the row's first panel.
        panels: one picture for each column of the sheet, uint8 [row, column, 3]; sizes may differ.
        left: letter of the patient direction at the left edge of the panels (L, R, A, P, H, F), or empty.
        right: the same at the right edge.
    """

    label: str
    panels: tuple[RgbStack, ...]
    left: str
    right: str


@dataclass(frozen=True, eq=False)
class ColourBar:
    """What the colours of one column mean.

    Attributes:
        colours: of the range, its low end first, uint8 [colour, 3].
        limits: the values at both ends, with their unit.
        column: of the sheet, below which the bar is drawn.
    """

    colours: NDArray[np.uint8]
    limits: str
    column: int


def render_contact_sheet(
    rows: Sequence[SheetRow], titles: Sequence[str], bar: ColourBar | None = None, footnotes: Sequence[str] = ()
) -> RgbStack:
    """Return the sheet, uint8 [row, column, 3]: panels centred in equal black cells, labelled, never rescaled.

    ``titles`` stand above the columns, for example MRI, PET and Fused; the bar and the footnotes below the last row.

    Raises:
        ValueError: no rows, a row with another number of panels than titles, or a panel that is no RGB picture.
    """
    _require_panels(rows, titles)
    sheet = _draw_rows(rows, titles)
    parts = [sheet] if bar is None else [sheet, _draw_bar(bar, sheet.width, len(titles))]
    parts += [_draw_line(line, sheet.width) for note in footnotes for line in _wrap(note, sheet.width - 2 * _MARGIN)]
    return np.concatenate([np.asarray(part, dtype=np.uint8) for part in parts])


def lay_checkerboard(first: RgbStack, second: RgbStack, field: int) -> RgbStack:
    """Return fields of ``field`` pixels taken in turns from two pictures of one size, the first at the upper left.

    Where the two are aligned, edges run on from field to field.

    Raises:
        ValueError: the sizes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"a checkerboard needs pictures of one size, not {first.shape} and {second.shape}")
    rows, columns = (np.arange(extent) // field for extent in first.shape[:2])
    odd = (rows[:, None] + columns[None, :]) % 2 == 1
    return np.where(odd[..., None], second, first)


def draw_outline(picture: RgbStack, mask: NDArray[np.bool_], known: NDArray[np.bool_] | None = None) -> RgbStack:
    """Return the picture with the inner edge of ``mask`` [row, column] drawn on it, one pixel wide.

    Where ``known`` ends, or the picture, there is no edge: nobody knows whether the mask goes on there.
    """
    seen = np.ones_like(mask) if known is None else known
    framed = np.pad(mask | ~seen, 1, constant_values=True)
    edge = mask & seen & ~(framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:])
    outlined = picture.copy()
    outlined[edge] = _OUTLINE_INK
    return outlined


def encode_png(array: NDArray[np.uint8]) -> bytes:
    """Return an RGB picture, uint8 [row, column, 3], as PNG; the same picture gives the same bytes."""
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(stream, format="PNG")
    return stream.getvalue()


def _draw_rows(rows: Sequence[SheetRow], titles: Sequence[str]) -> Image.Image:
    height = max(panel.shape[0] for row in rows for panel in row.panels)
    width = max(panel.shape[1] for row in rows for panel in row.panels)
    size = (_MARGIN + len(titles) * (width + _MARGIN), _BAND + len(rows) * (_BAND + height + _MARGIN))
    sheet = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_TEXT_SIZE)
    for column, title in enumerate(titles):
        draw.text((_MARGIN + column * (width + _MARGIN) + width / 2, _BAND / 2), title, _INK, font, anchor="mm")
    for index, row in enumerate(rows):
        top = _BAND + index * (_BAND + height + _MARGIN)
        draw.text((_MARGIN, top + _BAND / 2), row.label, _INK, font, anchor="lm")
        for column, panel in enumerate(row.panels):
            corner = (_MARGIN + column * (width + _MARGIN), top + _BAND)
            sheet.paste(Image.fromarray(_pad_panel(panel, height, width)), corner)
            _draw_letters(draw, row, (*corner, width, height))
    return sheet


def _draw_bar(bar: ColourBar, sheet_width: int, columns: int) -> Image.Image:
    """A strip as wide as the sheet, with the bar as wide as its column's cells and its limits below."""
    width = (sheet_width - _MARGIN) // columns - _MARGIN
    left = _MARGIN + bar.column * (width + _MARGIN)
    strip = Image.new("RGB", (sheet_width, _BAR + _BAND), _BACKGROUND)
    shown = bar.colours[np.arange(width) * len(bar.colours) // width]
    strip.paste(Image.fromarray(np.ascontiguousarray(np.broadcast_to(shown, (_BAR, width, 3)))), (left, 0))
    font = ImageFont.load_default(_TEXT_SIZE)
    ImageDraw.Draw(strip).text((left + width / 2, _BAR + _BAND / 2), bar.limits, _INK, font, anchor="mm")
    return strip


def _draw_line(line: str, width: int) -> Image.Image:
    strip = Image.new("RGB", (width, _BAND), _BACKGROUND)
    ImageDraw.Draw(strip).text((_MARGIN, _BAND / 2), line, _LETTER_INK, ImageFont.load_default(_TEXT_SIZE), anchor="lm")
    return strip


def _wrap(note: str, width: int) -> list[str]:
    """Lines that fit ``width`` pixels, broken at blanks; a word that is longer alone stays whole."""
    font = ImageFont.load_default(_TEXT_SIZE)
    lines: list[str] = []
    for word in note.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _require_panels(rows: Sequence[SheetRow], titles: Sequence[str]) -> None:
    if not rows or not titles:
        raise ValueError("a contact sheet needs at least one row and one column")
    for row in rows:
        if len(row.panels) != len(titles):
            raise ValueError(f"row {row.label!r} has {len(row.panels)} panels for {len(titles)} columns")
        for panel in row.panels:
            if panel.ndim != 3 or panel.shape[2] != 3 or panel.dtype != np.uint8 or 0 in panel.shape:
                raise ValueError(f"row {row.label!r} has a panel that is not uint8 [row, column, 3]")


def _pad_panel(panel: RgbStack, height: int, width: int) -> RgbStack:
    cell = np.zeros((height, width, 3), np.uint8)
    top, left = (height - panel.shape[0]) // 2, (width - panel.shape[1]) // 2
    cell[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
    return cell


def _draw_letters(draw: ImageDraw.ImageDraw, row: SheetRow, cell: tuple[int, int, int, int]) -> None:
    """At half height, just inside the edges of ``cell`` (left, top, width, height), dark-rimmed to show on white."""
    left, top, width, height = cell
    font = ImageFont.load_default(_TEXT_SIZE)
    places = ((row.left, left + 3, "lm"), (row.right, left + width - 4, "rm"))
    for letter, across, anchor in places:
        draw.text(
            (across, top + height / 2),
            letter,
            _LETTER_INK,
            font,
            anchor=anchor,
            stroke_width=1,
            stroke_fill=_BACKGROUND,
        )
