import multiprocessing
import struct
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
)

from fusionnode.errors import DatasetUnreadable, Refused, SeriesUnsupported
from fusionnode.volumes.decode import check_pixels, decode_frame
from tests.support.datasets import make_mr_series, make_nm_recon, make_phantom, make_pt_series


def _decode(ds: Dataset) -> np.ndarray[tuple[int, ...], np.dtype[np.integer]]:
    check_pixels(ds)
    return decode_frame(ds, None)


def test_stored_values_come_out_as_they_went_in() -> None:
    np.testing.assert_array_equal(_decode(make_mr_series()[5]), make_phantom((12, 32, 24))[5])


def test_signed_values_stay_signed() -> None:
    ds = make_pt_series()[5]
    ds.PixelData = np.full((32, 24), -7, dtype="<i2").tobytes()
    assert (_decode(ds) == -7).all()


def test_frames_count_from_one() -> None:
    ds = make_nm_recon()
    check_pixels(ds)
    np.testing.assert_array_equal(decode_frame(ds, 3), ds.pixel_array[2])


def test_compression_without_loss_changes_nothing() -> None:
    ds = make_mr_series()[5]
    stored = _decode(ds)
    ds.compress(RLELossless)
    np.testing.assert_array_equal(_decode(ds), stored)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("rows", "columns", "frames"), [(65535, 65535, 1), (16383, 8191, 1), (512, 512, 100000)])
def test_tiny_file_with_huge_claims_is_refused_before_memory_is_taken(
    rows: int, columns: int, frames: int, compressed: bool
) -> None:
    ds = make_mr_series()[0]
    ds.Rows, ds.Columns, ds.NumberOfFrames = rows, columns, frames
    ds.PixelData = b"\0" * 4096
    if compressed:
        ds.PixelData = encapsulate([b"\0" * 4096])
        ds["PixelData"].VR = "OB"
        ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    tracemalloc.start()
    try:
        with pytest.raises(DatasetUnreadable, match="claims"):
            check_pixels(ds)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_single_frame_beyond_all_need_is_refused_however_well_it_may_compress() -> None:
    ds = make_mr_series()[0]
    ds.Rows = ds.Columns = 20000
    ds.PixelData = encapsulate([b"\0" * 65536])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    with pytest.raises(DatasetUnreadable, match="more than is ever needed"):
        check_pixels(ds)


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [
        (JPEG2000Lossless, b"\xff\x4f\xff\x51" + struct.pack(">HH4I", 47, 0, 65535, 65535, 0, 0)),
        (JPEGLSLossless, b"\xff\xd8\xff\xf7" + struct.pack(">HBHH", 11, 16, 65535, 65535)),
        (JPEGLossless, b"\xff\xd8\xff\xc3" + struct.pack(">HBHH", 11, 16, 65535, 65535)),
    ],
)
def test_codestream_that_claims_more_than_the_header_is_refused_before_it_is_decoded(syntax: str, frame: bytes) -> None:
    ds = make_mr_series()[0]
    ds.PixelData = encapsulate([frame + b"\0" * 4000])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = syntax
    with pytest.raises(DatasetUnreadable, match=r"holds \(65535, 65535\) pixels where \(32, 24\) are claimed"):
        _decode(ds)


def test_truncated_pixels_are_refused() -> None:
    ds = make_mr_series()[0]
    ds.PixelData = ds.PixelData[:-2]
    with pytest.raises(DatasetUnreadable, match="holds 1534"):
        check_pixels(ds)


@pytest.mark.parametrize(("keyword", "value"), [("SamplesPerPixel", 3), ("PhotometricInterpretation", "MONOCHROME1")])
def test_colour_and_inverted_pixels_are_refused(keyword: str, value: object) -> None:
    ds = make_mr_series()[0]
    setattr(ds, keyword, value)
    with pytest.raises(SeriesUnsupported):
        check_pixels(ds)


@pytest.mark.parametrize("keyword", ["PixelData", "BitsAllocated", "Rows", "SamplesPerPixel"])
def test_missing_attribute_is_refused(keyword: str) -> None:
    ds = make_mr_series()[0]
    delattr(ds, keyword)
    with pytest.raises(DatasetUnreadable):
        check_pixels(ds)


@pytest.mark.parametrize("syntax", ["1.2.3.4", None])
def test_unknown_transfer_syntax_is_refused(syntax: str | None) -> None:
    ds = make_mr_series()[0]
    del ds.file_meta.TransferSyntaxUID
    if syntax:
        ds.file_meta.TransferSyntaxUID = syntax
    with pytest.raises(DatasetUnreadable, match="transfer syntax"):
        check_pixels(ds)


def test_undecodable_syntax_is_named() -> None:
    ds = make_mr_series()[0]
    ds.PixelData = encapsulate([b"\xff\xd8" + b"\1" * 500])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    with pytest.raises(DatasetUnreadable, match=str(JPEGExtended12Bit)):
        _decode(ds)


_RAMP = (np.arange(32 * 24) // 4).astype(np.uint8).reshape(32, 24)


def _make_jpeg(mode: str = "L") -> bytes:
    buffer = BytesIO()
    Image.fromarray(_RAMP).convert(mode).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _wrap_eight_bit(frame: bytes, syntax: UID) -> Dataset:
    ds = make_mr_series()[0]
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


def _insert_stray_byte(frame: bytes) -> bytes:
    return frame[:2] + b"A" + frame[2:]


def _spoil_huffman_table(frame: bytes) -> bytes:
    table = frame.index(b"\xff\xc4") + 5
    return frame[:table] + b"\xff" * 16 + frame[table + 16 :]


def _cut_in_half(frame: bytes) -> bytes:
    return frame[: len(frame) // 2]


def _tell_outcome(ds: Dataset) -> None:
    """Exit with 3 where the object is refused; run in a process of its own, since a decoder may end the process."""
    try:
        _decode(ds)
    except DatasetUnreadable:
        raise SystemExit(3) from None


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit])
def test_eight_bit_jpeg_is_decoded(syntax: UID) -> None:
    found = _decode(_wrap_eight_bit(_make_jpeg(), syntax))
    assert np.abs(found.astype(int) - _RAMP).max() <= 2


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLSLossless])
@pytest.mark.parametrize("damage", [_insert_stray_byte, _spoil_huffman_table, _cut_in_half])
def test_damaged_jpeg_is_refused_and_does_not_end_the_process(damage: Callable[[bytes], bytes], syntax: UID) -> None:
    ds = _wrap_eight_bit(damage(_make_jpeg()), syntax)
    process = multiprocessing.get_context("fork").Process(target=_tell_outcome, args=(ds,))
    process.start()
    process.join(30)
    assert process.exitcode == 3


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_jpeg_with_colour_is_refused_where_one_channel_is_claimed(mode: str) -> None:
    with pytest.raises(DatasetUnreadable):
        _decode(_wrap_eight_bit(_make_jpeg(mode), JPEGBaseline8Bit))


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGLossless, JPEGBaseline8Bit])
def test_frame_that_does_not_say_its_size_is_refused_undecoded(syntax: UID) -> None:
    with pytest.raises(DatasetUnreadable, match="does not say its size"):
        _decode(_wrap_eight_bit(b"\0" * 500, syntax))


@pytest.mark.real_data
@pytest.mark.parametrize("image", ["MR1", "MR3", "MR4", "NM1", "CT1"])
@pytest.mark.parametrize("syntax", ["J2KR", "JLSL", "JPLL", "RLE"])
def test_lossless_syntaxes_decode_to_the_reference(real_data: Path, image: str, syntax: str) -> None:
    folder = real_data / "compressed_wg04"
    reference = _decode(dcmread(folder / f"{image}_UNC.dcm"))
    np.testing.assert_array_equal(_decode(dcmread(folder / f"{image}_{syntax}.dcm")), reference)


@pytest.mark.real_data
@pytest.mark.parametrize("image", ["MR1", "MR3", "MR4", "NM1", "CT1"])
@pytest.mark.parametrize("syntax", ["J2KI", "JLSN"])
def test_lossy_syntaxes_decode_close_to_the_reference(real_data: Path, image: str, syntax: str) -> None:
    folder = real_data / "compressed_wg04"
    reference = _decode(dcmread(folder / f"{image}_UNC.dcm")).astype(np.int64)
    found = _decode(dcmread(folder / f"{image}_{syntax}.dcm")).astype(np.int64)
    assert np.abs(found - reference).mean() < 0.02 * np.ptp(reference)


@pytest.mark.real_data
@pytest.mark.parametrize("image", ["MR1", "MR3", "MR4", "NM1"])
def test_twelve_bit_jpeg_is_refused_by_the_name_of_its_syntax(real_data: Path, image: str) -> None:
    with pytest.raises(DatasetUnreadable, match=r"JPEG Extended \(Process 2 and 4\)"):
        _decode(dcmread(real_data / "compressed_wg04" / f"{image}_JPLY.dcm"))


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore")
def test_hostile_files_decode_or_are_refused(real_data: Path) -> None:
    outcomes = {"decoded": 0, "refused": 0}
    for path in sorted((real_data / "robustness").rglob("*.dcm")):
        try:
            ds = dcmread(path, force=True)
        except (RecursionError, ValueError, OSError):
            continue  # reading files is another chapter's business
        try:
            _decode(ds)
            outcomes["decoded"] += 1
        except Refused:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 10
