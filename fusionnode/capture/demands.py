"""What the last look at an object asks for, and the refusal when it is not so (middle)."""

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from fusionnode.domain.grid import Grid
from fusionnode.domain.uids import parse_uid
from fusionnode.errors import CaptureInvalid, UidMalformed
from fusionnode.malformed import NOT_CODABLE

TOLERANCE_MM = 1e-3
# Named, so that the answer does not depend on what else is installed; what is not compressed needs none.
_DECODERS = {RLELossless: "pylibjpeg", JPEG2000Lossless: "pylibjpeg", JPEGLSLossless: "pyjpegls"}


def require_equal(ds: Dataset | None, attribute: str, expected: object, found: object) -> None:
    """Refuse unless both are equal.

    Raises:
        CaptureInvalid: with the attribute, what was expected and what was found.
    """
    if expected != found:
        raise refuse(ds, attribute, expected, found)


def require_values(ds: Dataset, *keywords: str) -> None:
    """Refuse unless every attribute is there and not empty.

    Raises:
        CaptureInvalid: naming the first that is not.
    """
    for keyword in keywords:
        if keyword not in ds or ds[keyword].is_empty:
            raise refuse(ds, keyword, "a value", "nothing")


def require_uid(ds: Dataset, keyword: str) -> None:
    """Refuse unless the attribute is a valid UID.

    Raises:
        CaptureInvalid: it is not.
    """
    try:
        parse_uid(str(ds[keyword].value))
    except UidMalformed as error:
        raise refuse(ds, keyword, "a valid UID", str(ds[keyword].value)[:80]) from error


def require_words(ds: Dataset, *keywords: str) -> None:
    """Refuse unless each text says that the object is not for primary diagnosis.

    Raises:
        CaptureInvalid: one of them does not.
    """
    for keyword in keywords:
        if "not for primary diagnosis" not in str(ds.get(keyword, "")).lower():
            raise refuse(ds, keyword, "the words 'not for primary diagnosis'", "other words")


def require_place(ds: Dataset, index: int, grid: Grid) -> None:
    """Refuse unless three corners, by PS3.3 C.7.6.2.1.1, lie where the grid has them in slice ``index``.

    ``ds`` holds Image Position, Image Orientation and Pixel Spacing: an image, or the gathered groups of a frame.

    Raises:
        CaptureInvalid: they do not, to within `TOLERANCE_MM`.
    """
    _, rows, columns = grid.shape
    corners = np.asarray([[0, 0], [rows - 1, 0], [0, columns - 1]], dtype=np.float64)
    expected = grid.points_mm(np.column_stack([np.full(3, float(index)), corners]))
    error_mm = float(np.abs(_place_pixels_mm(ds, corners) - expected).max())
    if not error_mm <= TOLERANCE_MM:
        raise refuse(ds, "ImagePositionPatient", f"within {TOLERANCE_MM} mm of the MRI", f"{error_mm:.4g} mm off")
    # One pixel alone has no corners to compare, so the spacing is compared for itself.
    require_spacing(ds, "PixelSpacing", grid.spacing_mm[1:])


def require_spacing(ds: Dataset, keyword: str, expected_mm: tuple[float, ...]) -> None:
    """Refuse unless the distances are ``expected_mm`` to within `TOLERANCE_MM`.

    Raises:
        CaptureInvalid: they are not.
    """
    found = np.atleast_1d(np.asarray(ds[keyword].value, dtype=np.float64))
    if found.shape != (len(expected_mm),) or not np.allclose(found, expected_mm, rtol=0, atol=TOLERANCE_MM):
        raise refuse(ds, keyword, list(expected_mm), found.tolist())


def decode_pixels(ds: Dataset, frame: int | None = None) -> NDArray[np.integer]:
    """Return the stored values of one frame (from 0), or of an image of one frame; nothing is kept with ``ds``.

    Raises:
        CaptureInvalid: they cannot be decoded.
    """
    try:
        decoder = _DECODERS.get(ds.file_meta.TransferSyntaxUID, "")
        found: NDArray[np.integer] = pixel_array(ds, index=frame, decoding_plugin=decoder)
    except NOT_CODABLE as error:
        raise refuse(ds, "PixelData", "pixels that decode", type(error).__name__) from error
    return found


def refuse(ds: Dataset | None, attribute: str, expected: object, found: object) -> CaptureInvalid:
    """Return the error for an object whose ``attribute`` is wrong; values that identify the patient stay out of it."""
    uid = "" if ds is None else str(ds.get("SOPInstanceUID", ""))
    return CaptureInvalid(
        f"An object to be sent has the wrong {attribute}: expected {expected}, found {found}.",
        remedy="Nothing was sent. Report this with the job id; it is a defect of the program or of its sources.",
        attribute=attribute,
        expected=expected,
        found=found,
        sop_instance_uid=uid,
    )


def _place_pixels_mm(ds: Dataset, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    position, orientation, spacing = (
        np.asarray(ds[keyword].value, dtype=np.float64)
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    )
    down, across = orientation[3:] * spacing[0], orientation[:3] * spacing[1]
    placed: NDArray[np.float64] = position + pixels[:, :1] * down + pixels[:, 1:] * across
    return placed
