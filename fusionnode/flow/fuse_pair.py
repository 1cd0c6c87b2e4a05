"""The plot of one pair: two series in, a fused series out. Reads like the story it is."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from fusionnode.capture.bar import burn_bar
from fusionnode.capture.blending import build_blending
from fusionnode.capture.build import CaptureRequest, build_captures
from fusionnode.capture.describe import describe_ends
from fusionnode.capture.encode import compress_picture
from fusionnode.capture.multiframe import build_stack
from fusionnode.capture.registration_object import build_registration
from fusionnode.capture.resampled import build_resampled, explain_absence
from fusionnode.capture.sheet_object import build_sheet
from fusionnode.capture.verify import verify_captures
from fusionnode.domain.images import FusedStack, PreparedPair, SliceStack, Window
from fusionnode.domain.job import Job
from fusionnode.domain.motion import MotionEstimate
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import Volume
from fusionnode.errors import DatasetUnreadable
from fusionnode.flow.ports import Narrator
from fusionnode.flow.quality_page import draw_page
from fusionnode.fusion.colour import colourise, shade_uptake
from fusionnode.fusion.fuse import Fuser, fuse_slices
from fusionnode.pipeline.palettes import palette_table
from fusionnode.pipeline.schema import OutputGrid, Pipeline, Registration, UptakeWindow
from fusionnode.registration.estimate import estimate_motion, trust_shared_frame
from fusionnode.registration.plausible import require_plausible, require_quality
from fusionnode.registration.presets import PRESETS
from fusionnode.registration.quality import measure_quality
from fusionnode.registration.resample import Resampled, reformat_isotropic, resample_onto
from fusionnode.slices.window import apply_window, choose_window
from fusionnode.volumes.assemble import assemble_volume
from fusionnode.volumes.crop import crop_to_view

logger = logging.getLogger(__name__)

_SLICES_AT_ONCE = 16
_PIXELS = {tag_for_keyword("PixelData")}
_DISOWNED = (
    "Both series name one frame of reference, but the pairing rules do not trust it, so the motion was estimated:"
    " a viewer that lays the source series over each other by their frame of reference shows them unregistered."
)


@dataclass(frozen=True)
class PairSources:
    """The data sets of both series, in any order.

    Attributes:
        fixed, moving: with pixel data. Each is gone through once and not kept, so what reads them as they are asked for
            need not hold the files of both series at once.
        remark: a warning that the outputs shall carry, or empty.
        shared_frame: the pairing vouches for a frame of reference that both series name. Without it one and the same
            name is no reason to take them as they lie: the motion is estimated.
    """

    fixed: Iterable[Dataset]
    moving: Iterable[Dataset]
    remark: str = ""
    shared_frame: bool = False


def prepare_pair(sources: PairSources, pipeline: Pipeline, narrate: Narrator) -> PreparedPair:
    """Bring both series onto the fixed grid as two stacks in [0, 1], or refuse with the reason.

    Raises:
        Refused: any of its kinds, from reading to the plausibility of the motion.
    """
    with narrate("assemble"):
        fixed = assemble_volume(sources.fixed)
        _require_frame(fixed)
        moving, resampling = _assemble_moving(sources.moving, pipeline)
        if not sources.shared_frame:
            moving = _disown_frame(moving, fixed)
    with narrate("register"):
        estimate = _estimate_plausible_motion(fixed, moving, pipeline.registration)
        if sources.remark:
            estimate = replace(estimate, warnings=(*estimate.warnings, sources.remark))
    with narrate("resample"):
        scale = moving.scale
        if pipeline.output.grid is OutputGrid.ISOTROPIC:
            fixed = reformat_isotropic(fixed)
        # The whole is dropped for the part: of a whole-body PET the MRI sees a few per cent.
        moving = crop_to_view(moving, fixed.grid, estimate.motion)
        resampled = resample_onto(moving, fixed.grid, estimate.motion, fixed.frame_of_reference_uid)
        moving = _lighten(moving)
    with narrate("window"):
        limits = pipeline.fusion
        fixed_window = choose_window(fixed.voxels, fixed.unit, limits.fixed_window.low, limits.fixed_window.high)
        fixed_stack = apply_window(fixed.voxels, fixed_window)
        fixed = _lighten(fixed)
        moving_window = _choose_moving_window(resampled, limits.moving_window)
        moving_stack = _blacken(apply_window(resampled.volume.voxels, moving_window), resampled.covered)
    return PreparedPair(
        fixed=fixed_stack,
        moving=moving_stack,
        covered=resampled.covered,
        grid=fixed.grid,
        frame_of_reference_uid=fixed.frame_of_reference_uid,
        moving_frame_of_reference_uid=moving.frame_of_reference_uid,
        fixed_window=fixed_window,
        moving_window=moving_window,
        estimate=estimate,
        fixed_sources=fixed.sources,
        moving_sources=moving.sources,
        notes=fixed.notes + moving.notes,
        moving_scale=scale,
        uptake=resampled.volume.voxels if resampling else None,
    )


def fuse_prepared(prepared: PreparedPair, pipeline: Pipeline, fuser: Fuser, narrate: Narrator) -> FusedStack:
    """Fuse every slice pair and colour it: the fused luminance with the hue of the uptake.

    Whatever the fuser, the picture is grey where the moving series has no voxels: the MRI, as bright as beside it where
    there is no uptake if the fuser says how bright that is, or an edge would appear that is in neither image.
    """
    rgb = np.empty((*prepared.fixed.shape, 3), np.uint8)
    with narrate("fuse"):
        for start in range(0, len(rgb), _SLICES_AT_ONCE):
            part = slice(start, start + _SLICES_AT_ONCE)
            fixed, moving = prepared.fixed[part], prepared.moving[part]
            shaded = shade_uptake(moving, pipeline.fusion.palette)
            luminance = np.where(prepared.covered[part], fuse_slices(fixed, shaded, fuser), fuser.show_alone(fixed))
            rgb[part] = colourise(luminance, moving, pipeline.fusion.palette)
    return FusedStack(rgb, fuser.card.identifier)


def capture_fused(request: CaptureRequest, narrate: Narrator) -> list[Dataset]:
    """Turn the pictures into DICOM objects, one per slice in slice order, then what else the pipeline asks for.

    Raises:
        CaptureInvalid: an object broke a rule; none may leave.
    """
    with narrate("capture"):
        request = _burn_bar(request)
        fused = [build_stack(request)] if request.pipeline.output.multiframe else build_captures(request)
        objects = [*fused, *_build_companions(request)]
        for ds in objects:
            compress_picture(ds, request.pipeline.output.compression)
    with narrate("verify"):
        verify_captures(objects, request)
    return objects


def _burn_bar(request: CaptureRequest) -> CaptureRequest:
    """The request with a colour bar in its pictures, where the pipeline asks for one; the pictures given stay whole."""
    if not request.pipeline.output.colour_bar:
        return request
    colours = np.rint(palette_table(request.pipeline.fusion.palette) * 255).astype(np.uint8)
    low, high = describe_ends(request.prepared.moving_window)
    return replace(request, fused=replace(request.fused, rgb=burn_bar(request.fused.rgb, colours, low, high)))


def _build_companions(request: CaptureRequest) -> Iterator[Dataset]:
    """The registration object if one is due, and whatever the pipeline asks for besides."""
    registration = build_registration(request)
    if registration is not None:
        yield registration
    if request.pipeline.output.resampled and request.prepared.uptake is not None:
        yield from build_resampled(request)
    if request.page is not None:
        yield build_sheet(request)
    if request.pipeline.output.blending:
        yield build_blending(request)


Headers = tuple[Sequence[Dataset], Sequence[Dataset]]


@dataclass(frozen=True, eq=False)
class FusedPair:
    """What came of one pair: the stacks it was made from, the pictures, and the objects to store."""

    prepared: PreparedPair
    fused: FusedStack
    objects: list[Dataset]


def fuse_pair(
    job: Job, sources: PairSources, headers: Headers, pipeline: Pipeline, fuser: Fuser, narrate: Narrator
) -> FusedPair:
    """The whole plot in one process. The workers run the same parts with a rest between the first and the second.

    ``headers`` are the data sets of both series once more, fixed and moving; their pixels are not needed. Dates and
    times on the objects are in the zone of the job's moment, unless the MRI names another.

    Raises:
        Refused: with the reason; nothing was written.
    """
    prepared = prepare_pair(sources, pipeline, narrate)
    fused = fuse_prepared(prepared, pipeline, fuser, narrate)
    page = draw_page(job, pipeline, prepared, fused)
    request = CaptureRequest(job, pipeline, prepared, fused, *headers, job.moment.tzinfo or UTC, page=page)
    objects = capture_fused(request, narrate)
    return FusedPair(prepared, fused, objects)


def _assemble_moving(series: Iterable[Dataset], pipeline: Pipeline) -> tuple[Volume, bool]:
    """The functional volume, and whether its values are to be written too; where they cannot be, a note says why."""
    if not pipeline.output.resampled:
        return assemble_volume(series), False
    headers: dict[str, Dataset] = {}
    moving = assemble_volume(_note_headers(series, headers))
    absence = explain_absence(lambda source: headers[source.sop_instance_uid], moving.sources)
    if absence:
        logger.warning(absence)
        moving = replace(moving, notes=(*moving.notes, absence))
    return moving, not absence


def _note_headers(series: Iterable[Dataset], headers: dict[str, Dataset]) -> Iterator[Dataset]:
    """Pass the data sets on, and note what is not pixels of them by SOP Instance UID."""
    for ds in series:
        headers[str(ds.get("SOPInstanceUID", ""))] = Dataset({tag: ds.get_item(tag) for tag in ds.keys() - _PIXELS})
        yield ds


def _require_frame(fixed: Volume) -> None:
    if fixed.frame_of_reference_uid:
        return
    raise DatasetUnreadable(
        "The MRI names no frame of reference, so its fused series could not be placed.",
        remedy="Send the MRI as the scanner made it, with its Frame of Reference UID.",
        series_instance_uid=fixed.series_instance_uid,
        absent=("FrameOfReferenceUID",),
    )


def _disown_frame(moving: Volume, fixed: Volume) -> Volume:
    """The moving series without its frame of reference, where it names that of the fixed one and nobody vouches for it.

    Whatever is made of the pair must not name the frame either: it would say that nothing had to be moved.
    """
    if moving.frame_of_reference_uid != fixed.frame_of_reference_uid:
        return moving
    return replace(moving, frame_of_reference_uid="", notes=(*moving.notes, _DISOWNED))


def _choose_moving_window(resampled: Resampled, limits: UptakeWindow) -> Window:
    """Over what lies within the MRI alone, or a bladder far outside would dim all that is shown."""
    volume = resampled.volume
    if limits.suv is not None and volume.unit is Unit.SUVBW:
        return Window(limits.suv.low, limits.suv.high, volume.unit)
    floor = limits.floor_suv if volume.unit is Unit.SUVBW else 0.0
    return choose_window(volume.voxels, volume.unit, limits.low, limits.high, floor, resampled.covered)


def _lighten(volume: Volume) -> Volume:
    """The same without its voxels: zeros that take no memory."""
    return replace(volume, voxels=np.broadcast_to(np.float32(0), volume.grid.shape))


def _blacken(stack: SliceStack, covered: NDArray[np.bool_]) -> SliceStack:
    """Set what the moving series does not cover to 0, in place."""
    stack[~covered] = 0
    return stack


def _estimate_plausible_motion(fixed: Volume, moving: Volume, limits: Registration) -> MotionEstimate:
    frame = fixed.frame_of_reference_uid
    # A hybrid scanner's own frame of reference is better than any registration of ours (dicom.md section 3).
    if frame and frame == moving.frame_of_reference_uid:
        return _require_plausible(trust_shared_frame(fixed, moving), limits)
    preset = PRESETS[limits.preset]
    estimate = _require_plausible(estimate_motion(fixed, moving, preset), limits)
    quality = measure_quality(fixed, moving, estimate.motion, preset.head_height_mm)
    return require_quality(estimate, quality, believe_doubtful=limits.doubt == "warn")


def _require_plausible(estimate: MotionEstimate, limits: Registration) -> MotionEstimate:
    return require_plausible(
        estimate,
        max_rotation_deg=limits.max_rotation_deg,
        max_centre_distance_mm=limits.max_centre_distance_mm,
        min_overlap=limits.min_overlap,
    )
