"""Cases in which one series holds several volumes, or several series compete (pure)."""

from collections.abc import Callable

from pydicom import Dataset

from dicom_samples.edge_cases.study import Builder, Files, Study, files


def _mix(change: Callable[[Dataset], None]) -> Builder:
    """The MR series and once more all of its slices, changed, under the same series UID."""

    def build(study: Study) -> Files:
        first, second = study.mr(), study.mr()
        _absorb(study, first, second, "mr")
        for ds in second:
            change(ds)
        return files(mr=[*first, *second], pt=study.pet())

    return build


def _absorb(study: Study, first: list[Dataset], second: list[Dataset], folder: str) -> None:
    for number, ds in enumerate(second, start=len(first) + 1):
        ds.SOPInstanceUID, ds.InstanceNumber = study.uid(folder, str(number)), number


def _turn(ds: Dataset) -> None:
    ds.ImageOrientationPatient = ["0", "1", "0", "0", "0", "-1"]
    ds.ImagePositionPatient = [ds.ImagePositionPatient[2], "-80", "90"]


def _make_second_echo(ds: Dataset) -> None:
    ds.EchoTime, ds.EchoNumbers = "90", 2


def _make_phase(ds: Dataset) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", "P", "NORM"]


def _make_later(ds: Dataset) -> None:
    ds.TemporalPositionIdentifier, ds.TriggerTime = 2, "400"


def _raise_stack(ds: Dataset) -> None:
    """By its own height, so that it goes on where the first one ends."""
    ds.ImagePositionPatient[2] = float(ds.ImagePositionPatient[2]) + 192


def _shift_frame(ds: Dataset) -> None:
    ds.FrameOfReferenceUID = f"{ds.FrameOfReferenceUID}.1"[:64]
    _raise_stack(ds)


def _shrink(ds: Dataset) -> None:
    ds.Rows, ds.PixelData = ds.Rows // 2, ds.PixelData[: len(ds.PixelData) // 2]
    _raise_stack(ds)


def _repeat_pet(series_type: list[str], second: Callable[[Dataset], None]) -> Builder:
    """Two volumes at the same positions in one PET series."""

    def build(study: Study) -> Files:
        early, late = study.pet(), study.pet()
        _absorb(study, early, late, "pt")
        for ds in (*early, *late):
            ds.SeriesType = series_type
        for index, ds in enumerate(late):
            ds.ImageIndex = len(early) + index + 1
            second(ds)
        return files(mr=study.mr(), pt=[*early, *late])

    return build


def _make_time_slice(ds: Dataset) -> None:
    ds.FrameReferenceTime, ds.AcquisitionTime = "898000", "111000"
    ds.NumberOfTimeSlices = 2


def _make_gate(ds: Dataset) -> None:
    ds.TriggerTime, ds.FrameTime, ds.NumberOfTimeSlots, ds.NumberOfRRIntervals = "400", "400", 2, 1


def _offer_uncorrected(study: Study) -> Files:
    uncorrected = study.pet("nac")
    for ds in uncorrected:
        ds.CorrectedImage = ["NORM", "DTIM", "DECY", "RAN"]
        ds.AttenuationCorrectionMethod = "NONE"
        ds.SeriesDescription, ds.SeriesNumber = "FDG brain NAC", 6
    return files(mr=study.mr(), pt=study.pet(), nac=uncorrected)


def _offer_several_mrs(study: Study) -> Files:
    flair, localizer = study.mr("t2"), study.mr("localizer")
    for ds in flair:
        ds.SeriesDescription, ds.SeriesNumber, ds.MRAcquisitionType = "T2 TSE axial", 4, "2D"
        ds.ScanningSequence, ds.SequenceVariant, ds.EchoTime, ds.RepetitionTime = "SE", "SK", "90", "4000"
    return files(mr=study.mr(), t2=flair, localizer=_make_localizer(localizer), pt=study.pet())


def _make_localizer(datasets: list[Dataset]) -> list[Dataset]:
    """Three slices in each of three planes."""
    planes = (["1", "0", "0", "0", "1", "0"], ["0", "1", "0", "0", "0", "-1"], ["1", "0", "0", "0", "0", "-1"])
    for index, ds in enumerate(datasets[:9]):
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "M"]
        ds.SeriesDescription, ds.SeriesNumber, ds.MRAcquisitionType = "localizer", 1, "2D"
        ds.ImageOrientationPatient = planes[index // 3]
        ds.ImagePositionPatient = [["-80", "-110", str(-20 * (index % 3))], ["0", "-100", "90"], ["-80", "0", "90"]][
            index // 3
        ]
    return datasets[:9]


def _offer_only_a_localizer(study: Study) -> Files:
    return files(mr=_make_localizer(study.mr()), pt=study.pet())


CASES: dict[str, Builder] = {
    "two-orientations": _mix(_turn),
    "two-echoes": _mix(_make_second_echo),
    "magnitude-and-phase": _mix(_make_phase),
    "two-time-points": _mix(_make_later),
    "two-frames-of-reference": _mix(_shift_frame),
    "two-matrices": _mix(_shrink),
    "pet-dynamic": _repeat_pet(["DYNAMIC", "IMAGE"], _make_time_slice),
    "pet-dynamic-undeclared": _repeat_pet(["STATIC", "IMAGE"], _make_time_slice),
    "pet-gated": _repeat_pet(["GATED", "IMAGE"], _make_gate),
    "pet-uncorrected-beside": _offer_uncorrected,
    "several-mrs": _offer_several_mrs,
    "localizer-only": _offer_only_a_localizer,
}
