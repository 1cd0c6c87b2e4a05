import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.encaps import get_frame

from fusionnode.volumes.codestream import read_extent


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(frame: bytes) -> None:
    for start in (b"", b"\xff\xd8", b"\xff\x4f\xff\x51"):
        read_extent(start + frame)


def test_jpeg_2000_extent_is_the_image_without_its_offset() -> None:
    assert read_extent(b"\xff\x4f\xff\x51" + struct.pack(">HH8IH", 47, 0, 70, 50, 6, 8, 70, 50, 0, 0, 3)) == (42, 64, 3)


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC3, 0xF7])
def test_jpeg_extent_stands_behind_other_segments(marker: int) -> None:
    table = b"\xff\xc4" + struct.pack(">H", 6) + b"abcd"
    start = b"\xff" + bytes([marker]) + struct.pack(">HBHHB", 11, 12, 300, 200, 1)
    assert read_extent(b"\xff\xd8" + table + b"\xff" + start + b"\0\0") == (300, 200, 1)


@pytest.mark.real_data
@pytest.mark.parametrize("syntax", ["J2KI", "J2KR", "JLSL", "JLSN", "JPLL", "JPLY"])
def test_real_frames_say_what_their_headers_say(real_data: Path, syntax: str) -> None:
    for path in sorted((real_data / "compressed_wg04").glob(f"*_{syntax}.dcm")):
        ds = dcmread(path)
        assert read_extent(get_frame(ds.PixelData, 0, number_of_frames=1)) == (ds.Rows, ds.Columns, 1)
