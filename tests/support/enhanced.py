"""Makes enhanced multi-frame copies of synthetic classic series, pixel by pixel the same."""

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime, timedelta

from pydicom import Dataset
from pydicom.uid import EnhancedMRImageStorage, EnhancedPETImageStorage

_GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_CLASSIC_PET = (
    *("Units", "DecayCorrection", "CorrectedImage", "RescaleSlope", "RescaleIntercept", "SeriesType", "NumberOfSlices"),
    *("ImageIndex", "AcquisitionDate", "AcquisitionTime", "FrameReferenceTime", "ActualFrameDuration", "DecayFactor"),
)
_UNITS = {"BQML": ("Bq/ml", "UCUM"), "GML": ("g/ml{SUVbw}", "UCUM"), "CNTS": ("{counts}", "UCUM")}


def wrap(**attributes: object) -> list[Dataset]:
    """A sequence of one item."""
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return [item]


def make_enhanced_mr(classic: Sequence[Dataset]) -> Dataset:
    """One Enhanced MR object: orientation and spacing shared, position, echo, type and scale per frame."""
    ds = _stack_frames(classic, EnhancedMRImageStorage)
    for frame, single in zip(ds.PerFrameFunctionalGroupsSequence, classic, strict=True):
        frame.MREchoSequence = wrap(EffectiveEchoTime=float(single.EchoTime))
        frame.MRImageFrameTypeSequence = wrap(FrameType=single.ImageType, ComplexImageComponent="MAGNITUDE")
        frame.PixelValueTransformationSequence = wrap(
            RescaleSlope=single.get("RescaleSlope", "1"), RescaleIntercept=single.get("RescaleIntercept", "0")
        )
    return ds


def make_enhanced_pet(classic: Sequence[Dataset]) -> Dataset:
    """One Enhanced PET object with a slope per frame, its unit in a real world value mapping."""
    ds = _stack_frames(classic, EnhancedPETImageStorage)
    head = classic[0]
    value, scheme = _UNITS[head.Units]
    for frame, single in zip(ds.PerFrameFunctionalGroupsSequence, classic, strict=True):
        frame.PETFrameTypeSequence = wrap(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
        frame.PixelValueTransformationSequence = wrap(
            RescaleSlope=single.RescaleSlope, RescaleIntercept=single.RescaleIntercept, RescaleType="US"
        )
        frame.RealWorldValueMappingSequence = wrap(
            RealWorldValueSlope=float(single.RescaleSlope),
            RealWorldValueIntercept=float(single.RescaleIntercept),
            MeasurementUnitsCodeSequence=wrap(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=value),
        )
        _time_pet_frame(frame, single)
    ds.AttenuationCorrected = ds.DecayCorrected = ds.ScatterCorrected = ds.RandomsCorrected = "YES"
    ds.DeadTimeCorrected = ds.DetectorNormalizationCorrection = "YES"
    ds.GantryMotionCorrected = ds.PatientMotionCorrected = ds.CountLossNormalizationCorrected = "NO"
    ds.NonUniformRadialSamplingCorrected = ds.SensitivityCalibrated = "NO"
    ds.DecayCorrectionDateTime = f"{head.SeriesDate}{head.SeriesTime}"
    (drug,) = ds.RadiopharmaceuticalInformationSequence
    drug.RadiopharmaceuticalStartDateTime = f"{head.SeriesDate}{drug.RadiopharmaceuticalStartTime}"
    for keyword in _CLASSIC_PET:
        delattr(ds, keyword)
    return ds


def suffix_moments(ds: Dataset, offset: str) -> None:
    """Let every moment of an enhanced PET state that it is by the clock of ``offset``."""
    [drug] = ds.RadiopharmaceuticalInformationSequence
    drug.RadiopharmaceuticalStartDateTime += offset
    ds.DecayCorrectionDateTime += offset
    for frame in ds.PerFrameFunctionalGroupsSequence:
        [content] = frame.FrameContentSequence
        content.FrameAcquisitionDateTime += offset
        content.FrameReferenceDateTime += offset


def _time_pet_frame(frame: Dataset, single: Dataset) -> None:
    """What a classic image says of its time and decay, in the words of functional groups."""
    [content] = frame.FrameContentSequence
    series = datetime.strptime(f"{single.SeriesDate}{single.SeriesTime[:6]}", "%Y%m%d%H%M%S")  # noqa: DTZ007
    content.FrameAcquisitionDateTime = f"{single.AcquisitionDate}{single.AcquisitionTime}"
    reference = series + timedelta(milliseconds=float(single.FrameReferenceTime))
    content.FrameReferenceDateTime = reference.strftime("%Y%m%d%H%M%S.%f")
    content.FrameAcquisitionDuration = float(single.ActualFrameDuration)
    frame.PETFrameCorrectionFactorsSequence = wrap(DecayFactor=float(single.DecayFactor))


def _stack_frames(classic: Sequence[Dataset], sop_class_uid: str) -> Dataset:
    """The frames with their places, organised by stack and position within it."""
    ds = deepcopy(classic[0])
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class_uid
    ds.NumberOfFrames = len(classic)
    shared = Dataset()
    shared.PlaneOrientationSequence = wrap(ImageOrientationPatient=ds.ImageOrientationPatient)
    shared.PixelMeasuresSequence = wrap(PixelSpacing=ds.PixelSpacing, SliceThickness=ds.SliceThickness)
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [
        _place_frame(single, number) for number, single in enumerate(classic, start=1)
    ]
    ds.DimensionIndexSequence = [
        *wrap(DimensionIndexPointer=0x00209056, FunctionalGroupPointer=0x00209111),
        *wrap(DimensionIndexPointer=0x00209057, FunctionalGroupPointer=0x00209111),
    ]
    ds.DimensionOrganizationSequence = wrap(DimensionOrganizationUID="1.2.3.4")
    for item in ds.DimensionIndexSequence:
        item.DimensionOrganizationUID = "1.2.3.4"
    ds.add_new("PixelData", "OW", b"".join(single.PixelData for single in classic))
    for keyword in _GEOMETRY:
        delattr(ds, keyword)
    return ds


def _place_frame(single: Dataset, number: int) -> Dataset:
    frame = Dataset()
    frame.FrameContentSequence = wrap(StackID="1", InStackPositionNumber=number, DimensionIndexValues=[1, number])
    frame.PlanePositionSequence = wrap(ImagePositionPatient=single.ImagePositionPatient)
    return frame
