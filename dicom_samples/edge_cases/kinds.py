"""Cases with other kinds of objects: NM in its variants, mosaics, screenshots, raw data, colour (pure)."""

from collections.abc import Callable

import numpy as np
from pydicom import Dataset
from pydicom.uid import RawDataStorage, SecondaryCaptureImageStorage

from dicom_samples.edge_cases.study import Builder, Files, Study, files, spoil_each


def _spoil_spect(change: Callable[[Dataset], None]) -> Builder:
    def build(study: Study) -> Files:
        datasets = study.spect()
        change(datasets[0])
        return files(mr=study.mr(), nm=datasets)

    return build


def _frames(ds: Dataset) -> np.ndarray:
    return np.frombuffer(ds.PixelData, dtype="<u2").reshape(-1, ds.Rows, ds.Columns)


def _stack_downwards(ds: Dataset) -> None:
    """The same voxels from the top down, as a negative Spacing Between Slices says (PS3.3 C.8.4.15)."""
    detector = ds.DetectorInformationSequence[0]
    frames, step_mm = _frames(ds), float(ds.SpacingBetweenSlices)
    x_mm, y_mm, z_mm = (float(value) for value in detector.ImagePositionPatient)
    detector.ImagePositionPatient = [f"{x_mm:g}", f"{y_mm:g}", f"{z_mm + step_mm * (len(frames) - 1):g}"]
    ds.SpacingBetweenSlices = f"{-step_mm:g}"
    ds.PixelData = np.ascontiguousarray(frames[::-1]).tobytes()


def _forget_orientation(ds: Dataset) -> None:
    del ds.DetectorInformationSequence[0].ImageOrientationPatient


def _add_energy_window(ds: Dataset) -> None:
    slices = int(ds.NumberOfSlices)
    ds.NumberOfEnergyWindows, ds.NumberOfFrames = 2, 2 * slices
    ds.FrameIncrementPointer = [0x00540010, 0x00540080]
    ds.EnergyWindowVector = [1] * slices + [2] * slices
    ds.SliceVector = list(ds.SliceVector) * 2
    ds.EnergyWindowInformationSequence.append(ds.EnergyWindowInformationSequence[0])
    ds.PixelData = ds.PixelData * 2


def _make_planar(ds: Dataset) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]
    ds.NumberOfFrames, ds.FrameIncrementPointer = 1, [0x00540010, 0x00540020]
    ds.EnergyWindowVector, ds.DetectorVector = [1], [1]
    ds.PixelData = _frames(ds)[7].tobytes()
    del ds.SliceVector, ds.NumberOfSlices, ds.SpacingBetweenSlices


def _make_gated(ds: Dataset) -> None:
    slices = int(ds.NumberOfSlices)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "RECON GATED TOMO", "EMISSION"]
    ds.NumberOfFrames, ds.FrameIncrementPointer = 2 * slices, [0x00540060, 0x00540070, 0x00540080]
    ds.RRIntervalVector, ds.TimeSlotVector = [1] * (2 * slices), [1] * slices + [2] * slices
    ds.SliceVector = list(ds.SliceVector) * 2
    ds.PixelData = ds.PixelData * 2


def _make_mosaic(study: Study) -> Files:
    """All slices as tiles of one picture; eight time points of it, as functional MR is exported."""
    datasets = study.mr()
    tiles = np.stack([np.frombuffer(ds.PixelData, dtype="<u2").reshape(ds.Rows, ds.Columns) for ds in datasets])
    rows, columns = tiles.shape[1:]
    padded = np.concatenate([tiles, np.zeros((16 - len(tiles), rows, columns), "<u2")]).reshape(4, 4, rows, columns)
    picture = np.ascontiguousarray(padded.swapaxes(1, 2)).tobytes()
    for number, ds in enumerate(datasets[:8]):
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
        ds.SeriesDescription, ds.Rows, ds.Columns, ds.PixelData = "ep2d", 4 * rows, 4 * columns, picture
        ds.ImagePositionPatient, ds.AcquisitionNumber = datasets[0].ImagePositionPatient, number + 1
    return files(mr=datasets[:8], pt=study.pet())


def _capture_screen(modality: str) -> Builder:
    def build(study: Study) -> Files:
        screen = study.pet("pt")[0]
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "Units"):
            delattr(screen, keyword)
        screen.SOPClassUID, screen.Modality, screen.ConversionType = SecondaryCaptureImageStorage, modality, "WSD"
        screen.ImageType, screen.SeriesDescription = ["DERIVED", "SECONDARY", "SCREEN SAVE"], "screen save"
        screen.SamplesPerPixel, screen.PhotometricInterpretation, screen.PlanarConfiguration = 3, "RGB", 0
        screen.BitsAllocated, screen.BitsStored, screen.HighBit, screen.PixelRepresentation = 8, 8, 7, 0
        screen.PixelData = bytes(screen.Rows * screen.Columns * 3)
        return files(mr=study.mr(), pt=[screen])

    return build


def _make_raw(study: Study, series: str) -> Dataset:
    raw = study.mr(series)[0]
    raw.SOPClassUID, raw.SOPInstanceUID = RawDataStorage, study.uid(series, "raw")
    for keyword in ("PixelData", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(raw, keyword)
    raw.CreatorVersionUID = study.uid("creator")
    raw.add_new(0x00990010, "LO", "FUSIONNODE EDGE")
    raw.add_new(0x00991001, "OB", bytes(range(256)) * 4)
    return raw


def _offer_only_raw(study: Study) -> Files:
    return files(mr=[_make_raw(study, "mr")], pt=study.pet())


def _hide_raw(study: Study) -> Files:
    """Raw data under the series UID of the MR itself, as Philips exports it."""
    return files(mr=[*study.mr(), _make_raw(study, "mr")], pt=study.pet())


def _colour(ds: Dataset) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    grey = (np.frombuffer(ds.PixelData, dtype="<u2") >> 4).astype(np.uint8)
    ds.PixelData = np.repeat(grey, 3).tobytes()


def _invert(ds: Dataset) -> None:
    ds.PhotometricInterpretation = "MONOCHROME1"


CASES: dict[str, Builder] = {
    "spect": _spoil_spect(lambda ds: None),
    "spect-downwards": _spoil_spect(_stack_downwards),
    "spect-no-orientation": _spoil_spect(_forget_orientation),
    "spect-two-energy-windows": _spoil_spect(_add_energy_window),
    "spect-gated": _spoil_spect(_make_gated),
    "nm-planar": _spoil_spect(_make_planar),
    "mosaic": _make_mosaic,
    "screenshot": _capture_screen("OT"),
    "screenshot-called-pt": _capture_screen("PT"),
    "raw-data": _offer_only_raw,
    "raw-data-in-mr-series": _hide_raw,
    "mr-in-colour": spoil_each("mr", _colour),
    "mr-inverted": spoil_each("mr", _invert),
}
