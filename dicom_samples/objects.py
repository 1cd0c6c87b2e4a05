"""The samples as DICOM data sets: classic MR, classic PET and a multi-frame NM tomogram (pure)."""

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    MRImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
)

from dicom_samples.scanners import Scan
from fusionnode.domain.uids import derive_uid

MR_DAY, SPECT_DAY = "20250310", "20250313"


def build_mr(scan: Scan) -> list[Dataset]:
    """One data set per slice, 12 bits stored."""
    pixels = np.clip(np.rint(scan.voxels * 2), 0, 4095).astype("<u2")
    return [_build_mr_slice(scan, pixels, number) for number in range(len(pixels))]


def build_pet(scan: Scan) -> list[Dataset]:
    """One data set per slice, each with its own rescale slope, as scanners write them."""
    return [_build_pet_slice(scan, number) for number in range(len(scan.voxels))]


def build_spect(scan: Scan) -> list[Dataset]:
    """One multi-frame reconstruction; its geometry hides in the Detector Information Sequence (PS3.3 C.8.4.8)."""
    ds = _start("nm", NuclearMedicineImageStorage, SPECT_DAY, "093000", 1)
    ds.Modality, ds.SeriesDescription, ds.SeriesNumber = "NM", "Brain perfusion SPECT", 1
    ds.StudyDescription, ds.AccessionNumber, ds.StudyID = "Brain perfusion SPECT", "FN0002", "2"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    ds.CountsAccumulated = int(np.rint(scan.voxels).sum())
    slices = len(scan.voxels)
    ds.NumberOfFrames, ds.NumberOfSlices, ds.FrameIncrementPointer = slices, slices, 0x00540080
    ds.SliceVector = list(range(1, slices + 1))
    ds.NumberOfEnergyWindows = ds.NumberOfDetectors = ds.NumberOfRotations = 1
    _state_spect_acquisition(ds)
    ds.DetectorInformationSequence = [Dataset()]
    ds.DetectorInformationSequence[0].CollimatorType = "FANB"
    _state_position(ds.DetectorInformationSequence[0], scan, 0)
    ds.PixelSpacing = _decimals(scan.grid.spacing_mm[1:])
    ds.SpacingBetweenSlices = ds.SliceThickness = _decimal(scan.grid.spacing_mm[0])
    _set_pixels(ds, np.rint(scan.voxels).astype("<u2"), bits=16)
    ds.WindowCenter, ds.WindowWidth = 500, 1000
    return [ds]


def _start(name: str, sop_class: str, day: str, time: str, number: int) -> Dataset:
    """Everything all three share: who, which study, which series, which space."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # pydicom would write its own version here, and the bytes would change with it.
    ds.file_meta.ImplementationClassUID = UID(derive_uid("dicom_samples", "implementation"))
    ds.file_meta.ImplementationVersionName = "FUSIONNODE_SMPL"
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = derive_uid("dicom_samples", "head", name, "instance", str(number))
    study = "second study" if day == SPECT_DAY else "first study"
    ds.StudyInstanceUID = derive_uid("dicom_samples", "head", study)
    ds.SeriesInstanceUID = derive_uid("dicom_samples", "head", name, "series")
    ds.FrameOfReferenceUID = derive_uid("dicom_samples", "head", name, "frame of reference")
    ds.PositionReferenceIndicator = ""
    ds.PatientName, ds.PatientID, ds.IssuerOfPatientID = "FUSIONNODE^SAMPLE", "FN-SAMPLE-HEAD", "FUSIONNODE"
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "19600101", "O", "065Y"
    ds.PatientWeight, ds.PatientSize = "70", "1.72"
    ds.PatientComments = "Synthetic. No human being was imaged."
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = day
    ds.StudyTime = "090000" if day == SPECT_DAY else "080000"
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = time
    ds.StudyDescription, ds.StudyID, ds.AccessionNumber = "Head MR and FDG PET", "1", "FN0001"
    ds.ReferringPhysicianName = ""
    ds.Manufacturer, ds.ManufacturerModelName = "fusionnode", "dicom_samples"
    ds.InstitutionName, ds.DeviceSerialNumber, ds.SoftwareVersions = "Nowhere", "0", "1"
    ds.BodyPartExamined, ds.InstanceNumber, ds.AcquisitionNumber = "HEAD", number, 1
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    return ds


def _build_mr_slice(scan: Scan, pixels: np.ndarray, number: int) -> Dataset:
    ds = _start("mr", MRImageStorage, MR_DAY, "081500", number + 1)
    ds.Modality, ds.SeriesDescription, ds.SeriesNumber = "MR", "T1 3D axial", 3
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM"]
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = ["GR", "IR"], ["SP", "MP"], ""
    ds.MRAcquisitionType, ds.ProtocolName = "3D", "T1 3D axial"
    ds.RepetitionTime, ds.EchoTime, ds.InversionTime, ds.FlipAngle = "1900", "2.9", "900", "9"
    ds.EchoTrainLength, ds.MagneticFieldStrength, ds.PatientPosition = 1, "3", "HFS"
    _state_position(ds, scan, number)
    _state_slice(ds, scan)
    _set_pixels(ds, pixels[number], bits=12)
    ds.WindowCenter, ds.WindowWidth = 800, 1600
    return ds


def _build_pet_slice(scan: Scan, number: int) -> Dataset:
    ds = _start("pt", PositronEmissionTomographyImageStorage, MR_DAY, "110000", number + 1)
    ds.Modality, ds.SeriesDescription, ds.SeriesNumber = "PT", "FDG brain static", 5
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    slope = _round_up(float(scan.voxels[number].max()) / 32767)
    _state_pet_acquisition(ds, len(scan.voxels), number)
    _state_position(ds, scan, number)
    _state_slice(ds, scan)
    _set_pixels(ds, np.rint(scan.voxels[number] / slope).astype("<i2"), bits=16)
    ds.RescaleIntercept, ds.RescaleSlope = "0", _decimal(slope)
    ds.WindowCenter, ds.WindowWidth = 9000, 18000
    return ds


def _state_pet_acquisition(ds: Dataset, slices: int, number: int) -> None:
    """What PS3.3 C.8.9 asks for and SUV needs: injected an hour before, decay corrected to the scan's start."""
    ds.Units, ds.CountsSource, ds.SeriesType, ds.DecayCorrection = "BQML", "EMISSION", ["STATIC", "IMAGE"], "START"
    ds.NumberOfSlices, ds.ImageIndex = slices, number + 1
    ds.CorrectedImage = ["NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN"]
    ds.RandomsCorrectionMethod, ds.AttenuationCorrectionMethod = "DLYD", "synthetic"
    ds.ScatterCorrectionMethod, ds.ReconstructionMethod, ds.CollimatorType = "synthetic", "synthetic", "NONE"
    ds.ActualFrameDuration, ds.FrameReferenceTime, ds.DecayFactor = 600000, "298000", "1.03196"
    ds.PatientOrientationCodeSequence = [_code("102538003", "SCT", "recumbent")]
    ds.PatientGantryRelationshipCodeSequence = [_code("102540008", "SCT", "headfirst")]
    tracer = Dataset()
    tracer.Radiopharmaceutical, tracer.RadiopharmaceuticalVolume = "Fluorodeoxyglucose F^18^", "5"
    tracer.RadiopharmaceuticalStartTime = "100000"
    tracer.RadiopharmaceuticalStartDateTime = f"{MR_DAY}100000"
    tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = "185000000", "6586.2"
    tracer.RadionuclidePositronFraction = "0.967"
    tracer.RadionuclideCodeSequence = [_code("77004003", "SCT", "^18^Fluorine")]
    tracer.RadiopharmaceuticalCodeSequence = [_code("35321007", "SCT", "Fluorodeoxyglucose F^18^")]
    ds.RadiopharmaceuticalInformationSequence = [tracer]


def _state_spect_acquisition(ds: Dataset) -> None:
    window, limits = Dataset(), Dataset()
    limits.EnergyWindowLowerLimit, limits.EnergyWindowUpperLimit = "126", "154"
    window.EnergyWindowRangeSequence, window.EnergyWindowName = [limits], "Tc-99m"
    ds.EnergyWindowInformationSequence = [window]
    tracer = Dataset()
    tracer.Radiopharmaceutical, tracer.RadiopharmaceuticalStartTime = "HMPAO Tc^99m^", "090000"
    tracer.RadionuclideTotalDose = "740"
    tracer.RadionuclideCodeSequence = [_code("72454007", "SCT", "^99m^Technetium")]
    ds.RadiopharmaceuticalInformationSequence = [tracer]
    rotation = Dataset()
    rotation.StartAngle, rotation.AngularStep, rotation.RotationDirection = "180", "3", "CC"
    rotation.ScanArc, rotation.ActualFrameDuration, rotation.RadialPosition = "360", 20000, "140"
    rotation.NumberOfFramesInRotation, rotation.TableTraverse, rotation.TableHeight = 120, "0", "0"
    ds.RotationInformationSequence = [rotation]
    ds.PatientOrientationCodeSequence = [_code("102538003", "SCT", "recumbent")]
    ds.PatientGantryRelationshipCodeSequence = [_code("102540008", "SCT", "headfirst")]


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning
    return ds


def _state_position(ds: Dataset, scan: Scan, number: int) -> None:
    """Image Plane (PS3.3 C.7.6.2): row direction, column direction, centre of the first voxel of slice ``number``."""
    directions = scan.grid.directions
    ds.ImageOrientationPatient = _decimals([*directions[:, 2], *directions[:, 1]])
    ds.ImagePositionPatient = _decimals((scan.grid.patient_from_index @ [number, 0, 0, 1])[:3])


def _state_slice(ds: Dataset, scan: Scan) -> None:
    ds.PixelSpacing = _decimals(scan.grid.spacing_mm[1:])
    ds.SliceThickness = ds.SpacingBetweenSlices = _decimal(scan.grid.spacing_mm[0])
    ds.SliceLocation = _decimal(float(ds.ImagePositionPatient[2]))


def _set_pixels(ds: Dataset, pixels: np.ndarray, bits: int) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits, bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()


def _round_up(value: float) -> float:
    """Four significant digits, never below ``value``; coarse, so that the last bit of a float does not show."""
    digit = 10.0 ** (np.floor(np.log10(max(value, 1e-6))) - 3)
    return float(f"{np.ceil(max(value, 1e-6) / digit) * digit:.4g}")


def _decimal(value: float) -> str:
    return f"{round(float(value), 6) + 0.0:.10g}"


def _decimals(values: object) -> list[str]:
    return [_decimal(value) for value in np.asarray(values).ravel()]
