"""Files in, files out: one pair fused without a node, for researchers and for a look before going live."""

import json
import logging
import math
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import Dataset

from fusionnode import __version__
from fusionnode.capture.sheet import encode_png
from fusionnode.domain.job import Job, JobState, derive_job_id
from fusionnode.domain.motion import MotionQuality
from fusionnode.domain.series import Series
from fusionnode.durable import make_folder
from fusionnode.errors import OutputOccupied, PipelineInvalid
from fusionnode.flow.fuse_pair import FusedPair, PairSources, fuse_pair
from fusionnode.flow.preview import render_alignment, render_preview
from fusionnode.intake.folder import read_again, read_folder
from fusionnode.logs import StepClock
from fusionnode.pipeline.schema import Pipeline
from fusionnode.wiring import open_fuser
from fusionnode.worker.rules import index_series, require_one_patient, require_pair, require_whole, trusts_frame

logger = logging.getLogger(__name__)

STEPS = 10
"""How many steps `fuse_folders` tells of."""

_SINGLE = {"REG": "registration.dcm", "DOC": "sheet.dcm", "PR": "blending.dcm"}
_UNPAIRED = "Put together by hand without the pairing rules: nobody checked that both series are of one patient."
_TRUSTED = "Their shared frame of reference was trusted, as a node would: nothing was registered."


@dataclass(frozen=True)
class FilesRequest:
    """One call of ``fusionnode fuse``.

    Attributes:
        pipeline: by name; empty: the first that takes the moving series' modality.
        network: instead of the pipeline's; empty: the pipeline's.
        unpaired: fuse although the pairing rules would not put the two together; the outputs say so.
    """

    fixed: Path
    moving: Path
    out: Path
    pipeline: str = ""
    network: str = ""
    unpaired: bool = False


def fuse_folders(
    request: FilesRequest,
    pipelines: Iterable[Pipeline],
    moment: datetime,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Fuse two folders and write the fused series, the registration object, two sheets of pictures and ``report.json``.

    ``preview.png`` shows the fusion, ``alignment.png`` a checkerboard and the outline of each series on the other.

    Dates and times on the objects are in the time zone of ``moment``, unless the MRI names another.
    The output folder appears whole or not at all. ``tell`` hears the name of each of the `STEPS` when it begins.
    Returns the report.

    Raises:
        OutputOccupied: the output folder is there already and not empty.
        Refused: the input is not acceptable, with the reason.
        Misconfigured: an unknown pipeline or network was named.
    """
    _require_vacant(request.out)
    clock = StepClock(logger, tell)
    with clock("read"):
        headers = read_folder(request.fixed, pixels=False), read_folder(request.moving, pixels=False)
        series = index_series(headers[0]), index_series(headers[1])
    for one, folder in zip(series, (request.fixed, request.moving), strict=True):
        require_whole(one, folder)
        require_one_patient(one, folder)
    modality = series[1].head.modality
    pipeline = choose_pipeline(pipelines, request, modality)
    shared_frame, remark = _judge(pipeline, series, unpaired=request.unpaired)
    # Read as they are asked for, so that the files of both series are never held at once.
    sources = PairSources(read_again(headers[0]), read_again(headers[1]), remark, shared_frame)
    with clock("load"):
        fuser = open_fuser(pipeline.fusion.model, "auto")
    job = _make_job(pipeline, series, shared_frame, moment)
    result = fuse_pair(job, sources, headers, pipeline, fuser, clock)
    with clock("write"):
        names = _write_all(request.out, result, pipeline, modality)
    report = build_report(job, pipeline, result, names, clock.seconds)
    _publish(request.out, report)
    return report


def choose_pipeline(pipelines: Iterable[Pipeline], request: FilesRequest, modality: str) -> Pipeline:
    """Return the named pipeline, or the first by name that takes ``modality``, with the network asked for.

    Raises:
        PipelineInvalid: there is none.
    """
    ordered = sorted(pipelines, key=lambda pipeline: pipeline.name)
    named = [one for one in ordered if (one.name == request.pipeline if request.pipeline else _takes(one, modality))]
    if not named:
        known = ", ".join(pipeline.name for pipeline in ordered)
        wanted = f"called {request.pipeline!r}" if request.pipeline else f"that fuses series of modality {modality}"
        remedy = f"Known are: {known}."
        if modality == "MR" and not request.pipeline:
            remedy = "The MRI comes first, then the PET or SPECT series: perhaps the folders are swapped."
        raise PipelineInvalid(f"There is no pipeline {wanted}.", remedy=remedy)
    pipeline = named[0]
    if not request.network:
        return pipeline
    return pipeline.model_copy(update={"fusion": pipeline.fusion.model_copy(update={"model": request.network})})


def build_report(
    job: Job, pipeline: Pipeline, result: FusedPair, names: list[str], seconds: dict[str, float]
) -> dict[str, Any]:
    """Return what was done, as plain JSON values; no patient attribute is among them."""
    prepared, estimate = result.prepared, result.prepared.estimate
    return {
        "fusionnode": __version__,
        "job": job.id,
        "moment": job.moment.isoformat(),
        "pipeline": f"{pipeline.name}@{pipeline.edition}",
        "network": result.fused.model,
        "slices": len(result.fused.rgb),
        "series_instance_uid": str(result.objects[0].SeriesInstanceUID),
        "registration": {
            "method": estimate.method.value,
            "preset": estimate.preset,
            "moving_from_fixed": estimate.motion.moving_from_fixed.tolist(),
            "rotation_deg": estimate.motion.rotation_deg,
            "displacement_mm": estimate.motion.displacement_mm(prepared.grid.centre_mm),
            "centre_distance_mm": _finite(estimate.centre_distance_mm),
            "overlap": estimate.overlap,
            "information": _finite(estimate.information),
            "information_at_start": _finite(estimate.information_at_start),
            "quality": _list_quality(estimate.quality),
            "warnings": list(estimate.warnings),
        },
        "windows": {
            role: {"low": window.low, "high": window.high, "unit": window.unit.value}
            for role, window in (("fixed", prepared.fixed_window), ("moving", prepared.moving_window))
        },
        "notes": list(prepared.notes),
        "files": names,
        "seconds": {step: round(value, 3) for step, value in seconds.items()},
    }


def _require_vacant(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputOccupied(f"{out} is not an empty folder.", remedy="Name a new folder with --out.")
    # The finished folder takes its place, which neither of these can leave.
    if out.is_dir() and (out.is_mount() or out.samefile(Path.cwd())):
        raise OutputOccupied(
            f"{out} is a mount point or the present folder, and cannot be replaced.",
            remedy="Name a new folder within it with --out.",
        )


def _takes(pipeline: Pipeline, modality: str) -> bool:
    return modality in pipeline.moving.modality


def _judge(pipeline: Pipeline, series: tuple[Series, Series], *, unpaired: bool) -> tuple[bool, str]:
    """Return whether a shared frame of reference is trusted, and what the outputs shall say about the pairing."""
    if not unpaired:
        return require_pair(pipeline, *series).shared_frame, ""
    trusted = trusts_frame(pipeline, *series)
    return trusted, f"{_UNPAIRED} {_TRUSTED}" if trusted else _UNPAIRED


def _make_job(pipeline: Pipeline, pair: tuple[Series, Series], shared_frame: bool, moment: datetime) -> Job:
    fixed, moving = (series.key for series in pair)
    # Every run by hand may differ (another program), so the moment makes its UIDs its own.
    version = f"{pipeline.edition}+{moment.isoformat()}"
    return Job(
        id=derive_job_id(pipeline.name, version, str(fixed), str(moving)),
        pipeline=pipeline.name,
        pipeline_version=pipeline.edition,
        fixed=fixed,
        moving=moving,
        shared_frame=shared_frame,
        state=JobState.FUSING,
        moment=moment,
    )


def _write_all(out: Path, result: FusedPair, pipeline: Pipeline, modality: str) -> list[str]:
    staging = _staging(out)
    shutil.rmtree(staging, ignore_errors=True)
    for folder in (staging, staging / "fused"):
        make_folder(folder)
    names = [_write(staging, ds, index) for index, ds in enumerate(result.objects, start=1)]
    sheet = render_preview(result.prepared, result.fused, pipeline.fusion.palette, modality)
    (staging / "preview.png").write_bytes(encode_png(sheet))
    alignment = render_alignment(result.prepared, pipeline.fusion.palette, modality)
    (staging / "alignment.png").write_bytes(encode_png(alignment))
    return [*names, "preview.png", "alignment.png", "report.json"]


def _write(staging: Path, ds: Dataset, index: int) -> str:
    name = _name_file(ds, index)
    make_folder((staging / name).parent)
    ds.save_as(staging / name, enforce_file_format=True)
    return name


def _name_file(ds: Dataset, index: int) -> str:
    """Where an object goes below the output folder; ``index`` is its place among all, the fused slices first."""
    if ds.get("ImageType") and ds.ImageType[-1] == "SHEET":
        return "sheet.dcm"
    if ds.Modality in ("PT", "NM"):
        return f"resampled/{int(ds.InstanceNumber):04d}.dcm"
    return _SINGLE.get(ds.Modality, f"fused/{index:04d}.dcm")


def _publish(out: Path, report: dict[str, Any]) -> None:
    staging = _staging(out)
    (staging / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if out.is_dir():
        out.rmdir()
    staging.replace(out)


def _staging(out: Path) -> Path:
    return out.parent / f".{out.name}.partial"


def _list_quality(quality: MotionQuality | None) -> dict[str, float | None] | None:
    return None if quality is None else {name: _finite(value) for name, value in asdict(quality).items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
