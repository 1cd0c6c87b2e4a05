"""Cases with the multi-frame copies of the classic series (pure). PS3.3 A.36, A.56 and C.7.6.16."""

from collections.abc import Callable

from pydicom import Dataset
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
)

from dicom_samples.edge_cases.study import Builder, Files, Study, files

_MOVED = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SliceLocation",
    "RescaleSlope",
    "RescaleIntercept",
    "EchoTime",
    "AcquisitionNumber",
)
_PET_ONLY = ("Units", "SeriesType", "NumberOfSlices", "ImageIndex", "FrameReferenceTime", "DecayFactor")


def convert(datasets: list[Dataset], sop_class: UID, instance_uid: str) -> Dataset:
    """Return one multi-frame object with the pixels and the geometry of a classic series, frame n from slice n."""
    ds = Dataset()
    ds.update(datasets[0])
    ds.file_meta = datasets[0].file_meta
    for keyword in (*_MOVED, *_PET_ONLY):
        if keyword in ds:
            delattr(ds, keyword)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.InstanceNumber = sop_class, instance_uid, 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.NumberOfFrames = len(datasets)
    ds.PixelData = b"".join(one.PixelData for one in datasets)
    ds.SharedFunctionalGroupsSequence = [_share(datasets[0])]
    ds.PerFrameFunctionalGroupsSequence = [_describe_frame(one, index) for index, one in enumerate(datasets, start=1)]
    return ds


def _item(**values: object) -> list[Dataset]:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return [ds]


def _share(head: Dataset) -> Dataset:
    shared = Dataset()
    shared.PixelMeasuresSequence = _item(
        PixelSpacing=head.PixelSpacing,
        SliceThickness=head.SliceThickness,
        SpacingBetweenSlices=head.SpacingBetweenSlices,
    )
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=head.ImageOrientationPatient)
    kind = _item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], PixelPresentation="MONOCHROME")
    if head.Modality == "MR":
        kind[0].ComplexImageComponent, kind[0].AcquisitionContrast = "MAGNITUDE", "T1"
        shared.MRImageFrameTypeSequence = kind
        shared.MREchoSequence = _item(EffectiveEchoTime=float(head.EchoTime))
    else:
        shared.PETFrameTypeSequence = kind
    return shared


def _describe_frame(ds: Dataset, number: int) -> Dataset:
    groups = Dataset()
    groups.FrameContentSequence = _item(
        StackID="1", InStackPositionNumber=number, DimensionIndexValues=[1, number], FrameAcquisitionNumber=1
    )
    groups.PlanePositionSequence = _item(ImagePositionPatient=ds.ImagePositionPatient)
    groups.PixelValueTransformationSequence = _item(
        RescaleIntercept=ds.get("RescaleIntercept", "0"), RescaleSlope=ds.get("RescaleSlope", "1"), RescaleType="US"
    )
    return groups


def _copy_mr(sop_class: UID) -> Builder:
    return lambda study: files(mr=[convert(study.mr(), sop_class, study.uid("mr", "enhanced"))], pt=study.pet())


def _copy_both(study: Study) -> Files:
    """The classic series and its enhanced copy under one series UID, as one scanner exports both."""
    enhanced = convert(study.mr(), EnhancedMRImageStorage, study.uid("mr", "enhanced"))
    return files(mr=[*study.mr(), enhanced], pt=study.pet())


def _copy_pet(study: Study) -> Files:
    """The units stand where Enhanced PET has them: in the mapping to real-world values (PS3.3 C.7.6.16.2.11)."""
    enhanced = convert(study.pet(), EnhancedPETImageStorage, study.uid("pt", "enhanced"))
    unit = _item(CodeValue="Bq/ml", CodingSchemeDesignator="UCUM", CodeMeaning="Becquerels/milliliter")
    for groups in enhanced.PerFrameFunctionalGroupsSequence:
        scale = groups.PixelValueTransformationSequence[0]
        groups.RealWorldValueMappingSequence = _item(
            RealWorldValueFirstValueMapped=-32768,
            RealWorldValueLastValueMapped=32767,
            RealWorldValueSlope=float(scale.RescaleSlope),
            RealWorldValueIntercept=float(scale.RescaleIntercept),
            LUTLabel="BQML",
            LUTExplanation="activity concentration",
            MeasurementUnitsCodeSequence=unit,
        )
    enhanced.AttenuationCorrected, enhanced.DecayCorrected = "YES", "YES"
    enhanced.DecayCorrectionDateTime = "20250310110000"
    return files(mr=study.mr(), pt=[enhanced])


def _spoil_enhanced(change: Callable[[Dataset], None]) -> Builder:
    def build(study: Study) -> Files:
        enhanced = convert(study.mr(), EnhancedMRImageStorage, study.uid("mr", "enhanced"))
        change(enhanced)
        return files(mr=[enhanced], pt=study.pet())

    return build


def _split_stacks(ds: Dataset) -> None:
    """The upper half of the frames belongs to a second stack that lies elsewhere."""
    for groups in ds.PerFrameFunctionalGroupsSequence[8:]:
        groups.FrameContentSequence[0].StackID = "2"
        place = groups.PlanePositionSequence[0].ImagePositionPatient
        place[0] = float(place[0]) + 30


def _lose_group(ds: Dataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence[7]


CASES: dict[str, Builder] = {
    "enhanced-mr": _copy_mr(EnhancedMRImageStorage),
    "legacy-converted-mr": _copy_mr(LegacyConvertedEnhancedMRImageStorage),
    "enhanced-beside-classic": _copy_both,
    "enhanced-pet": _copy_pet,
    "enhanced-two-stacks": _spoil_enhanced(_split_stacks),
    "enhanced-group-missing": _spoil_enhanced(_lose_group),
}
