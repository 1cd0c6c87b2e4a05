"""Prepared pairs as files in the shared spool: visible whole or not at all, tensors only, never pickled."""

import json
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fusionnode.domain.grid import Grid
from fusionnode.domain.images import PreparedPair, Window
from fusionnode.domain.job import Job
from fusionnode.domain.motion import MotionEstimate, MotionMethod, MotionQuality, RigidMotion
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import SourceFrame
from fusionnode.durable import make_folder, sync_folder
from fusionnode.errors import SpoolFileMissing, name_spool_trouble
from fusionnode.faults import FaultPoint, reach


class PreparedFolder:
    """Keeps one file per job under ``<spool>/prepared``; fulfils the port `PreparedStore`."""

    def __init__(self, spool: Path) -> None:
        self._folder = spool / "prepared"

    def save_prepared(self, job: Job, prepared: PreparedPair) -> None:
        """Write and rename; the fence in the temporary name keeps a stale worker off a newer one's file.

        When this returns, a power cut does not lose it.

        Raises:
            SpoolFull: the disk is full; nothing is left behind.
            SpoolUnreadable: the disk failed; nothing is left behind.
        """
        temporary = self._folder / f".{job.id}.{job.fence}"
        try:
            make_folder(self._folder)
            with temporary.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **_arrays(prepared), facts=_encode(_facts(prepared)))
                stream.flush()
                os.fsync(stream.fileno())
            reach(FaultPoint.PREPARED_WRITTEN)
            temporary.replace(self._path(job))
            sync_folder(self._folder)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            words, remedy = "The prepared pair cannot be written", "Make room in the spool; it is tried again."
            raise name_spool_trouble(error, words, remedy, job=job.id) from error

    def load_prepared(self, job: Job) -> PreparedPair:
        """Read a pair back.

        Raises:
            SpoolFileMissing: it is not there (a shared file system may lag behind the database).
        """
        try:
            with np.load(self._path(job), allow_pickle=False) as archive:
                return _rebuild({name: archive[name] for name in archive.files})
        except FileNotFoundError:
            raise SpoolFileMissing(
                f"The prepared pair of job {job.id} is not in the spool.",
                remedy="Check that all workers share one spool.",
                job=job.id,
            ) from None

    def discard_prepared(self, job: Job) -> None:
        """Delete the file, if it is there."""
        self._path(job).unlink(missing_ok=True)

    def keep_only(self, job_ids: Collection[str]) -> int:
        """Delete the files of all other jobs, and what crashed workers left; return how many went."""
        paths = list(self._folder.glob("*")) if self._folder.is_dir() else []
        gone = [path for path in paths if path.name.removeprefix(".").split(".")[0] not in job_ids]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)

    def _path(self, job: Job) -> Path:
        return self._folder / f"{job.id}.npz"


def _arrays(prepared: PreparedPair) -> dict[str, np.ndarray[Any, Any]]:
    uptake = {} if prepared.uptake is None else {"uptake": prepared.uptake}
    return {
        **uptake,
        "fixed": prepared.fixed,
        "moving": prepared.moving,
        "covered": prepared.covered,
        "patient_from_index": prepared.grid.patient_from_index,
        "moving_from_fixed": prepared.estimate.motion.moving_from_fixed,
    }


def _facts(prepared: PreparedPair) -> dict[str, Any]:
    estimate = {name: value for name, value in vars(prepared.estimate).items() if name not in ("motion", "quality")}
    quality = prepared.estimate.quality
    return {
        "frame_of_reference_uid": prepared.frame_of_reference_uid,
        "moving_frame_of_reference_uid": prepared.moving_frame_of_reference_uid,
        "fixed_window": asdict(prepared.fixed_window),
        "moving_window": asdict(prepared.moving_window),
        "estimate": estimate,
        "quality": None if quality is None else asdict(quality),
        "fixed_sources": [asdict(source) for source in prepared.fixed_sources],
        "moving_sources": [asdict(source) for source in prepared.moving_sources],
        "notes": prepared.notes,
        "moving_scale": prepared.moving_scale,
    }


def _encode(facts: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)


def _rebuild(arrays: dict[str, np.ndarray[Any, Any]]) -> PreparedPair:
    facts = json.loads(arrays["facts"].tobytes())
    fixed = arrays["fixed"]
    return PreparedPair(
        fixed=fixed,
        moving=arrays["moving"],
        covered=arrays["covered"],
        grid=Grid((fixed.shape[0], fixed.shape[1], fixed.shape[2]), arrays["patient_from_index"]),
        frame_of_reference_uid=facts["frame_of_reference_uid"],
        moving_frame_of_reference_uid=facts["moving_frame_of_reference_uid"],
        fixed_window=_rebuild_window(facts["fixed_window"]),
        moving_window=_rebuild_window(facts["moving_window"]),
        estimate=_rebuild_estimate(facts, RigidMotion(arrays["moving_from_fixed"])),
        fixed_sources=tuple(SourceFrame(**source) for source in facts["fixed_sources"]),
        moving_sources=tuple(SourceFrame(**source) for source in facts["moving_sources"]),
        notes=tuple(facts["notes"]),
        moving_scale=facts["moving_scale"],
        uptake=arrays.get("uptake"),
    )


def _rebuild_window(facts: dict[str, Any]) -> Window:
    return Window(facts["low"], facts["high"], Unit(facts["unit"]))


def _rebuild_estimate(facts: dict[str, Any], motion: RigidMotion) -> MotionEstimate:
    told = dict(facts["estimate"])
    method, warnings = MotionMethod(told.pop("method")), tuple(told.pop("warnings"))
    quality = MotionQuality(**facts["quality"]) if facts.get("quality") else None
    return MotionEstimate(motion=motion, method=method, warnings=warnings, quality=quality, **told)
