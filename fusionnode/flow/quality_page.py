"""The quality sheet of one pair: cuts the planes, gathers the figures, and has the page drawn."""

import math

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID, NuclearMedicineImageStorage

from fusionnode import __version__
from fusionnode.capture.describe import NOT_DIAGNOSTIC, describe_limits, spell_share
from fusionnode.capture.page import PageContent, render_page
from fusionnode.capture.sheet import SheetRow, draw_outline, lay_checkerboard
from fusionnode.domain.images import FusedStack, PreparedPair, RgbStack, SliceStack
from fusionnode.domain.job import Job
from fusionnode.domain.motion import MotionEstimate, MotionMethod, MotionQuality
from fusionnode.flow.preview import FIELDS, PLANES, cut_covered, find_half, show_grey
from fusionnode.fusion.colour import show_uptake
from fusionnode.pipeline.schema import Pipeline, Sheet
from fusionnode.slices.cut import cut_planes

_HOT = 0.999
"""Share of the highest shown uptake from which on a voxel counts as hottest."""


def draw_page(job: Job, pipeline: Pipeline, prepared: PreparedPair, fused: FusedStack) -> RgbStack | None:
    """Return the quality sheet, uint8 [row, column, 3]; None where the pipeline asks for none.

    The planes run through the hottest uptake, or through the middle where there is none.
    """
    if pipeline.output.sheet is Sheet.NONE:
        return None
    estimate = prepared.estimate
    warnings = (*estimate.warnings, *prepared.notes)
    name = _name_functional(prepared)
    return render_page(
        PageContent(
            heading=f"MRI and {name}: quality of the fusion, {NOT_DIAGNOSTIC}",
            verdict=_judge(estimate) + (", with warnings" if warnings else ""),
            titles=("MRI", "fused", f"MRI and {name}", f"outline of the {name}"),
            rows=_cut_rows(pipeline, prepared, fused),
            facts=_list_facts(job, pipeline, prepared, fused),
            warnings=warnings,
            examined=estimate.method is not MotionMethod.SHARED_FRAME,
        )
    )


def _judge(estimate: MotionEstimate) -> str:
    """A shared frame of reference is believed and nothing measured, which must not look like a registration passed."""
    shared = estimate.method is MotionMethod.SHARED_FRAME
    return "Shared frame of reference: taken as it is, not measured" if shared else "Registration accepted"


def find_hottest(prepared: PreparedPair) -> tuple[int, int, int]:
    """Return the voxel [slice, row, column] of the hottest uptake; the middle of the grid where there is none.

    What is beyond the window is all shown alike, so it is the voxel among the hottest nearest to the middle of them.
    """
    peak = float(prepared.moving.max())
    if peak <= 0:
        slices, rows, columns = prepared.grid.shape
        return slices // 2, rows // 2, columns // 2
    hottest = np.argwhere(prepared.moving >= peak * _HOT)
    distances = ((hottest - np.median(hottest, axis=0)) * np.asarray(prepared.grid.spacing_mm)) ** 2
    slices, rows, columns = (int(place) for place in hottest[int(distances.sum(axis=1).argmin())])
    return slices, rows, columns


def _cut_rows(pipeline: Pipeline, prepared: PreparedPair, fused: FusedStack) -> tuple[SheetRow, ...]:
    at = find_hottest(prepared)
    half = find_half(prepared.moving)
    fixed, moving = (cut_planes(stack, prepared.grid, at) for stack in (prepared.fixed, prepared.moving))
    pictures, covered = cut_planes(fused.rgb, prepared.grid, at), cut_covered(prepared, at)
    rows = []
    for (plane, left, right), grey, uptake, picture, known in zip(
        PLANES, fixed, moving, pictures, covered, strict=True
    ):
        shown, coloured = show_grey(grey), _colour(uptake, pipeline)
        field = max(1, max(shown.shape[:2]) // FIELDS)
        panels = (shown, picture, lay_checkerboard(shown, coloured, field), draw_outline(shown, uptake > half, known))
        rows.append(SheetRow(plane, panels, left, right))
    return tuple(rows)


def _colour(uptake: NDArray[np.float32], pipeline: Pipeline) -> RgbStack:
    stack: SliceStack = uptake[None]
    coloured: RgbStack = show_uptake(stack, pipeline.fusion.palette)[0]
    return coloured


def _name_functional(prepared: PreparedPair) -> str:
    kinds = {UID(source.sop_class_uid) for source in prepared.moving_sources}
    return "SPECT" if NuclearMedicineImageStorage in kinds else "PET"


def _list_facts(job: Job, pipeline: Pipeline, prepared: PreparedPair, fused: FusedStack) -> tuple[tuple[str, str], ...]:
    estimate = prepared.estimate
    motion = estimate.motion
    method = f"{estimate.method} ({estimate.preset})" if estimate.preset else str(estimate.method)
    size = (
        f"rotation {motion.rotation_deg:.2f} deg, displacement"
        f" {motion.displacement_mm(prepared.grid.centre_mm):.2f} mm at the centre of the MRI"
    )
    matrix = "\n".join(",  ".join(f"{value:.4f}" for value in row) for row in motion.moving_from_fixed[:3])
    return (
        ("Transform", f"{method}\n{size}"),
        ("MRI to functional, LPS mm", matrix),
        ("Quality", "\n".join(_list_figures(estimate))),
        ("MRI shown", describe_limits(prepared.fixed_window)),
        ("Uptake shown", f"{describe_limits(prepared.moving_window)}, palette {pipeline.fusion.palette}"),
        ("Coverage", f"{spell_share(float(prepared.covered.mean()))} of the MRI grid"),
        ("Network", fused.model),
        ("Pipeline", f"{pipeline.name}@{pipeline.edition}"),
        ("Software", f"fusionnode {__version__}"),
        ("Job", f"{job.id}, {job.moment:%Y-%m-%d %H:%M %Z}"),
        ("Patient and study", "in the header of this object, not on the page"),
    )


def _list_figures(estimate: MotionEstimate) -> list[str]:
    figures = [f"overlap {estimate.overlap:.2f}"]
    for value, words in (
        (estimate.information, "mutual information {:.3f} nats"),
        (estimate.information_at_start, "{:.3f} before"),
        (estimate.centre_distance_mm, "heads' centres {:.1f} mm apart"),
    ):
        if not math.isnan(value):
            figures.append(words.format(value))
    lines = [", ".join(figures)]
    if estimate.quality is not None and not math.isnan(estimate.quality.explained):
        lines.append(_describe_quality(estimate.quality))
    return lines


def _describe_quality(quality: MotionQuality) -> str:
    return (
        f"explained {quality.explained:.2f}, sharpness {quality.sharpness:.2f}, mirror margin"
        f" {quality.mirror_margin:.2f}, second opinion {quality.second_opinion_mm:.1f} mm away, starts"
        f" {quality.starts_apart_mm:.1f} mm apart, stretch {quality.stretch:.3f}"
    )
