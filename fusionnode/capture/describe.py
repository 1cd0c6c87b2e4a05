"""The words on the objects: what they are, how they were made, what they must not be used for (middle).

Every text is printable ASCII without backslashes, so that it fits every character set a source may use. None
of them contains patient data.
"""

import math
import unicodedata

from fusionnode.capture.identity import FusedIdentity
from fusionnode.domain.images import PreparedPair, Window
from fusionnode.domain.job import Job
from fusionnode.pipeline.schema import OutputGrid, Pipeline

NOT_DIAGNOSTIC = "not for primary diagnosis"
_NOTICE = f"fused display, {NOT_DIAGNOSTIC}"
_LONG_STRING = 64
_SHORT_TEXT = 1024
_LONG_TEXT = 10240


def describe_series(text: str) -> str:
    """Return a Series Description (LO, at most 64 characters): the pipeline's words and the notice.

    The notice is never shortened; the pipeline's words are, unless they already carry it.
    """
    words = _write_plainly(text)
    if NOT_DIAGNOSTIC in words.lower() and "fused" in words.lower():
        return _shorten(words, _LONG_STRING)
    room = _LONG_STRING - len(_NOTICE) - len(" - ")
    return f"{_shorten(words, room)} - {_NOTICE}" if words else _NOTICE


def describe_derivation(prepared: PreparedPair, model: str, pipeline: Pipeline, software_version: str) -> str:
    """Return a Derivation Description (ST, at most 1024 letters): fuser, transform and quality, pipeline, software."""
    sources = "an MRI slice and the functional series resampled onto the MRI grid"
    if pipeline.output.grid is OutputGrid.ISOTROPIC:
        sources = f"the MRI and the functional series, both resampled to cubes of {prepared.grid.spacing_mm[0]:.3g} mm"
    sentences = (
        f"Fused by {model} from {sources}.",
        describe_motion(prepared),
        f"MRI shown from {_describe_window(prepared.fixed_window)},"
        f" functional series from {_describe_window(prepared.moving_window)}.",
        f"Pipeline {pipeline.name}@{pipeline.edition}.",
        f"Software fusionnode {software_version}.",
    )
    return _shorten(_write_plainly(" ".join(sentences)), _SHORT_TEXT)


def describe_resampling(prepared: PreparedPair, pipeline: Pipeline, software_version: str) -> str:
    """Return a Derivation Description of the functional series on the grid of the pictures, as `describe_derivation`.

    The smoothing is that of `resample_onto`, which happens axis by axis.
    """
    grid = "the MRI grid"
    if pipeline.output.grid is OutputGrid.ISOTROPIC:
        grid = f"cubes of {prepared.grid.spacing_mm[0]:.3g} mm along the axes of the MRI"
    sentences = (
        f"Functional series resampled linearly onto {grid}, smoothed first where its voxels are finer;"
        " 0 where it has no voxels.",
        describe_motion(prepared),
        f"Pipeline {pipeline.name}@{pipeline.edition}.",
        f"Software fusionnode {software_version}.",
    )
    return _shorten(_write_plainly(" ".join(sentences)), _SHORT_TEXT)


def describe_resampled(job: Job, prepared: PreparedPair, slice_index: int | None) -> str:
    """Return Image Comments of one slice of the resampled series, or of all of them where ``slice_index`` is None."""
    sentences = [
        f"Resampled onto an MRI, {NOT_DIAGNOSTIC}. Values keep their unit; each is interpolated from its"
        " neighbours, so that maxima of small lesions may be lower than in the source series.",
        _describe_coverage(prepared, slice_index),
        _describe_superseded(job),
        *prepared.estimate.warnings,
        *prepared.notes,
    ]
    return _shorten(_write_plainly(" ".join(sentence for sentence in sentences if sentence)), _LONG_TEXT)


def describe_motion(prepared: PreparedPair) -> str:
    """Return one sentence: how the motion was come by, how large it is (degrees, mm) and how good.

    The displacement is that of the centre of the MRI in scanner coordinates, so it contains the distance between the
    origins of the two frames of reference; how well the heads meet is told by the distance of their centres.
    """
    estimate = prepared.estimate
    words = f"Transform: {estimate.method} ({estimate.preset})" if estimate.preset else f"Transform: {estimate.method}"
    size = (
        f"rotation {estimate.motion.rotation_deg:.2f} deg,"
        f" displacement {_measure_displacement_mm(prepared):.2f} mm at the centre of the MRI"
    )
    if not math.isnan(estimate.centre_distance_mm):
        size += f", heads' centres {estimate.centre_distance_mm:.2f} mm apart after the motion"
    quality = f"overlap {estimate.overlap:.2f}"
    if not math.isnan(estimate.information):
        quality += f", mutual information {estimate.information:.4f} nats"
    if not math.isnan(estimate.information_at_start):
        quality += f" ({estimate.information_at_start:.4f} before)"
    return f"{words}, {size}, {quality}."


def describe_motion_briefly(prepared: PreparedPair) -> str:
    """Return the size of the motion and its overlap as a Long String (at most 64 characters)."""
    estimate = prepared.estimate
    size = f"{estimate.motion.rotation_deg:.2f} deg, {_measure_displacement_mm(prepared):.2f} mm at the MRI's centre"
    return _shorten(f"{size}, overlap {estimate.overlap:.2f}", _LONG_STRING)


def describe_comments(
    job: Job, prepared: PreparedPair, slice_index: int | None, interval: str, *, bar: bool = False
) -> str:
    """Return Image Comments (LT) of one slice, or of all where ``slice_index`` is None: notice, coverage, warnings.

    ``interval`` says how far apart the two scans were taken, as `describe_interval` gives it; ``bar`` that a colour bar
    is burned into the pictures.
    """
    sentences = [
        f"Fused display image, {NOT_DIAGNOSTIC}. Colours are not quantitative; read the source series.",
        f"Uptake shown {describe_limits(prepared.moving_window)}.",
        "A colour bar is burned into the upper right corner." if bar else "",
        interval,
        _describe_coverage(prepared, slice_index),
        _describe_superseded(job),
        *prepared.estimate.warnings,
        *prepared.notes,
    ]
    return _shorten(_write_plainly(" ".join(sentence for sentence in sentences if sentence)), _LONG_TEXT)


def describe_limits(window: Window) -> str:
    """Return the limits of a window as a reader wants them, such as ``0 to 7.2 SUVbw``."""
    return f"{_round_value(window.low)} to {_round_value(window.high)} {window.unit}"


def describe_ends(window: Window) -> tuple[str, str]:
    """Return the lower limit, and the upper one with its unit, such as ``0`` and ``7.2 SUVbw``."""
    return _round_value(window.low), f"{_round_value(window.high)} {window.unit}"


def spell_share(share: float) -> str:
    """Return a share in per cent; 0 and 100 mean that it is so exactly."""
    percent = round(100 * share) if share in (0.0, 1.0) else min(99, max(1, round(100 * share)))
    return f"{percent} %"


def _round_value(value: float) -> str:
    """Three digits, and never an exponent for a count."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


def _measure_displacement_mm(prepared: PreparedPair) -> float:
    return prepared.estimate.motion.displacement_mm(prepared.grid.centre_mm)


def _describe_window(window: Window) -> str:
    return f"{window.low:.6g} to {window.high:.6g} {window.unit}"


def _describe_coverage(prepared: PreparedPair, slice_index: int | None) -> str:
    what = "volume" if slice_index is None else "slice"
    share = float((prepared.covered if slice_index is None else prepared.covered[slice_index]).mean())
    if share == 0:
        return f"The functional series does not reach this {what}: what is seen here is MRI alone."
    if share < 1:
        return f"The functional series covers {spell_share(share)} of this {what}."
    return ""


def _describe_superseded(job: Job) -> str:
    if not job.supersedes:
        return ""
    if "." in job.supersedes:
        return f"Supersedes series {job.supersedes}, an earlier fusion of the same two series."
    superseded = FusedIdentity(job.supersedes).series_uid
    return f"Supersedes series {superseded}, which was made from fewer or less suitable images."


def _write_plainly(text: str) -> str:
    """Drop accents, then whatever is not printable ASCII; a backslash would split the value in two (PS3.5 6.2)."""
    letters = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode("ascii")
    return " ".join("".join(c if c.isprintable() and c != "\\" else " " for c in letters).split())


def _shorten(text: str, room: int) -> str:
    """Cut at the last blank that fits, or hard where there is none in the second half."""
    if len(text) <= room:
        return text
    cut = text[: room + 1].rfind(" ")
    return text[: cut if cut > room // 2 else room].rstrip(" -,;")
