"""The plot of one pair: two series in, a fused series out. Reads like the story it is."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import tzinfo

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from fusionnode.capture.build import CaptureRequest, build_captures
from fusionnode.capture.registration_object import build_registration
from fusionnode.capture.verify import verify_captures
from fusionnode.domain.images import FusedStack, PreparedPair, SliceStack, Window
from fusionnode.domain.job import Job
from fusionnode.domain.motion import MotionEstimate
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import Volume
from fusionnode.errors import DatasetUnreadable
from fusionnode.flow.ports import Narrator
from fusionnode.fusion.colour import colourise, shade_uptake
from fusionnode.fusion.fuse import Fuser, fuse_slices
from fusionnode.pipeline.schema import Pipeline, Registration, UptakeWindow
from fusionnode.registration.estimate import estimate_motion, trust_shared_frame
from fusionnode.registration.plausible import require_plausible, require_quality
from fusionnode.registration.presets import PRESETS
from fusionnode.registration.quality import measure_quality
from fusionnode.registration.resample import Resampled, resample_onto
from fusionnode.slices.window import apply_window, choose_window
from fusionnode.volumes.assemble import assemble_volume
from fusionnode.volumes.crop import crop_to_view

_SLICES_AT_ONCE = 32


@dataclass(frozen=True)
class PairSources:
    """The data sets of both series, in any order.

    Attributes:
        fixed, moving: with pixel data. Each is gone through once and not kept, so what reads them as they are asked for
            need not hold the files of both series at once.
        remark: a warning that the outputs shall carry, or empty.
    """

    fixed: Iterable[Dataset]
    moving: Iterable[Dataset]
    remark: str = ""


def prepare_pair(sources: PairSources, pipeline: Pipeline, narrate: Narrator) -> PreparedPair:
    """Bring both series onto the fixed grid as two stacks in [0, 1], or refuse with the reason.

    Raises:
        Refused: any of its kinds, from reading to the plausibility of the motion.
    """
    with narrate("assemble"):
        fixed = assemble_volume(sources.fixed)
        _require_frame(fixed)
        moving = assemble_volume(sources.moving)
    with narrate("register"):
        estimate = _estimate_plausible_motion(fixed, moving, pipeline.registration)
        if sources.remark:
            estimate = replace(estimate, warnings=(*estimate.warnings, sources.remark))
    with narrate("resample"):
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
    """Turn the pictures into DICOM objects, one per slice in slice order, and the registration object if one is due.

    Raises:
        CaptureInvalid: an object broke a rule; none may leave.
    """
    with narrate("capture"):
        captures = build_captures(request)
        registration = build_registration(request)
    objects = captures if registration is None else [*captures, registration]
    with narrate("verify"):
        verify_captures(objects, request)
    return objects


@dataclass(frozen=True, eq=False)
class FusedPair:
    """What came of one pair: the stacks it was made from, the pictures, and the objects to store."""

    prepared: PreparedPair
    fused: FusedStack
    objects: list[Dataset]


def fuse_pair(
    job: Job, sources: PairSources, pipeline: Pipeline, fuser: Fuser, narrate: Narrator, zone: tzinfo
) -> FusedPair:
    """The whole plot in one process. The workers run the same parts with a rest between the first and the second.

    ``zone`` is the one that dates and times on the objects are in, unless the MRI names another.

    Raises:
        Refused: with the reason; nothing was written.
    """
    fixed, moving = list(sources.fixed), list(sources.moving)
    prepared = prepare_pair(replace(sources, fixed=fixed, moving=moving), pipeline, narrate)
    fused = fuse_prepared(prepared, pipeline, fuser, narrate)
    request = CaptureRequest(job, pipeline, prepared, fused, fixed, moving, zone)
    objects = capture_fused(request, narrate)
    return FusedPair(prepared, fused, objects)


def _require_frame(fixed: Volume) -> None:
    if fixed.frame_of_reference_uid:
        return
    raise DatasetUnreadable(
        "The MRI names no frame of reference, so its fused series could not be placed.",
        remedy="Send the MRI as the scanner made it, with its Frame of Reference UID.",
        series_instance_uid=fixed.series_instance_uid,
        absent=("FrameOfReferenceUID",),
    )


def _choose_moving_window(resampled: Resampled, limits: UptakeWindow) -> Window:
    """Over what lies within the MRI alone, or a bladder far outside would dim all that is shown."""
    volume = resampled.volume
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
    return require_quality(estimate, measure_quality(fixed, moving, estimate.motion, preset.head_height_mm))


def _require_plausible(estimate: MotionEstimate, limits: Registration) -> MotionEstimate:
    return require_plausible(
        estimate,
        max_rotation_deg=limits.max_rotation_deg,
        max_centre_distance_mm=limits.max_centre_distance_mm,
        min_overlap=limits.min_overlap,
    )
