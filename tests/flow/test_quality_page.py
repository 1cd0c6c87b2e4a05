from dataclasses import replace

import numpy as np
import pytest

from fusionnode.capture.page import SIZE
from fusionnode.domain.images import FusedStack, PreparedPair
from fusionnode.domain.motion import MotionMethod
from fusionnode.flow.quality_page import draw_page, find_hottest
from fusionnode.pipeline.schema import Pipeline, Sheet
from tests.support.captures import make_job, make_pipeline
from tests.support.pairs import make_prepared_pair

FUSED = FusedStack(np.zeros((12, 32, 24, 3), np.uint8), "laplacian@1.0")


def ask(sheet: Sheet) -> Pipeline:
    pipeline = make_pipeline()
    return pipeline.model_copy(update={"output": pipeline.output.model_copy(update={"sheet": sheet})})


def heat(*places: tuple[int, int, int]) -> PreparedPair:
    prepared = make_prepared_pair()
    moving = np.zeros_like(prepared.moving)
    for place in places:
        moving[place] = 0.8
    return replace(prepared, moving=moving)


def test_no_page_is_drawn_unless_asked_for() -> None:
    assert draw_page(make_job(), ask(Sheet.NONE), make_prepared_pair(), FUSED) is None


def test_the_page_is_the_same_every_time_and_but_for_the_edition_for_both_forms() -> None:
    page, again = (draw_page(make_job(), ask(Sheet.IMAGE), make_prepared_pair(), FUSED) for _ in range(2))
    other = draw_page(make_job(), ask(Sheet.PDF), make_prepared_pair(), FUSED)
    assert page is not None
    assert other is not None
    assert page.shape == other.shape == (SIZE[1], SIZE[0], 3)
    np.testing.assert_array_equal(page, again)
    rows = np.flatnonzero((page != other).any(axis=(1, 2)))
    assert 0 < np.ptp(rows) < 60, "the form is part of the pipeline's edition, one line of text"


def test_planes_run_through_the_hottest_spot() -> None:
    assert find_hottest(heat((2, 30, 5))) == (2, 30, 5)


def test_of_many_hottest_voxels_it_is_one_of_them_in_their_midst() -> None:
    places = [(2, row, column) for row in range(10, 21) for column in range(4, 15)]
    assert find_hottest(heat(*places)) == (2, 15, 9)
    assert find_hottest(heat((0, 0, 0), (11, 31, 23))) in {(0, 0, 0), (11, 31, 23)}


def test_without_uptake_they_run_through_the_middle() -> None:
    assert find_hottest(heat()) == (6, 16, 12)


def test_the_hot_spot_is_seen_in_every_plane() -> None:
    prepared = replace(heat((2, 30, 5)), fixed=np.zeros((12, 32, 24), np.float32))
    page, cold = (draw_page(make_job(), ask(Sheet.IMAGE), pair, FUSED) for pair in (prepared, heat()))
    assert page is not None
    assert cold is not None
    # The outline, the last of the pictures of a row, is green.
    green = ((page[..., 1] > 200) & (page[..., 0] < 60)).any(axis=1)
    assert np.count_nonzero(np.diff(np.flatnonzero(green)) > 50) == 2
    assert not ((cold[..., 1] > 200) & (cold[..., 0] < 60)).any()


def test_the_verdict_on_a_shared_frame_is_not_that_on_a_registration() -> None:
    registered = heat()
    shared = replace(registered, estimate=replace(registered.estimate, method=MotionMethod.SHARED_FRAME))
    page, other = (draw_page(make_job(), ask(Sheet.IMAGE), pair, FUSED) for pair in (registered, shared))
    assert page is not None
    assert other is not None
    assert not np.array_equal(page[110:150], other[110:150])
    np.testing.assert_array_equal(page[:110], other[:110])


def count(page: np.ndarray | None, colour: tuple[int, int, int]) -> int:
    assert page is not None
    return int((page[100:150] == colour).all(axis=-1).sum())


def test_what_was_not_examined_is_not_called_good_by_its_colour() -> None:
    registered = replace(heat(), notes=())
    shared = replace(registered, estimate=replace(registered.estimate, method=MotionMethod.SHARED_FRAME))
    pages = [draw_page(make_job(), ask(Sheet.IMAGE), pair, FUSED) for pair in (registered, shared)]
    assert count(pages[0], (0, 110, 50)) > 0
    assert count(pages[1], (0, 110, 50)) == count(pages[1], (190, 90, 0)) == 0
    warned = replace(shared, notes=("look twice",))
    assert count(draw_page(make_job(), ask(Sheet.IMAGE), warned, FUSED), (190, 90, 0)) > 0


@pytest.mark.parametrize("whole", [True, False])
def test_where_the_functional_series_ends_there_is_no_outline(whole: bool) -> None:
    prepared = replace(heat(), fixed=np.zeros((12, 32, 24), np.float32))
    prepared.moving[2:9, 5:25, 4:18] = 0.8
    covered = np.ones_like(prepared.covered)
    if not whole:
        covered[:] = False
        covered[2:9, 5:25, 4:18] = True
    page = draw_page(make_job(), ask(Sheet.IMAGE), replace(prepared, covered=covered), FUSED)
    assert page is not None
    assert ((page[..., 1] > 200) & (page[..., 0] < 60)).any() == whole
