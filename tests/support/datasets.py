"""Makes small synthetic MR, PET and SPECT datasets that are complete enough for their IOD (PS3.3 annex A).

Everything is deterministic: the same arguments give the same bytes and the same UIDs.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    MRImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
)
from pydicom.valuerep import format_number_as_ds

from fusionnode.domain.grid import Grid
from fusionnode.domain.uids import derive_uid

Orientation = tuple[float, float, float, float, float, float]

AXIAL: Orientation = (1, 0, 0, 0, 1, 0)
CORONAL: Orientation = (1, 0, 0, 0, 0, -1)
SAGITTAL: Orientation = (0, 1, 0, 0, 0, -1)
OBLIQUE: Orientation = (0.96, 0.28, 0, -0.224, 0.768, -0.6)


@dataclass(frozen=True)
class Layout:
    """The grid of a synthetic series; slice k lies at ``origin_mm + k * spacing_mm[0]`` along row x column."""

    slices: int = 12
    rows: int = 32
    columns: int = 24
    spacing_mm: tuple[float, float, float] = (3.0, 1.0, 1.25)
    origin_mm: tuple[float, float, float] = (-14.0, -15.0, -18.0)
    orientation: Orientation = AXIAL

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.slices, self.rows, self.columns

    @property
    def normal(self) -> NDArray[np.float64]:
        return np.cross(self.orientation[:3], self.orientation[3:]).astype(np.float64)

    @property
    def grid(self) -> Grid:
        directions = np.column_stack([self.normal, self.orientation[3:], self.orientation[:3]])
        return Grid.from_axes(self.shape, np.asarray(self.origin_mm, np.float64), directions, self.spacing_mm)


@dataclass(frozen=True)
class Identity:
    """Whose series it is; empty UIDs are derived from the patient, the modality and the series number."""

    patient_id: str = "TEST-1"
    study_uid: str = ""
    series_uid: str = ""
    frame_of_reference_uid: str = ""
    series_number: int = 1
    study_date: str = "20240305"
    birth_date: str = "19700101"
    sex: str = "O"
    description: str = ""


@dataclass(frozen=True)
class Uptake:
    """What PET needs for SUV; half-life in s, dose in Bq; times as TM text."""

    units: str = "BQML"
    decay_correction: str = "START"
    weight_kg: float | None = 70.0
    dose_bq: float | None = 185e6
    half_life_seconds: float | None = 6586.2
    injection_time: str = "091700.00"
    injection_datetime: str = ""
    series_time: str = "100200.00"
    acquisition_time: str = "100200.00"
    suv_type: str = ""


@dataclass(frozen=True)
class Gamma:
    """What is particular to a SPECT reconstruction.

    ``slice_step_mm`` None means Layout.spacing_mm[0]; negative writes the frames from the far end backwards, so
    that the object still describes the grid of its Layout. ``slice_vector`` gives the slice number (from 1) of
    each frame; empty means 1, 2, 3...
    """

    slice_step_mm: float | None = None
    slice_vector: tuple[int, ...] = ()
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION")
    located: bool = True


@dataclass(frozen=True)
class _Times:
    series: str = "091200.00"
    acquisition: str = "091200.00"
    content: str = field(default="091500.00")


def make_phantom(shape: tuple[int, int, int], seed: int = 0, peak: float = 1500.0) -> NDArray[np.float32]:
    """A textured ellipsoid in air, whole numbers from 0 to ``peak``, float32 [slice, row, column]."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape), indexing="ij")
    inside = (axes[0] / 0.9) ** 2 + (axes[1] / 0.8) ** 2 + (axes[2] / 0.7) ** 2 <= 1
    waves = 0.5 + 0.2 * np.sin(5 * axes[0] + seed) + 0.15 * np.cos(7 * axes[1]) + 0.1 * np.sin(6 * axes[2] + 1)
    noise = np.random.default_rng(seed).normal(0, 0.02, shape)
    return np.rint(np.clip(waves + noise, 0, 1) * inside * peak).astype(np.float32)


def make_mr_series(
    layout: Layout = Layout(),
    identity: Identity = Identity(),
    *,
    seed: int = 0,
    voxels: NDArray[np.generic] | None = None,
) -> list[Dataset]:
    """One classic MR series, slice 0 first; ``voxels`` (whole numbers 0..65535) default to `make_phantom`."""
    values = make_phantom(layout.shape, seed) if voxels is None else np.asarray(voxels)
    datasets = []
    for index in range(layout.slices):
        ds = _make_instance(MRImageStorage, "MR", identity, str(index + 1))
        _stamp_times(ds, identity, _Times())
        _place_slice(ds, layout, index)
        _describe_mr(ds, layout)
        _fill_pixels(ds, np.rint(values[index]).astype(np.uint16))
        datasets.append(ds)
    return datasets


def make_pt_series(
    layout: Layout = Layout(),
    identity: Identity = Identity(),
    uptake: Uptake = Uptake(),
    *,
    seed: int = 0,
    voxels: NDArray[np.generic] | None = None,
) -> list[Dataset]:
    """One PET series, slice 0 first; ``voxels`` in the stated units are quantised with one slope per slice.

    The quantised values differ from ``voxels`` by at most half of each slice's Rescale Slope.
    """
    values = make_phantom(layout.shape, seed, 20000.0) if voxels is None else np.asarray(voxels)
    datasets = []
    for index in range(layout.slices):
        ds = _make_instance(PositronEmissionTomographyImageStorage, "PT", identity, str(index + 1))
        _stamp_times(ds, identity, _Times(uptake.series_time, uptake.acquisition_time))
        _place_slice(ds, layout, index)
        _describe_pt(ds, layout, index)
        _describe_uptake(ds, uptake)
        _fill_rescaled(ds, values[index].astype(np.float64))
        datasets.append(ds)
    return datasets


def make_nm_recon(
    layout: Layout = Layout(),
    identity: Identity = Identity(),
    gamma: Gamma = Gamma(),
    *,
    seed: int = 0,
    voxels: NDArray[np.generic] | None = None,
) -> Dataset:
    """One multi-frame NM RECON TOMO object whose voxels lie where ``layout`` says, however it is stacked."""
    values = make_phantom(layout.shape, seed) if voxels is None else np.asarray(voxels)
    step_mm = layout.spacing_mm[0] if gamma.slice_step_mm is None else gamma.slice_step_mm
    backwards = step_mm < 0
    vector = gamma.slice_vector or tuple(range(1, layout.slices + 1))
    stacked = values[::-1] if backwards else values
    ds = _make_instance(NuclearMedicineImageStorage, "NM", identity, "1")
    _stamp_times(ds, identity, _Times("110000.00", "110000.00"))
    _describe_nm(ds, layout, gamma, vector)
    ds.SpacingBetweenSlices = format_number_as_ds(float(step_mm))
    ds.DetectorInformationSequence = [_make_detector(layout, gamma, layout.slices - 1 if backwards else 0)]
    _fill_pixels(ds, np.rint(stacked[np.asarray(vector) - 1]).astype(np.uint16))
    return ds


def _make_instance(sop_class: str, modality: str, identity: Identity, instance: str) -> Dataset:
    """Patient, General Study, General Series, Frame of Reference, General Equipment, General Image, SOP Common."""
    names = (identity.patient_id, modality, str(identity.series_number))
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = sop_class
    ds.SeriesInstanceUID = UID(identity.series_uid or derive_uid("tests", "series", *names))
    ds.SOPInstanceUID = derive_uid("tests", "instance", ds.SeriesInstanceUID, instance)
    ds.StudyInstanceUID = identity.study_uid or derive_uid("tests", "study", identity.patient_id)
    ds.FrameOfReferenceUID = identity.frame_of_reference_uid or derive_uid("tests", "frame", *names)
    ds.PositionReferenceIndicator = ""
    ds.Modality = modality
    ds.PatientName = "Synthetic^Nobody"
    ds.PatientID, ds.PatientBirthDate, ds.PatientSex = identity.patient_id, identity.birth_date, identity.sex
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "", ""
    ds.SeriesNumber, ds.InstanceNumber = identity.series_number, int(instance)
    ds.SeriesDescription = identity.description or f"synthetic {modality}"
    ds.Manufacturer, ds.ManufacturerModelName = "fusionnode tests", "phantom"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", "1"
    ds.PatientPosition = "HFS"
    ds.file_meta = _make_meta(ds)
    return ds


def _make_meta(ds: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(derive_uid("tests", "implementation"))
    return meta


def _stamp_times(ds: Dataset, identity: Identity, times: _Times) -> None:
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = identity.study_date
    ds.StudyTime = "090000.00"
    ds.SeriesTime, ds.AcquisitionTime, ds.ContentTime = times.series, times.acquisition, times.content


def _place_slice(ds: Dataset, layout: Layout, index: int) -> None:
    position = np.asarray(layout.origin_mm) + layout.normal * layout.spacing_mm[0] * index
    ds.ImagePositionPatient = [format_number_as_ds(float(v)) for v in position]
    ds.ImageOrientationPatient = [format_number_as_ds(float(v)) for v in layout.orientation]
    ds.PixelSpacing = [format_number_as_ds(float(v)) for v in layout.spacing_mm[1:]]
    ds.SliceThickness = format_number_as_ds(float(layout.spacing_mm[0]))


def _describe_mr(ds: Dataset, layout: Layout) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    ds.SpacingBetweenSlices = format_number_as_ds(float(layout.spacing_mm[0]))
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "GR", "MP", ""
    ds.MRAcquisitionType, ds.MagneticFieldStrength = "3D", "3"
    ds.RepetitionTime, ds.EchoTime, ds.InversionTime, ds.FlipAngle = "2300", "2.98", "900", "9"
    ds.EchoTrainLength, ds.EchoNumbers = 1, 1


def _describe_pt(ds: Dataset, layout: Layout, index: int) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.SeriesType = ["STATIC", "IMAGE"]
    ds.NumberOfSlices, ds.ImageIndex = layout.slices, index + 1
    ds.CountsSource, ds.CollimatorType = "EMISSION", "NONE"
    ds.CorrectedImage = ["DECY", "ATTN", "SCAT", "DTIM", "RAN", "NORM"]
    ds.RandomsCorrectionMethod, ds.AttenuationCorrectionMethod = "DLYD", "synthetic"
    ds.ScatterCorrectionMethod, ds.DecayFactor, ds.ReconstructionMethod = "synthetic", "1", "synthetic"
    ds.FrameReferenceTime, ds.ActualFrameDuration = "0", "600000"
    ds.PatientOrientationCodeSequence = [_make_code("102538003", "SCT", "recumbent")]
    ds.PatientGantryRelationshipCodeSequence = [_make_code("102540001", "SCT", "headfirst")]


def _describe_uptake(ds: Dataset, uptake: Uptake) -> None:
    ds.Units, ds.DecayCorrection = uptake.units, uptake.decay_correction
    if uptake.suv_type:
        ds.SUVType = uptake.suv_type
    if uptake.weight_kg is not None:
        ds.PatientWeight = format_number_as_ds(float(uptake.weight_kg))
    drug = Dataset()
    drug.Radiopharmaceutical = "FDG"
    drug.RadionuclideCodeSequence = [_make_code("77004003", "SCT", "^18^Fluorine")]
    if uptake.injection_time:
        drug.RadiopharmaceuticalStartTime = uptake.injection_time
    if uptake.injection_datetime:
        drug.RadiopharmaceuticalStartDateTime = uptake.injection_datetime
    if uptake.dose_bq is not None:
        drug.RadionuclideTotalDose = format_number_as_ds(float(uptake.dose_bq))
    if uptake.half_life_seconds is not None:
        drug.RadionuclideHalfLife = format_number_as_ds(float(uptake.half_life_seconds))
    ds.RadiopharmaceuticalInformationSequence = [drug]


def _describe_nm(ds: Dataset, layout: Layout, gamma: Gamma, vector: tuple[int, ...]) -> None:
    ds.ImageType = list(gamma.image_type)
    ds.PixelSpacing = [format_number_as_ds(float(v)) for v in layout.spacing_mm[1:]]
    ds.SliceThickness = format_number_as_ds(float(layout.spacing_mm[0]))
    ds.NumberOfFrames = ds.NumberOfSlices = layout.slices
    ds.FrameIncrementPointer = 0x00540080
    ds.SliceVector = list(vector)
    ds.NumberOfEnergyWindows, ds.NumberOfDetectors, ds.NumberOfRotations = 1, 1, 1
    ds.EnergyWindowInformationSequence = []
    ds.RadiopharmaceuticalInformationSequence = []
    ds.RotationInformationSequence = []
    ds.PatientOrientationCodeSequence = [_make_code("102538003", "SCT", "recumbent")]
    ds.PatientGantryRelationshipCodeSequence = [_make_code("102540001", "SCT", "headfirst")]
    ds.CountsAccumulated, ds.ConvolutionKernel = None, ""
    ds.CorrectedImage = ["UNIF", "ATTN"]


def _make_detector(layout: Layout, gamma: Gamma, first_slice: int) -> Dataset:
    detector = Dataset()
    detector.CollimatorType = "FANB"
    if gamma.located:
        position = layout.grid.slice_position_mm(first_slice)
        detector.ImagePositionPatient = [format_number_as_ds(v) for v in position]
        detector.ImageOrientationPatient = [format_number_as_ds(float(v)) for v in layout.orientation]
    return detector


def _fill_rescaled(ds: Dataset, values: NDArray[np.float64]) -> None:
    slope = format_number_as_ds(max(float(np.abs(values).max()), 1e-3) / 32700)
    ds.RescaleSlope, ds.RescaleIntercept = slope, "0"
    _fill_pixels(ds, np.rint(values / float(slope)).astype(np.int16))


def _fill_pixels(ds: Dataset, stored: NDArray[np.uint16] | NDArray[np.int16]) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = int(stored.dtype == np.int16)
    ds.add_new("PixelData", "OW", stored.astype(stored.dtype.newbyteorder("<")).tobytes())


def _make_code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
