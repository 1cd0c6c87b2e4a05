"""The last look at a blending presentation state: that a viewer would show what was fused (middle).

Every image's window is applied as the Standard says, to the stored values, and must come out at that of the pair.
"""

from collections.abc import Sequence

import numpy as np
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import EnhancedPETImageStorage

from fusionnode.capture.demands import refuse, require_equal, require_values, require_words
from fusionnode.capture.request import CaptureRequest
from fusionnode.domain.volume import SourceFrame

_TYPE_1 = (
    "PresentationCreationDate",
    "PresentationCreationTime",
    "ContentLabel",
    "SeriesDescription",
    "BlendingSequence",
    "RelativeOpacity",
    "DisplayedAreaSelectionSequence",
    "ICCProfile",
)
_UNITS = ("BQML", "GML", "CNTS", "PROPCPS")
_TOLERANCE = 1e-5
"""Of the width of a window: what a decimal string of sixteen letters may cost."""


def verify_blending(ds: Dataset, request: CaptureRequest) -> None:
    """Refuse unless ``ds`` names both series whole, with the windows of the pair, its palette and its registration.

    Raises:
        CaptureInvalid: with the attribute, what was expected and what was found.
    """
    prepared = request.prepared
    require_values(ds, *_TYPE_1)
    require_words(ds, "SeriesDescription")
    require_equal(ds, "Modality", "PR", ds.Modality)
    require_equal(
        ds, "BlendingSequence", ["UNDERLYING", "SUPERIMPOSED"], [i.BlendingPosition for i in ds.BlendingSequence]
    )
    window = prepared.fixed_window
    _verify_layer(ds, 0, prepared.fixed_sources, (window.low, window.high), request)
    window, scale = prepared.moving_window, prepared.moving_scale
    _verify_layer(ds, 1, prepared.moving_sources, (window.low / scale, window.high / scale), request)
    opacity = request.pipeline.output.opacity
    if not np.isclose(float(ds.RelativeOpacity), opacity, rtol=1e-6):
        raise refuse(ds, "RelativeOpacity", opacity, ds.RelativeOpacity)
    _verify_registration(ds, request)
    _verify_palette(ds)


def _verify_layer(
    ds: Dataset, index: int, sources: Sequence[SourceFrame], limits: tuple[float, float], request: CaptureRequest
) -> None:
    item = ds.BlendingSequence[index]
    head = request.header_of(sources[0])
    require_equal(ds, "StudyInstanceUID", head.StudyInstanceUID, item.StudyInstanceUID)
    [series] = item.ReferencedSeriesSequence
    require_equal(ds, "SeriesInstanceUID", head.SeriesInstanceUID, series.SeriesInstanceUID)
    expected = {source.sop_instance_uid for source in sources}
    found = {image.ReferencedSOPInstanceUID for image in series.ReferencedImageSequence}
    require_equal(ds, "ReferencedImageSequence", sorted(expected), sorted(found))
    for source in sources:
        _verify_window(ds, item, source, limits, request)


def _verify_window(
    ds: Dataset, item: Dataset, source: SourceFrame, limits: tuple[float, float], request: CaptureRequest
) -> None:
    windows = [one for one in item.SoftcopyVOILUTSequence if _applies_to(one, source)]
    require_equal(ds, "SoftcopyVOILUTSequence", 1, len(windows))
    [window] = windows
    require_equal(ds, "VOILUTFunction", "LINEAR_EXACT", window.VOILUTFunction)
    half = float(window.WindowWidth) / 2
    ends = np.asarray([float(window.WindowCenter) - half, float(window.WindowCenter) + half])
    stored = (ends - float(item.RescaleIntercept)) / float(item.RescaleSlope)
    slope, intercept = _find_rescale(request.header_of(source), source.frame_number)
    error = float(np.abs(stored * slope + intercept - limits).max())
    if not error <= _TOLERANCE * (limits[1] - limits[0]):
        raise refuse(ds, "SoftcopyVOILUTSequence", f"a window of {limits}", f"one that is {error:.4g} off")


def _applies_to(window: Dataset, source: SourceFrame) -> bool:
    if "ReferencedImageSequence" not in window:
        return True
    for image in window.ReferencedImageSequence:
        if image.ReferencedSOPInstanceUID == source.sop_instance_uid:
            frames = np.atleast_1d(image.get("ReferencedFrameNumber") or [])
            return frames.size == 0 or source.frame_number in frames.astype(int)
    return False


def _find_rescale(header: Dataset, frame_number: int | None) -> tuple[float, float]:
    """What a reader of the image itself would multiply and add."""
    place = header
    groups = list(header.get("SharedFunctionalGroupsSequence") or [])
    if frame_number is not None and "PerFrameFunctionalGroupsSequence" in header:
        groups.append(header.PerFrameFunctionalGroupsSequence[frame_number - 1])
    for group in groups:
        place = (group.get("PixelValueTransformationSequence") or [place])[0]
    mappings = [one for group in reversed(groups) for one in group.get("RealWorldValueMappingSequence") or []]
    linear = [one for one in mappings if "RealWorldValueSlope" in one]
    if linear and header.SOPClassUID == EnhancedPETImageStorage and place.get("RescaleType") not in _UNITS:
        return float(linear[0].RealWorldValueSlope), float(linear[0].RealWorldValueIntercept)
    return float(place.get("RescaleSlope") or 1), float(place.get("RescaleIntercept") or 0)


def _verify_registration(ds: Dataset, request: CaptureRequest) -> None:
    studies = ds.get("ReferencedSpatialRegistrationSequence") or []
    series = [one for study in studies for one in study.ReferencedSeriesSequence]
    found = [str(one.ReferencedSOPInstanceUID) for group in series for one in group.ReferencedSOPSequence]
    expected = [str(request.identity.registration_uid)] if request.frames_differ else []
    require_equal(ds, "ReferencedSpatialRegistrationSequence", expected, found)


def _verify_palette(ds: Dataset) -> None:
    """The colours must be those of the well-known palette that is named, or plain grey."""
    ramp = np.arange(256, dtype=np.uint8)
    shown = apply_color_lut(ramp, ds)
    uid = ds.get("PaletteColorLookupTableUID")
    expected = np.repeat(ramp[:, None], 3, axis=1) if uid is None else apply_color_lut(ramp, palette=str(uid))
    if not np.array_equal(np.rint(shown / 257).astype(int), expected.astype(int)):
        raise refuse(ds, "RedPaletteColorLookupTableData", "the colours of the palette", "other colours")
