"""How to lay the functional series over the MRI, told to viewers that can: a blending presentation state (middle).

PS3.3 A.33.4 and C.11.14, as the IHE profile Image Fusion asks for it: it names both source series, the registration
between them, the window of each, a palette and an opacity. What the images say of their slope does not count here
(PS3.4 N.2): one that all have in common is given as Modality LUT; where it changes from slice to slice, as it does with
PET, that is the identity, and every slope has a window of its own in stored values.
"""

from collections.abc import Sequence

import numpy as np
from PIL import ImageCms
from pydicom import Dataset
from pydicom.uid import BlendingSoftcopyPresentationStateStorage
from pydicom.valuerep import format_number_as_ds

from fusionnode.capture.begin import Beginning, begin_object
from fusionnode.capture.describe import NOT_DIAGNOSTIC
from fusionnode.capture.frames import find_mapping, list_group_items
from fusionnode.capture.inherit import read_text
from fusionnode.capture.references import InstanceReference, list_references
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.sources import list_registrations
from fusionnode.capture.stamp import format_date, format_time
from fusionnode.domain.images import Window
from fusionnode.domain.terms import MANUFACTURER
from fusionnode.domain.volume import SourceFrame
from fusionnode.pipeline.palettes import WELL_KNOWN_UIDS, palette_table
from fusionnode.pipeline.schema import OutputGrid

_PROFILE_DATED = slice(24, 36)
"""Where an ICC profile tells when it was made (ICC.1, 7.2.8)."""


def build_blending(request: CaptureRequest) -> Dataset:
    """Return the presentation state of the job; it refers to the source series, not to what was made of them.

    Raises:
        CaptureInvalid: the MRI identifies its patient or study in a way that cannot be carried over.
    """
    identity, prepared = request.identity, request.prepared
    ds = begin_object(
        request,
        Beginning(
            BlendingSoftcopyPresentationStateStorage,
            identity.blending_uid,
            identity.blending_series_uid,
            "PR",
            f"Blending of both series, {NOT_DIAGNOSTIC}",
            after=4,
        ),
    )
    del ds.ContentDate, ds.ContentTime
    ds.PresentationCreationDate, ds.PresentationCreationTime = format_date(request.moment), format_time(request.moment)
    ds.ContentLabel = "FUSION_BLENDING"
    ds.ContentDescription = "Functional series over the MRI, in colour"
    ds.ContentCreatorName = f"{MANUFACTURER}^automatic"  # a person's name, says the VR
    ds.BlendingSequence = [
        _make_layer(request, "UNDERLYING", prepared.fixed_sources, prepared.fixed_window),
        _make_layer(request, "SUPERIMPOSED", prepared.moving_sources, _find_source_window(request)),
    ]
    ds.RelativeOpacity = request.pipeline.output.opacity
    registrations = list_registrations(request)
    if registrations:
        ds.ReferencedSpatialRegistrationSequence = [_refer_by_study(registrations)]
    ds.DisplayedAreaSelectionSequence = [_show_everything(request)]
    _fill_palette(ds, request)
    return ds


def read_rescale(header: Dataset, frame_number: int | None) -> tuple[float, float]:
    """Return Rescale Slope and Intercept of a frame (from 1) or an image; 1 and 0 where there are none.

    Enhanced objects have them in their functional groups, the frame's own before the shared ones (PS3.3 C.7.6.16.2.9);
    what is said here of enhanced PET is the mapping by which its values got their unit, where there is one.
    """
    mapping = find_mapping(header, frame_number)
    if mapping is not None:
        return float(mapping.RealWorldValueSlope), float(mapping.RealWorldValueIntercept)
    for place in (header, *list_group_items(header, frame_number, "PixelValueTransformationSequence")):
        if read_text(place, "RescaleSlope"):
            return float(place.RescaleSlope), float(read_text(place, "RescaleIntercept") or 0)
    return 1.0, 0.0


def _find_source_window(request: CaptureRequest) -> Window:
    window, scale = request.prepared.moving_window, request.prepared.moving_scale
    return Window(window.low / scale, window.high / scale, window.unit)


def _make_layer(request: CaptureRequest, position: str, sources: Sequence[SourceFrame], window: Window) -> Dataset:
    references = list_references(request, sources)
    item = Dataset()
    item.BlendingPosition = position
    item.StudyInstanceUID = references[0].study_instance_uid
    series = Dataset()
    series.SeriesInstanceUID = references[0].series_instance_uid
    series.ReferencedImageSequence = [reference.make_item() for reference in references]
    item.ReferencedSeriesSequence = [series]
    groups: dict[tuple[float, float], list[SourceFrame]] = {}
    for source in sources:
        groups.setdefault(read_rescale(request.header_of(source), source.frame_number), []).append(source)
    slope, intercept = next(iter(groups)) if len(groups) == 1 else (1.0, 0.0)
    item.RescaleSlope, item.RescaleIntercept = format_number_as_ds(slope), format_number_as_ds(intercept)
    item.RescaleType = "US"  # unspecified
    if len(groups) == 1:
        item.SoftcopyVOILUTSequence = [_make_window(window.low, window.high)]
    else:
        item.SoftcopyVOILUTSequence = [_make_window_of(request, *entry, window) for entry in groups.items()]
    return item


def _make_window_of(
    request: CaptureRequest, rescale: tuple[float, float], members: Sequence[SourceFrame], window: Window
) -> Dataset:
    slope, intercept = rescale
    item = _make_window((window.low - intercept) / slope, (window.high - intercept) / slope)
    item.ReferencedImageSequence = [one.make_item() for one in list_references(request, members)]
    return item


def _make_window(low: float, high: float) -> Dataset:
    """As LINEAR_EXACT, which maps ``low`` to black and ``high`` to full scale (PS3.3 C.11.2.1.3.2)."""
    item = Dataset()
    item.WindowCenter = format_number_as_ds((low + high) / 2)
    item.WindowWidth = format_number_as_ds(high - low)
    item.VOILUTFunction = "LINEAR_EXACT"
    return item


def _refer_by_study(references: Sequence[InstanceReference]) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = references[0].study_instance_uid
    series = Dataset()
    series.SeriesInstanceUID = references[0].series_instance_uid
    series.ReferencedSOPSequence = [reference.make_item() for reference in references]
    item.ReferencedSeriesSequence = [series]
    return item


def _show_everything(request: CaptureRequest) -> Dataset:
    """All of the MRI as it was sent, whatever grid the pictures lie on; if another, its pixels are taken as square."""
    head = request.head
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [int(head.Columns), int(head.Rows)]
    area.PresentationSizeMode = "SCALE TO FIT"
    if request.pipeline.output.grid is OutputGrid.MRI:
        area.PresentationPixelSpacing = [format_number_as_ds(value) for value in request.prepared.grid.spacing_mm[1:]]
    else:
        area.PresentationPixelAspectRatio = [1, 1]
    return area


def _fill_palette(ds: Dataset, request: CaptureRequest) -> None:
    """Palette Color Lookup Table and ICC Profile modules (PS3.3 C.7.9, C.11.15): 16 bits per entry, sRGB."""
    palette = request.pipeline.fusion.palette
    entries = np.rint(palette_table(palette) * 65535).astype("<u2")
    for channel, name in enumerate(("Red", "Green", "Blue")):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{name}PaletteColorLookupTableData", entries[:, channel].tobytes())
    if palette in WELL_KNOWN_UIDS:
        ds.PaletteColorLookupTableUID = WELL_KNOWN_UIDS[palette]
    ds.ICCProfile = make_srgb_profile()


def make_srgb_profile() -> bytes:
    """Return an ICC profile of sRGB, the same bytes every time: it is not dated by the clock."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_PROFILE_DATED] = b"".join(number.to_bytes(2, "big") for number in (2000, 1, 1, 0, 0, 0))
    return bytes(profile) + b"\0" * (len(profile) % 2)
