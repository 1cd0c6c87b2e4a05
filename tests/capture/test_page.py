from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fusionnode.capture.page import SIZE, PageContent, encode_pdf, render_page
from fusionnode.capture.sheet import SheetRow

MOMENT = datetime(2024, 3, 6, 23, 30, tzinfo=UTC)


def flat(colour: tuple[int, int, int], rows: int = 20, columns: int = 30) -> NDArray[np.uint8]:
    return np.full((rows, columns, 3), colour, np.uint8)


CONTENT = PageContent(
    heading="Quality",
    verdict="Accepted",
    titles=("one", "other"),
    rows=(SheetRow("axial", (flat((255, 0, 0)), flat((0, 0, 255))), "R", "L"),),
    facts=(("Transform", "rigid\n1 2 3"), ("Network", "laplacian@1")),
)


def count(page: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int((page == colour).all(axis=2).sum())


def test_the_page_has_its_size_and_is_the_same_every_time() -> None:
    page = render_page(CONTENT)
    assert (page.shape, page.dtype) == ((SIZE[1], SIZE[0], 3), np.uint8)
    np.testing.assert_array_equal(page, render_page(CONTENT))


def test_pictures_stand_side_by_side_in_order_with_their_proportions() -> None:
    page = render_page(replace(CONTENT, rows=(replace(CONTENT.rows[0], label="", left="", right=""),)))
    red, blue = (np.argwhere((page == colour).all(axis=2)) for colour in ((255, 0, 0), (0, 0, 255)))
    assert red[:, 1].max() < blue[:, 1].min()
    height, width = np.ptp(red, axis=0) + 1
    assert abs(width / height - 1.5) < 0.02
    assert len(red) == height * width


def test_a_warning_turns_the_verdict_and_takes_its_own_line() -> None:
    good, doubtful = render_page(CONTENT), render_page(replace(CONTENT, warnings=("look twice",)))
    assert count(good, (0, 110, 50)) > 0
    assert count(good, (190, 90, 0)) == 0
    assert count(doubtful, (190, 90, 0)) > 0
    assert count(doubtful, (0, 110, 50)) == 0


def test_a_verdict_on_what_nobody_examined_is_neither_good_nor_doubtful() -> None:
    unseen = render_page(replace(CONTENT, examined=False))
    assert (count(unseen, (0, 110, 50)), count(unseen, (190, 90, 0))) == (0, 0)
    assert count(render_page(replace(CONTENT, examined=False, warnings=("look twice",))), (190, 90, 0)) > 0


def find_ink(page: NDArray[np.uint8]) -> NDArray[np.intp]:
    return np.argwhere((page != 255).any(axis=2))


def test_more_text_than_fits_stays_on_the_page_and_says_so() -> None:
    few, many = (replace(CONTENT, facts=(("Word", "x" * 5000), *[("Line", "y")] * n)) for n in (0, 200))
    for content in (few, many):
        places = find_ink(render_page(content))
        assert places[:, 0].max() < SIZE[1] - 30
        assert places[:, 1].max() < SIZE[0] - 30
    assert not np.array_equal(render_page(few), render_page(many))


def test_the_pdf_holds_the_page_closely_and_no_clock() -> None:
    page = render_page(CONTENT)
    document = encode_pdf(page, MOMENT)
    assert document == encode_pdf(page, MOMENT)
    assert document.startswith(b"%PDF-")
    assert b"D:20240306233000" in document
    assert document.count(b"/Type /Page\n") == 1
    start, end = document.index(b"\xff\xd8\xff"), document.rindex(b"\xff\xd9") + 2
    shown = np.asarray(Image.open(BytesIO(document[start:end])), np.float32)
    assert np.abs(shown - page).mean() < 0.5
