import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from fusionnode.capture.demands import (
    decode_pixels,
    require_equal,
    require_place,
    require_spacing,
    require_uid,
    require_values,
    require_words,
)
from fusionnode.domain.grid import Grid
from fusionnode.errors import CaptureInvalid
from tests.support.datasets import Layout, make_mr_series

LAYOUT = Layout(slices=3)


def read_slice(index: int = 1) -> Dataset:
    return make_mr_series(LAYOUT)[index]


def test_a_slice_in_its_place_is_let_pass_and_one_beside_it_refused() -> None:
    require_place(read_slice(), 1, LAYOUT.grid)
    with pytest.raises(CaptureInvalid, match=r"3 mm off"):
        require_place(read_slice(), 2, LAYOUT.grid)


def test_a_mirrored_slice_is_refused() -> None:
    ds = read_slice()
    ds.ImageOrientationPatient = ["-1", "0", "0", "0", "1", "0"]
    with pytest.raises(CaptureInvalid):
        require_place(ds, 1, LAYOUT.grid)


def test_the_spacing_of_a_single_pixel_is_compared_too() -> None:
    ds = read_slice()
    grid = Grid.from_axes((3, 1, 1), LAYOUT.grid.origin_mm, LAYOUT.grid.directions, (3.0, 2.0, 1.25))
    with pytest.raises(CaptureInvalid, match="PixelSpacing"):
        require_place(ds, 1, grid)
    require_spacing(ds, "SpacingBetweenSlices", (3.0,))


def test_what_is_missing_unequal_or_malformed_is_named() -> None:
    ds = read_slice()
    ds.PatientComments = ""
    ds.StudyInstanceUID = "1.02"
    for demand in (
        lambda: require_values(ds, "Modality", "PatientComments"),
        lambda: require_values(ds, "ImageComments"),
        lambda: require_equal(ds, "Rows", 1, 2),
        lambda: require_uid(ds, "StudyInstanceUID"),
        lambda: require_words(ds, "SeriesDescription"),
    ):
        with pytest.raises(CaptureInvalid) as refusal:
            demand()
        assert refusal.value.facts["sop_instance_uid"] == ds.SOPInstanceUID


def test_pixels_that_do_not_decode_are_refused() -> None:
    ds = read_slice()
    np.testing.assert_array_equal(decode_pixels(ds), ds.pixel_array)
    ds.PixelData = ds.PixelData[:10]
    with pytest.raises(CaptureInvalid, match="PixelData"):
        decode_pixels(ds)


def test_pixels_whose_size_is_malformed_are_refused_as_well() -> None:
    ds = read_slice()
    ds[0x0028, 0x0010] = RawDataElement(BaseTag(0x00280010), "US", 3, b"\1\0\1", 0, False, True)
    with pytest.raises(CaptureInvalid, match=r"PixelData.*BytesLengthException"):
        decode_pixels(ds)
