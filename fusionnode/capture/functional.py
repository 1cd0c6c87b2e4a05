"""The functional series on the grid of the MRI, with its values, so that a viewer can fuse for itself (middle).

PET becomes PET Image Storage, one instance per slice; SPECT one multi-frame Nuclear Medicine image (docs/adr/0010).
"""

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.valuerep import format_number_as_ds

from fusionnode.capture.clock import choose_offset, move_clock
from fusionnode.capture.describe import NOT_DIAGNOSTIC, describe_resampling
from fusionnode.capture.inherit import copy_valid, inherit_body_part, inherit_patient_and_study, read_text
from fusionnode.capture.references import make_code
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.safety import tell_safety
from fusionnode.capture.stamp import find_local_moment, stamp_equipment, stamp_moment
from fusionnode.domain.volume import Voxels

_STUDY_OF_THE_SCAN = ("PatientWeight", "PatientSize", "PatientAge")


def find_functional(request: CaptureRequest) -> tuple[Dataset, Voxels]:
    """Return the header that speaks for the functional series, and its values on the grid in the window's unit.

    Raises:
        ValueError: the values were not kept: a defect of the caller.
    """
    head, uptake = request.moving_head, request.prepared.uptake
    if head is None or uptake is None:
        raise ValueError("a resampled series needs the functional series and its values")
    return head, uptake


def describe_series_of(request: CaptureRequest, said: Dataset, offset: str, name: str) -> Dataset:
    """Return what every resampled object carries: patient, study and place of the MRI, moments of the functional scan.

    What SUV is computed from is the functional scan's: weight, size, and a Series Date and Time to which the values
    are decay-corrected (PS3.3 C.8.9.1).

    ``said`` is what the functional series says of itself, by the clock of the object (`put_on_clock`), ``offset`` that
    of the clock of its scanner, ``name`` that of the kind of series.
    """
    ds = Dataset()
    inherit_patient_and_study(ds, request.head)
    for keyword in _STUDY_OF_THE_SCAN:
        ds.pop(keyword, None)
        copy_valid(ds, said, keyword)
    shown = choose_offset(request.head, offset)
    ds.pop("TimezoneOffsetFromUTC", None)
    if shown:
        ds.TimezoneOffsetFromUTC = shown
    stamp_equipment(ds, request.software_version)
    stamp_moment(ds, find_local_moment(request.job.moment, shown or offset, request.zone))
    for keyword in ("SeriesDate", "SeriesTime"):
        copy_valid(ds, said, keyword)
    ds.Modality = read_text(said, "Modality")
    ds.SeriesInstanceUID = request.identity.resampled_series_uid
    ds.SeriesNumber = request.pipeline.output.series_number + 2
    ds.SeriesDescription = f"{name} resampled onto the MRI, {NOT_DIAGNOSTIC}"
    ds.DerivationDescription = describe_resampling(request.prepared, request.pipeline, request.software_version)
    ds.DerivationCodeSequence = [make_code(codes.DCM.SpatialResampling)]
    inherit_body_part(ds, request.head)
    tell_safety(ds, request)
    return ds


def put_on_clock(request: CaptureRequest, offset: str, *said: Dataset) -> None:
    """Bring what the functional series says, by the clock of ``offset``, onto that of the objects, in place."""
    shown = choose_offset(request.head, offset)
    for one in said:
        move_clock(one, offset, shown)


def choose_slope(values: Voxels, full_scale: int) -> str:
    """Return the Rescale Slope (DS) with which the largest magnitude of ``values`` is stored as ``full_scale``."""
    peak = float(max(values.max(), -values.min(), 0.0))
    if peak == 0:
        return "1"
    # Ten digits, rounded up: the peak must not be stored as more than there is room for.
    slope = peak / full_scale * (1 + 1e-9)
    return format_number_as_ds(float(f"{slope:.9e}"))


def store_values(values: Voxels, slope: float, dtype: np.dtype[np.integer]) -> NDArray[np.integer]:
    """Return the stored values of ``values`` [..., row, column]: each is off by half of ``slope`` at most."""
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values.astype(np.float64) / slope), limits.min, limits.max).astype(dtype)


def fill_pixels(ds: Dataset, stored: NDArray[np.integer]) -> None:
    """Fill the Image Pixel module with ``stored`` [..., row, column] of 16 bits, signed or not, little endian."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    ds.add_new("PixelData", "OW", np.ascontiguousarray(stored).astype(stored.dtype.newbyteorder("<")).tobytes())


def fill_window(ds: Dataset, request: CaptureRequest) -> None:
    """Fill the VOI LUT module (PS3.3 C.11.2) with the window of the fused pictures, in the object's unit.

    As LINEAR_EXACT: by the default function a window in g/ml would end one whole unit too low (PS3.3 C.11.2.1.2.1).
    """
    window, scale = request.prepared.moving_window, request.prepared.moving_scale
    low, high = window.low / scale, window.high / scale
    ds.WindowCenter, ds.WindowWidth = (format_number_as_ds(value) for value in ((low + high) / 2, high - low))
    ds.VOILUTFunction = "LINEAR_EXACT"
