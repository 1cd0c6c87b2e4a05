import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from fusionnode.errors import DatasetUnreadable, Refused, SeriesUnsupported
from fusionnode.volumes.assemble import assemble_volume
from fusionnode.volumes.decode import FrameDecoder, check_pixels
from fusionnode.volumes.decode_apart import DecodingBounds
from tests.support.compressed import (
    RAMP,
    SYNTAXES,
    damage,
    make_compressed,
    make_deadly,
    make_jpeg,
    put_codestream,
    read_public,
    take_codestream,
    wrap_eight_bit,
)
from tests.support.datasets import make_mr_series, make_nm_recon, make_phantom, make_pt_series

_DECODER = FrameDecoder()
"""One for all that end no process, as one serves all frames of a volume; to start one costs more than to decode."""


@pytest.fixture(scope="module", autouse=True)
def _end_decoder() -> Iterator[None]:
    with _DECODER:
        yield


def _decode(ds: Dataset) -> np.ndarray[tuple[int, ...], np.dtype[np.integer]]:
    check_pixels(ds)
    return _DECODER.decode(ds, None)


def test_stored_values_come_out_as_they_went_in() -> None:
    np.testing.assert_array_equal(_decode(make_mr_series()[5]), make_phantom((12, 32, 24))[5])


def test_signed_values_stay_signed() -> None:
    ds = make_pt_series()[5]
    ds.PixelData = np.full((32, 24), -7, dtype="<i2").tobytes()
    assert (_decode(ds) == -7).all()


@pytest.mark.parametrize(("vr", "found"), [("LW", "PixelData"), ("US", "no bytes")])
def test_pixels_of_another_representation_are_refused(vr: str, found: str) -> None:
    ds = make_mr_series()[0]
    raw = RawDataElement(ds["PixelData"].tag, vr, len(ds.PixelData), ds.PixelData, 0, False, True)
    ds[raw.tag] = raw
    with pytest.raises(DatasetUnreadable, match=found):
        check_pixels(ds)


def test_frames_count_from_one() -> None:
    ds = make_nm_recon()
    check_pixels(ds)
    with FrameDecoder() as decoder:
        np.testing.assert_array_equal(decoder.decode(ds, 3), ds.pixel_array[2])


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
        (JPEG2000Lossless, b"\xff\x4f\xff\x51" + struct.pack(">HH8IH", 47, 0, 65535, 65535, *(0,) * 6, 1)),
        (JPEGLSLossless, b"\xff\xd8\xff\xf7" + struct.pack(">HBHHB", 11, 16, 65535, 65535, 1)),
        (JPEGLossless, b"\xff\xd8\xff\xc3" + struct.pack(">HBHHB", 11, 16, 65535, 65535, 1)),
    ],
)
def test_codestream_that_claims_more_than_the_header_is_refused_before_it_is_decoded(syntax: str, frame: bytes) -> None:
    ds = make_mr_series()[0]
    ds.PixelData = encapsulate([frame + b"\0" * 4000])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = syntax
    with pytest.raises(DatasetUnreadable, match=r"holds 65535 x 65535 x 1 samples where 32 x 24 x 1 are claimed"):
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


@pytest.mark.parametrize("compressed", [False, True])
def test_values_that_are_not_in_the_lowest_bits_are_refused_for_their_upper_bits_would_be_lost(
    compressed: bool,
) -> None:
    ds = make_mr_series()[5]
    if compressed:
        ds.compress(RLELossless)
    ds.BitsStored, ds.HighBit = 12, 15
    with pytest.raises(DatasetUnreadable, match="High Bit 15 for 12 Bits Stored"):
        _decode(ds)


_CELLS = np.resize(np.array([5, 0x7FF, 0x1005, 0x8801], dtype="<u2"), (32, 24))


def _make_cells(cells: np.ndarray[tuple[int, ...], np.dtype[np.integer]], *, signed: bool, compressed: bool) -> Dataset:
    """An image of 16 bits that is said to have 12 of them stored."""
    ds = make_mr_series()[5]
    ds.PixelData = cells.astype("<u2").tobytes()
    if compressed:
        ds.compress(RLELossless)
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, int(signed)
    return ds


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_values_that_need_more_bits_than_are_stored_are_refused_and_not_cut(signed: bool, compressed: bool) -> None:
    with pytest.raises(DatasetUnreadable, match="frame 1 holds values that need more than its 12 Bits Stored"):
        _decode(_make_cells(_CELLS, signed=signed, compressed=compressed))


@pytest.mark.parametrize("compressed", [False, True])
def test_overlay_above_the_bits_stored_is_cut_off(compressed: bool) -> None:
    ds = _make_cells(_CELLS, signed=False, compressed=compressed)
    ds.add_new(0x60000100, "US", 16)
    ds.add_new(0x60000102, "US", 12)
    np.testing.assert_array_equal(_decode(ds), _CELLS & 0xFFF)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("extended", [False, True])
def test_negative_values_of_twelve_bits_stay_what_they_are(extended: bool, compressed: bool) -> None:
    values = np.resize(np.array([-2048, -1, 0, 2047]), (32, 24))
    cells = values if extended else values & 0xFFF
    np.testing.assert_array_equal(_decode(_make_cells(cells, signed=True, compressed=compressed)), values)


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


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit])
def test_eight_bit_jpeg_is_decoded(syntax: UID) -> None:
    found = _decode(wrap_eight_bit(make_jpeg(), syntax))
    assert np.abs(found.astype(int) - RAMP).max() <= 2


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1])
def test_jpeg_lossless_changes_nothing(syntax: UID) -> None:
    np.testing.assert_array_equal(_decode(make_compressed(syntax)), make_phantom((12, 32, 24))[5])


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_real_image_decodes_bit_for_bit(syntax: UID) -> None:
    np.testing.assert_array_equal(_decode(make_compressed(syntax)), _decode(read_public("MR_small.dcm")))


@pytest.mark.parametrize("syntax", [JPEGLSNearLossless, JPEG2000])
def test_real_lossy_image_decodes_as_pydicom_does_it(syntax: UID) -> None:
    ds = make_compressed(syntax)
    plugin = "pyjpegls" if syntax == JPEGLSNearLossless else "pylibjpeg"
    np.testing.assert_array_equal(_decode(ds), pixel_array(ds, decoding_plugin=plugin))


def test_jpeg_ls_of_seven_bits_is_decoded() -> None:
    ds = wrap_eight_bit(b"\0\0", JPEGLSLossless)
    ds.BitsStored, ds.HighBit = 7, 6
    pixels = (RAMP >> 1).tobytes()
    put_codestream(ds, take_codestream(_compress_jpeg_ls(ds, pixels)), JPEGLSLossless)
    np.testing.assert_array_equal(_decode(ds), RAMP >> 1)


def _compress_jpeg_ls(ds: Dataset, pixels: bytes) -> Dataset:
    ds.PixelData = pixels
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.compress(JPEGLSLossless, encoding_plugin="pyjpegls", generate_instance_uid=False)
    return ds


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_damaged_frame_gives_pixels_or_a_refusal_and_ends_nothing(syntax: UID) -> None:
    ds, refused = make_compressed(syntax), 0
    codestream = take_codestream(ds)
    with FrameDecoder(DecodingBounds(frame_seconds=5)) as decoder:
        whole = decoder.decode(ds, None)
        for seed in range(15):
            put_codestream(ds, damage(codestream, seed), syntax)
            try:
                assert decoder.decode(ds, None).shape == whole.shape
            except DatasetUnreadable:
                refused += 1
        put_codestream(ds, codestream, syntax)
        np.testing.assert_array_equal(decoder.decode(ds, None), whole)
    assert refused > 3


@pytest.mark.parametrize(("kind", "told"), [("SIGSEGV", "SIGSEGV"), ("SIGABRT", "SIGABRT"), ("panic", "status 1")])
def test_deadly_frame_is_refused_by_instance_frame_syntax_and_end(kind: str, told: str) -> None:
    ds = make_deadly(kind)
    syntax = ds.file_meta.TransferSyntaxUID
    with FrameDecoder() as decoder:
        with pytest.raises(DatasetUnreadable) as caught:
            decoder.decode(ds, 1)
        assert decoder.decode(make_compressed(syntax), None).any()
    for words in (f"{ds.SOPInstanceUID} frame 1", syntax.name, told, "Send it again, uncompressed"):
        assert words in str(caught.value)
    assert caught.value.facts["frame_number"] == 1


def test_series_with_a_deadly_frame_is_refused() -> None:
    series = [*make_mr_series()[:5], make_deadly("SIGSEGV"), *make_mr_series()[6:]]
    with pytest.raises(DatasetUnreadable, match=series[5].SOPInstanceUID):
        assemble_volume(series)


def test_syntax_without_a_decoder_is_refused_by_its_name() -> None:
    with pytest.raises(DatasetUnreadable, match=r"MPEG2.*nothing here decodes it"):
        _decode(wrap_eight_bit(b"\0" * 500, MPEG2MPML))


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_jpeg_with_colour_is_refused_where_one_channel_is_claimed(mode: str) -> None:
    with pytest.raises(DatasetUnreadable):
        _decode(wrap_eight_bit(make_jpeg(mode), JPEGBaseline8Bit))


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGLossless, JPEGBaseline8Bit])
def test_frame_that_does_not_say_its_size_is_refused_undecoded(syntax: UID) -> None:
    with pytest.raises(DatasetUnreadable, match="does not say its size"):
        _decode(wrap_eight_bit(b"\0" * 500, syntax))


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
    with FrameDecoder() as decoder:
        for path in sorted((real_data / "robustness").rglob("*.dcm")):
            try:
                ds = dcmread(path, force=True)
            except (RecursionError, ValueError, OSError):
                continue  # reading files is another chapter's business
            try:
                check_pixels(ds)
                decoder.decode(ds, None)
                outcomes["decoded"] += 1
            except Refused:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 10
