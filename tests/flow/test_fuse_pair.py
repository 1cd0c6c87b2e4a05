"""The plot of one pair: order of the story, refusals, and that the same input gives the same bytes."""

import io
import logging
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite

from fusionnode.domain.images import PreparedPair
from fusionnode.domain.motion import MotionMethod
from fusionnode.domain.terms import Unit
from fusionnode.errors import (
    DatasetUnreadable,
    GeometryIrregular,
    OverlapInsufficient,
    Refused,
    RegistrationImplausible,
)
from fusionnode.flow.fuse_pair import FusedPair, PairSources, fuse_pair, fuse_prepared, prepare_pair
from fusionnode.fusion.cards import CARDS, find_card
from fusionnode.fusion.fuse import load_fuser
from fusionnode.logs import StepClock
from fusionnode.pipeline.schema import Compression, OutputGrid, Pipeline, Sheet, SuvWindow, UptakeWindow
from fusionnode.volumes.suv import measure_suv
from fusionnode.wiring import open_fuser
from tests.support.captures import make_job, make_pipeline
from tests.support.datasets import Identity, Layout, make_mr_series, make_pt_series
from tests.support.enhanced import make_enhanced_pet
from tests.support.nodes import FRAME, make_pair
from tests.support.pairs import make_prepared_pair

CLOCK = StepClock(logging.getLogger("test"))
SAMPLE = Path(__file__).parents[2] / "dicom_samples" / "head"


def _vouch(fixed: list[Dataset], moving: list[Dataset]) -> PairSources:
    return PairSources(fixed, moving, shared_frame=True)


def _fuse(fixed: list[Dataset], moving: list[Dataset], clock: StepClock = CLOCK) -> FusedPair:
    fuser = load_fuser(find_card("laplacian"))
    return fuse_pair(make_job(), _vouch(fixed, moving), (fixed, moving), make_pipeline(), fuser, clock)


def _encode(ds: Dataset) -> bytes:
    stream = io.BytesIO()
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


def test_the_story_is_told_in_order() -> None:
    clock = StepClock(logging.getLogger("test"))
    _fuse(*make_pair(), clock)
    assert list(clock.seconds) == ["assemble", "register", "resample", "window", "fuse", "capture", "verify"]


def test_a_slice_comes_out_for_every_slice_that_went_in() -> None:
    fixed, moving = make_pair()
    result = _fuse(fixed, moving)
    assert len(result.objects) == len(fixed)
    assert {ds.StudyInstanceUID for ds in result.objects} == {fixed[0].StudyInstanceUID}


def test_a_shared_frame_of_reference_is_trusted() -> None:
    estimate = _fuse(*make_pair()).prepared.estimate
    assert estimate.method is MotionMethod.SHARED_FRAME
    np.testing.assert_array_equal(estimate.motion.moving_from_fixed, np.eye(4))


@cache
def _prepare_samples_of_one_frame() -> PreparedPair:
    """The samples as if they shared a frame of reference, which nobody vouches for."""
    fixed, moving = _read_sample("mr"), _read_sample("pt")
    for ds in [*fixed, *moving]:
        ds.FrameOfReferenceUID = FRAME
    return prepare_pair(PairSources(fixed, moving), make_pipeline(), CLOCK)


def test_a_frame_that_nobody_vouches_for_is_registered_and_not_claimed() -> None:
    prepared = _prepare_samples_of_one_frame()
    assert prepared.estimate.method is MotionMethod.REGISTERED
    assert prepared.estimate.motion.displacement_mm(prepared.grid.centre_mm) > 5
    assert prepared.moving_frame_of_reference_uid == ""
    [note] = [note for note in prepared.notes if "do not trust it" in note]
    assert "shows them unregistered" in note


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
        prepare_pair(_vouch(fixed, moving), make_pipeline(), CLOCK)


def test_an_mri_is_no_functional_series_and_an_empty_one_is_told() -> None:
    fixed, moving = make_pair()
    with pytest.raises(Refused):
        _fuse(fixed, [])
    with pytest.raises(Refused):
        _fuse([], moving)


def test_an_mri_without_a_frame_of_reference_is_refused_before_anything_is_registered() -> None:
    fixed, moving = make_pair()
    for ds in fixed:
        del ds.FrameOfReferenceUID
    clock = StepClock(logging.getLogger("test"))
    with pytest.raises(DatasetUnreadable, match="names no frame of reference") as refusal:
        _fuse(fixed, moving, clock)
    assert refusal.value.facts["absent"] == ("FrameOfReferenceUID",)
    assert "register" not in clock.seconds


@pytest.mark.parametrize(("floor_suv", "high"), [(0.0, 2.0), (5.0, 5.0), (1.0, 2.0)])
def test_faint_uptake_is_not_spread_over_the_whole_palette(floor_suv: float, high: float) -> None:
    prepared = prepare_pair(_vouch(*_make_limb(2.0)), _windowed(floor_suv), CLOCK)
    assert prepared.moving_window.unit is Unit.SUVBW
    assert prepared.moving_window.high == pytest.approx(high, rel=0.02)
    assert prepared.moving.max() == pytest.approx(2.0 / high, rel=0.02)


def test_a_floor_in_suv_does_nothing_in_another_unit() -> None:
    fixed, moving = _make_limb(2.0)
    for ds in moving:
        ds.Units = "CNTS"
    plain, floored = (prepare_pair(_vouch(fixed, moving), _windowed(floor), CLOCK) for floor in (0.0, 5.0e9))
    assert plain.moving_window.unit is Unit.CNTS
    assert floored.moving_window == plain.moving_window


@pytest.mark.parametrize(("units", "limits"), [("BQML", (0.5, 6.0)), ("CNTS", None)])
def test_a_window_in_suv_is_taken_as_it_is_where_there_is_suv(units: str, limits: tuple[float, float] | None) -> None:
    fixed, moving = _make_limb(2.0)
    for ds in moving:
        ds.Units = units
    plain, fixed_ends = (
        prepare_pair(_vouch(fixed, moving), _windowed(0.0, suv), CLOCK).moving_window
        for suv in (None, SuvWindow(low=0.5, high=6.0))
    )
    assert (fixed_ends.low, fixed_ends.high) == (limits or (plain.low, plain.high))
    assert fixed_ends.unit == plain.unit


def test_a_bladder_outside_the_mri_does_not_dim_what_lies_within() -> None:
    without, within = (
        prepare_pair(_vouch(*_make_limb(8.0, outside)), _windowed(0.0), CLOCK) for outside in (0.0, 90.0)
    )
    assert within.moving_window == without.moving_window
    np.testing.assert_array_equal(within.moving, without.moving)


def _windowed(floor_suv: float, suv: SuvWindow | None = None) -> Pipeline:
    pipeline = make_pipeline()
    window = UptakeWindow(low=0.0, high=99.8, floor_suv=floor_suv, suv=suv)
    return pipeline.model_copy(update={"fusion": pipeline.fusion.model_copy(update={"moving_window": window})})


def _make_limb(suv: float, outside_suv: float = 0.0) -> tuple[list[Dataset], list[Dataset]]:
    """An MRI, and a PET that reaches further along the slices and has ``suv`` within it, ``outside_suv`` beyond."""
    layout = Layout(slices=10, rows=24, columns=20)
    fixed = make_mr_series(layout, Identity(frame_of_reference_uid=FRAME))
    longer = replace(layout, slices=20)
    suvs = np.zeros(longer.shape)
    suvs[:10, 6:18, 5:15] = suv
    suvs[14:18, 6:18, 5:15] = outside_suv
    identity = Identity(frame_of_reference_uid=FRAME, series_number=2)
    factor = measure_suv(make_pt_series(longer, identity)).factor
    return fixed, make_pt_series(longer, identity, voxels=suvs / factor)


@pytest.mark.parametrize("fuser", [name for name, card in CARDS.items() if card.available])
def test_where_nothing_was_measured_the_picture_is_the_mri_whatever_fuses(fuser: str) -> None:
    whole = make_prepared_pair()
    covered = np.random.default_rng(1).random(whole.fixed.shape) < 0.5
    prepared = replace(whole, covered=covered, moving=whole.moving * covered)
    before = prepared.fixed.copy()
    fused = fuse_prepared(prepared, make_pipeline(), open_fuser(fuser), CLOCK)
    alone = prepared.fixed * np.float32(CARDS[fuser].cold_gain or 1)
    grey = np.rint(alone * 255).astype(np.uint8)[..., None].repeat(3, axis=-1)
    np.testing.assert_array_equal(fused.rgb[~covered], grey[~covered])
    np.testing.assert_array_equal(prepared.fixed, before)


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


def _read_sample(kind: str) -> list[Dataset]:
    return [dcmread(path) for path in sorted((SAMPLE / kind).glob("*.dcm"))]


def test_a_registered_pair_is_examined_and_one_with_left_and_right_exchanged_is_refused() -> None:
    quality = _prepare_samples_of_one_frame().estimate.quality
    assert quality is not None
    assert quality.mirror_margin > 0.2
    fixed, moving = _read_sample("mr"), _read_sample("pt")
    for ds in moving:
        ds.PixelData = np.flip(ds.pixel_array, axis=1).tobytes()
    with pytest.raises(RegistrationImplausible, match="left and right seem to be exchanged"):
        prepare_pair(PairSources(fixed, moving), make_pipeline(), CLOCK)


def _ask(**output: object) -> Pipeline:
    pipeline = make_pipeline()
    return pipeline.model_copy(update={"output": pipeline.output.model_copy(update=output)})


def _fuse_into(pipeline: Pipeline) -> FusedPair:
    fixed, moving = make_pair()
    fuser = load_fuser(find_card("laplacian"))
    return fuse_pair(make_job(), _vouch(fixed, moving), (fixed, moving), pipeline, fuser, CLOCK)


def test_the_measured_values_are_kept_only_where_they_are_to_be_written() -> None:
    fixed, moving = make_pair()
    assert prepare_pair(_vouch(fixed, moving), make_pipeline(), CLOCK).uptake is None
    prepared = prepare_pair(_vouch(fixed, moving), _ask(resampled=True), CLOCK)
    assert prepared.uptake is not None
    window = prepared.moving_window
    shown = np.clip((prepared.uptake.astype(float) - window.low) / (window.high - window.low), 0, 1)
    np.testing.assert_allclose(prepared.moving, shown * prepared.covered, atol=1e-6)
    assert prepared.moving_scale == measure_suv(moving).factor


@pytest.mark.parametrize("multiframe", [True, False])
def test_everything_that_is_asked_for_comes_out_after_the_pictures(multiframe: bool) -> None:
    asked = {"resampled": True, "sheet": Sheet.PDF, "blending": True, "multiframe": multiframe, "colour_bar": True}
    result = _fuse_into(_ask(compression=Compression.RLE, **asked))
    slices = len(result.fused.rgb)
    fused = 1 if multiframe else slices
    assert [ds.Modality for ds in result.objects] == ["OT"] * fused + ["PT"] * slices + ["DOC", "PR"]
    assert len({ds.SeriesInstanceUID for ds in result.objects}) == 4
    assert len({ds.SeriesNumber for ds in result.objects}) == 4


def test_a_bar_is_burned_into_what_leaves_and_not_into_what_is_looked_at() -> None:
    plain, barred = _fuse_into(_ask()), _fuse_into(_ask(colour_bar=True))
    np.testing.assert_array_equal(barred.fused.rgb, plain.fused.rgb)
    for one, other in zip(plain.objects, barred.objects, strict=True):
        assert not np.array_equal(one.pixel_array, other.pixel_array)
    assert {ds.BurnedInAnnotation for ds in barred.objects} == {"NO"}


def test_a_reformat_is_made_of_cubes_and_shows_the_same_head() -> None:
    plain, cubes = (_fuse_into(_ask(grid=grid)) for grid in OutputGrid)
    step = min(plain.prepared.grid.spacing_mm)
    np.testing.assert_allclose(cubes.prepared.grid.spacing_mm, [step] * 3)
    assert len(cubes.objects) == cubes.prepared.grid.shape[0] > len(plain.objects)
    # Where voxels of both grids coincide: every third slice, every row, every fifth column of the cubes.
    shown, expected = cubes.prepared.fixed[::3, :, ::5], plain.prepared.fixed[:, :, ::4]
    windows = [one.prepared.fixed_window for one in (cubes, plain)]
    values = [
        stack * (window.high - window.low) + window.low
        for stack, window in zip((shown, expected), windows, strict=True)
    ]
    inside = (shown > 0) & (shown < 1) & (expected > 0) & (expected < 1)
    assert inside.mean() > 0.2
    np.testing.assert_allclose(values[0][inside], values[1][inside], rtol=1e-4)


def test_a_source_whose_values_cannot_be_written_is_fused_without_them_and_says_so() -> None:
    fixed, moving = make_pair()
    for ds in moving:
        del ds.DecayCorrection
    fuser = load_fuser(find_card("laplacian"))
    asked = (_ask(resampled=True), _ask(blending=True))
    told, silent = (
        fuse_pair(make_job(), _vouch(fixed, moving), (fixed, moving), pipeline, fuser, CLOCK) for pipeline in asked
    )
    assert len(told.objects) == len(fixed)
    assert told.prepared.uptake is None
    words = "No resampled series was written: Decay Correction is missing"
    assert all(words in ds.ImageComments for ds in told.objects)
    assert not [note for note in silent.prepared.notes if "resampled series" in note]


def test_the_values_of_an_enhanced_object_are_written_as_those_of_its_classic_copy() -> None:
    fixed, moving = make_pair()
    fuser = load_fuser(find_card("laplacian"))
    both = [
        fuse_pair(make_job(), _vouch(fixed, series), (fixed, series), _ask(resampled=True), fuser, CLOCK).objects
        for series in (moving, [make_enhanced_pet(moving)])
    ]
    images = [[ds for ds in objects if ds.Modality == "PT"] for objects in both]
    assert [len(one) for one in images] == [len(fixed)] * 2
    for one, other in zip(*images, strict=True):
        assert (one.Units, one.RescaleSlope, one.PixelData) == (other.Units, other.RescaleSlope, other.PixelData)
    assert measure_suv(images[1]).factor == pytest.approx(measure_suv(moving).factor, rel=1e-12)
