"""Gives series other identities, so that a few samples become the studies of many patients."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom import Dataset, dcmwrite

from fusionnode.demo.pacs import OrthancPacs
from fusionnode.domain.uids import derive_uid
from tests.support.datasets import Identity, Layout, make_mr_series, make_pt_series

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True)
class Patient:
    """One made-up patient with one MRI and at most one PET or SPECT series."""

    patient_id: str
    fixed: tuple[Dataset, ...]
    moving: tuple[Dataset, ...] = ()


def make_patient(number: int, *, lonely: bool = False, slices: int = 10) -> Patient:
    """Return a patient with a tiny MRI and PET in one frame of reference; ``lonely`` without the PET."""
    patient_id, layout = f"BATCH-{number}", Layout(slices=slices, rows=24, columns=20)
    frame = derive_uid("frame", patient_id)
    identity = Identity(patient_id=patient_id, frame_of_reference_uid=frame)
    fixed = make_mr_series(layout, identity)
    moving = make_pt_series(layout, Identity(patient_id, frame_of_reference_uid=frame, series_number=2))
    return Patient(patient_id, tuple(fixed), () if lonely else tuple(moving))


def repackage_patient(patient_id: str, fixed: Path, moving: Path) -> Patient:
    """Return the series in two folders as those of ``patient_id``, in a study of theirs, with UIDs of their own."""
    series = [tuple(_rename(folder, patient_id)) for folder in (fixed, moving)]
    return Patient(patient_id, *series)


def upload(orthanc: OrthancPacs, patients: Iterable[Patient]) -> None:
    """Put everything into Orthanc through its REST interface."""
    for patient in patients:
        for ds in (*patient.fixed, *patient.moving):
            content = io.BytesIO()
            dcmwrite(content, ds, enforce_file_format=True)
            orthanc.request("/instances", content.getvalue())


def _rename(folder: Path, patient_id: str) -> Iterator[Dataset]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            ds = pydicom.dcmread(path)
            for keyword in _UIDS:
                if keyword in ds:
                    setattr(ds, keyword, derive_uid(patient_id, str(ds[keyword].value)))
            # Series that belong together may come from two studies.
            ds.StudyInstanceUID = derive_uid(patient_id, "study")
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            ds.PatientID = patient_id
            yield ds
