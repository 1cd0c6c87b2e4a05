"""Cases in which it is doubtful whose series these are, or whether they belong together (pure)."""

from collections.abc import Callable

from pydicom import Dataset

from dicom_samples.edge_cases.study import Builder, Files, Study, files, spoil_each


def _set(**values: str) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        for keyword, value in values.items():
            setattr(ds, keyword, value)

    return change


def _part(**values: str) -> Builder:
    """The PET of another study and another frame of reference, with ``values`` set in both series."""

    def build(study: Study) -> Files:
        fixed, moving = study.mr(), study.pet()
        for ds in moving:
            ds.StudyInstanceUID, ds.FrameOfReferenceUID = study.uid("other study"), study.uid("other frame")
        for ds in (*fixed, *moving):
            _set(**values)(ds)
        return files(mr=fixed, pt=moving)

    return build


def _date(ds: Dataset) -> None:
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20250601"
    drug = ds.RadiopharmaceuticalInformationSequence[0]
    drug.RadiopharmaceuticalStartDateTime = "20250601100000"


def _delay(study: Study) -> Files:
    made = _part()(study)
    for ds in made["pt"]:
        assert isinstance(ds, Dataset)
        _date(ds)
    return made


def _mingle(study: Study) -> Files:
    """One MR series whose second half names another patient."""
    datasets = study.mr()
    for ds in datasets[8:]:
        ds.PatientID = "FN-EDGE-SOMEBODY-ELSE"
    return files(mr=datasets, pt=study.pet())


CASES: dict[str, Builder] = {
    "other-birth-date": spoil_each("pt", _set(PatientBirthDate="19610101")),
    "other-sex": spoil_each("pt", _set(PatientSex="F")),
    "other-issuer": spoil_each("pt", _set(IssuerOfPatientID="ELSEWHERE")),
    "other-patient": spoil_each("pt", _set(PatientID="FN-EDGE-OTHER-PATIENT-2")),
    "two-patients-in-series": _mingle,
    "no-patient-id": spoil_each("pt", _set(PatientID="")),
    "other-name-spelling": spoil_each("pt", _set(PatientName="Fusionnode^E.")),
    "no-birth-date": spoil_each("pt", _set(PatientBirthDate="", PatientSex="")),
    "placeholder-id": _part(PatientID="UNKNOWN"),
    "far-apart-in-time": _delay,
    "thigh-without-shared-frame": _part(BodyPartExamined="THIGH"),
    "head-without-shared-frame": lambda study: files(mr=study.whole("mr"), pt=study.whole("pt")),
}
