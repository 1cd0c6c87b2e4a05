"""The plot of one pair: order of the story, refusals, and that the same input gives the same bytes."""

import io
import logging

import numpy as np
import pytest
from pydicom import Dataset, dcmwrite

from fusionnode.domain.motion import MotionMethod
from fusionnode.errors import GeometryIrregular, OverlapInsufficient, Refused
from fusionnode.flow.fuse_pair import FusedPair, PairSources, fuse_pair, prepare_pair
from fusionnode.fusion.cards import find_card
from fusionnode.fusion.fuse import load_fuser
from fusionnode.logs import StepClock
from tests.support.captures import make_job, make_pipeline
from tests.support.datasets import Identity, Layout, make_mr_series, make_pt_series
from tests.support.nodes import FRAME, make_pair

CLOCK = StepClock(logging.getLogger("test"))


def _fuse(fixed: list[Dataset], moving: list[Dataset], clock: StepClock = CLOCK) -> FusedPair:
    return fuse_pair(make_job(), PairSources(fixed, moving), make_pipeline(), load_fuser(find_card("laplacian")), clock)


def _encode(ds: Dataset) -> bytes:
    stream = io.BytesIO()
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


def test_the_story_is_told_in_order() -> None:
    clock = StepClock(logging.getLogger("test"))
    _fuse(*make_pair(), clock)
    assert list(clock.seconds) == ["assemble", "register", "resample", "window", "fuse", "colour", "capture", "verify"]


def test_a_slice_comes_out_for_every_slice_that_went_in() -> None:
    fixed, moving = make_pair()
    result = _fuse(fixed, moving)
    assert len(result.objects) == len(fixed)
    assert {ds.StudyInstanceUID for ds in result.objects} == {fixed[0].StudyInstanceUID}


def test_a_shared_frame_of_reference_is_trusted() -> None:
    estimate = _fuse(*make_pair()).prepared.estimate
    assert estimate.method is MotionMethod.SHARED_FRAME
    np.testing.assert_array_equal(estimate.motion.moving_from_fixed, np.eye(4))


def test_the_same_series_in_any_order_give_the_same_bytes() -> None:
    fixed, moving = make_pair()
    one = _fuse(fixed, moving)
    other = _fuse(fixed[::-1], [*moving[3:], *moving[:3]])
    assert [_encode(ds) for ds in one.objects] == [_encode(ds) for ds in other.objects]


def test_a_gap_is_refused() -> None:
    fixed, moving = make_pair()
    with pytest.raises(GeometryIrregular):
        _fuse([*fixed[:4], *fixed[5:]], moving)


def test_two_series_that_do_not_meet_are_refused() -> None:
    fixed, _ = make_pair()
    far = Layout(slices=10, rows=24, columns=20, origin_mm=(400.0, 400.0, 400.0))
    moving = make_pt_series(far, Identity(frame_of_reference_uid=FRAME, series_number=2))
    with pytest.raises(OverlapInsufficient):
        prepare_pair(PairSources(fixed, moving), make_pipeline(), CLOCK)


def test_an_mri_is_no_functional_series_and_an_empty_one_is_told() -> None:
    fixed, moving = make_pair()
    with pytest.raises(Refused):
        _fuse(fixed, [])
    with pytest.raises(Refused):
        _fuse([], moving)


def test_where_the_functional_series_ends_the_picture_is_the_mri() -> None:
    layout = Layout(slices=10, rows=24, columns=20)
    fixed = make_mr_series(layout, Identity(frame_of_reference_uid=FRAME))
    half = Layout(slices=5, rows=24, columns=20)
    moving = make_pt_series(half, Identity(frame_of_reference_uid=FRAME, series_number=2))
    result = _fuse(fixed, moving)
    uncovered = ~result.prepared.covered.any(axis=(1, 2))
    assert uncovered.any()
    assert not result.prepared.moving[uncovered].any()
    colour = np.ptp(result.fused.rgb[uncovered].astype(int), axis=-1)
    assert colour.max() <= 1
