"""One page to judge a fusion by: three planes, what was done, how good it is, and every warning (middle).

Nothing on it identifies the patient: whose it is stands in the object's header, which a viewer shows beside it and
which follows a correction of the patient's data; ink would not.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fusionnode.capture.sheet import SheetRow
from fusionnode.domain.images import RgbStack

SIZE = (1240, 1754)
"""Width and height in pixels: A4 at 150 per inch."""

_DPI = 150
_MARGIN = 60
_GAP = 10
_PICTURES_TOP = 190
_LINE = 24
_LABEL_WIDTH = 250
_HEADING, _TITLE, _TEXT = 34, 19, 18
_PAPER, _INK, _QUIET = (255, 255, 255), (20, 20, 20), (110, 110, 110)
_GOOD, _DOUBTFUL = (0, 110, 50), (190, 90, 0)
_LETTER_INK = (255, 210, 80)


@dataclass(frozen=True, eq=False)
class PageContent:
    """What stands on the page, from top to bottom.

    Attributes:
        verdict: in a few words; green, orange where there are ``warnings``, black where nothing was ``examined``.
        rows: a plane each, with a picture for every one of ``titles``.
        facts: label and value, a line or more each.
    """

    heading: str
    verdict: str
    titles: tuple[str, ...]
    rows: tuple[SheetRow, ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()
    examined: bool = True


def render_page(content: PageContent) -> RgbStack:
    """Return the page, uint8 [row, column, 3] of `SIZE`; the same content gives the same page.

    Pictures are enlarged or shrunk to equal cells, their proportions kept. Where the text is longer than the page, its
    last line says how many lines are missing.
    """
    page = Image.new("RGB", SIZE, _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _MARGIN), content.heading, _INK, ImageFont.load_default(_HEADING))
    colour = _DOUBTFUL if content.warnings else _GOOD if content.examined else _INK
    draw.text((_MARGIN, _MARGIN + 52), content.verdict, colour, ImageFont.load_default(_TITLE + 4))
    top = _draw_pictures(page, content)
    _write_lines(draw, top + 2 * _GAP, _list_lines(content))
    return np.asarray(page, dtype=np.uint8)


def encode_pdf(page: RgbStack, moment: datetime) -> bytes:
    """Return the page as a PDF of one page, dated ``moment``; the same arguments give the same bytes.

    The picture is inside as JPEG of high quality, as Pillow writes it: a page to read, not to measure in.
    """
    stamp = time.struct_time(moment.astimezone(UTC).timetuple())
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(page)).save(
        stream, format="PDF", resolution=_DPI, quality=95, subsampling=0, creationDate=stamp, modDate=stamp
    )
    return stream.getvalue()


def _draw_pictures(page: Image.Image, content: PageContent) -> int:
    """Draw the titles and the rows; return where they end."""
    draw = ImageDraw.Draw(page)
    columns = len(content.titles)
    side = (SIZE[0] - 2 * _MARGIN - (columns - 1) * _GAP) // columns
    title = ImageFont.load_default(_TITLE)
    for column, text in enumerate(content.titles):
        draw.text((_MARGIN + column * (side + _GAP) + side / 2, _PICTURES_TOP - 6), text, _INK, title, anchor="mb")
    for index, row in enumerate(content.rows):
        top = _PICTURES_TOP + index * (side + _GAP)
        for column, panel in enumerate(row.panels):
            left = _MARGIN + column * (side + _GAP)
            page.paste(_fit(panel, side), (left, top))
            for letter, across, anchor in ((row.left, left + 5, "lm"), (row.right, left + side - 5, "rm")):
                _write_on_picture(draw, (across, top + side / 2), letter, anchor)
        _write_on_picture(draw, (_MARGIN + 6, top + 4), row.label, "la")
    return _PICTURES_TOP + len(content.rows) * (side + _GAP)


def _write_on_picture(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, anchor: str) -> None:
    """Dark-rimmed, so that it shows on white too."""
    font = ImageFont.load_default(_TITLE)
    draw.text(place, text, _LETTER_INK, font, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))


def _fit(panel: RgbStack, side: int) -> Image.Image:
    """The picture as large as a black square takes it."""
    scale = side / max(panel.shape[:2])
    size = (max(1, round(panel.shape[1] * scale)), max(1, round(panel.shape[0] * scale)))
    square = Image.new("RGB", (side, side))
    shown = Image.fromarray(np.ascontiguousarray(panel)).resize(size, Image.Resampling.BICUBIC)
    square.paste(shown, ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


_Line = tuple[str, str]


def _list_lines(content: PageContent) -> list[_Line]:
    """Label and text of each line; the label stands beside the first line of what belongs to it."""
    width = SIZE[0] - 2 * _MARGIN - _LABEL_WIDTH
    entries = [*(("Warning", warning) for warning in content.warnings), *content.facts]
    lines: list[_Line] = []
    for label, value in entries:
        wrapped = [part for line in value.splitlines() for part in _wrap(line, width)] or [""]
        lines += [(label if index == 0 else "", part) for index, part in enumerate(wrapped)]
    return lines


def _write_lines(draw: ImageDraw.ImageDraw, top: int, lines: Sequence[_Line]) -> None:
    room = (SIZE[1] - _MARGIN - top) // _LINE
    if len(lines) > room:
        lines = [*lines[: room - 1], ("", f"... and {len(lines) - room + 1} more lines; see the fused images.")]
    font = ImageFont.load_default(_TEXT)
    for number, (label, text) in enumerate(lines):
        draw.text((_MARGIN, top + number * _LINE), label, _DOUBTFUL if label == "Warning" else _QUIET, font)
        draw.text((_MARGIN + _LABEL_WIDTH, top + number * _LINE), text, _INK, font)


def _wrap(text: str, width: int) -> list[str]:
    """Lines that fit ``width`` pixels, broken at blanks; a word that is longer alone is broken where it must be."""
    font = ImageFont.load_default(_TEXT)
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines += _break_word(word, width)
    return lines


def _break_word(word: str, width: int) -> list[str]:
    """The word whole where it fits, else in parts of as many letters as fit whatever they are."""
    font = ImageFont.load_default(_TEXT)
    room = int(width // font.getlength("W"))
    if len(word) <= room or font.getlength(word) <= width:
        return [word]
    return [word[start : start + room] for start in range(0, len(word), room)]
