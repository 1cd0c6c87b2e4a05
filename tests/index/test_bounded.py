"""Parsing on a leash: hostile files are refused by name, and cost neither memory nor time."""

import contextlib
import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from fusionnode.errors import DatasetUnreadable, SpoolFileMissing, SpoolUnreadable
from fusionnode.index import bounded
from fusionnode.index.bounded import MAX_HEADER_BYTES, ParsedHeader, parse_header, refuse_parser_failures
from fusionnode.index.fields import read_decimals, read_first_item, read_text
from tests.support.datasets import Layout, make_mr_series

WANTED = ("SOPInstanceUID", "PatientID", "PixelSpacing", "SpecificCharacterSet", "SharedFunctionalGroupsSequence")
SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
UNDEFINED = 0xFFFFFFFF


def encode(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    buffer = io.BytesIO()
    ds.file_meta.TransferSyntaxUID = syntax
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    dcmwrite(buffer, ds, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    return buffer.getvalue()


def make_slice() -> Dataset:
    ds = make_mr_series(Layout(slices=1, rows=4, columns=4))[0]
    if ds.get("PixelData") is not None and ds["PixelData"].VR == "OW":
        ds["PixelData"].VR = "OB"
    return ds


def write(folder: Path, *parts: bytes) -> Path:
    path = folder / "instance.dcm"
    path.write_bytes(b"".join(parts))
    return path


def make_meta(syntax: str = ExplicitVRLittleEndian) -> bytes:
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sH", 2, 0x10, b"UI", len(value)) + value


def long_element(group: int, element: int, vr: bytes, length: int) -> bytes:
    return struct.pack("<HH2sHI", group, element, vr, 0, length)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_encoding_is_read(tmp_path: Path, syntax: str) -> None:
    ds = make_slice()
    parsed = parse_header(write(tmp_path, encode(ds, syntax)), WANTED)
    assert parsed.transfer_syntax_uid == syntax
    assert read_text(parsed.ds, "SOPInstanceUID") == ds.SOPInstanceUID
    assert read_decimals(parsed.ds, "PixelSpacing", 2) == tuple(map(float, ds.PixelSpacing))
    assert "PixelData" not in parsed.ds
    assert "Modality" not in parsed.ds, "only what is wanted is kept"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_damage_raises_anything_but_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(encode(make_slice(), data.draw(st.sampled_from(SYNTAXES))))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    path = write(tmp_path, bytes(content[:end]))
    with contextlib.suppress(DatasetUnreadable):
        read_text(parse_header(path, WANTED).ds, "PatientID")


@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"GIF89a" * 50, b"\0" * 128 + b"DICM"], ids=str)
def test_what_is_no_part_10_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DatasetUnreadable):
        parse_header(write(tmp_path, content), WANTED)


def test_what_is_not_there_is_missing_not_refused(tmp_path: Path) -> None:
    with pytest.raises(SpoolFileMissing):
        parse_header(tmp_path / "gone.dcm", WANTED)
    with pytest.raises(SpoolFileMissing):
        parse_header(tmp_path, WANTED)


def _parse_within_memory(path: Path) -> ParsedHeader:
    """Parse, and fail if more than four times the budget was held at once."""
    tracemalloc.start()
    try:
        return parse_header(path, WANTED)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * MAX_HEADER_BYTES


def test_a_deflate_bomb_is_inflated_no_further_than_a_header(tmp_path: Path) -> None:
    squeeze = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    # Half a gigabyte of an attribute nobody asked for.
    packed = squeeze.compress(long_element(8, 0x1, b"OB", 2**29))
    packed += b"".join(squeeze.compress(bytes(2**24)) for _ in range(32)) + squeeze.flush()
    path = write(tmp_path, make_meta(DeflatedExplicitVRLittleEndian), packed)
    assert path.stat().st_size < 4_000_000
    assert len(_parse_within_memory(path).ds) == 0


def test_a_value_of_a_gigabyte_that_is_wanted_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, make_meta(), long_element(0x10, 0x20, b"UN", 2**30))
    with path.open("r+b") as file:
        file.truncate(2**30)
    with pytest.raises(DatasetUnreadable, match="needs more than"):
        _parse_within_memory(path)


def test_a_value_of_a_gigabyte_that_is_not_wanted_is_skipped(tmp_path: Path) -> None:
    path = write(tmp_path, make_meta(), long_element(9, 0x10, b"OB", 2**30))
    with path.open("r+b") as file:
        file.seek(2**30, io.SEEK_CUR)
        file.seek(2**30 + path.stat().st_size)
        file.write(struct.pack("<HH2sH", 0x10, 0x20, b"LO", 2) + b"P1")
    assert read_text(_parse_within_memory(path).ds, "PatientID") == "P1"


def test_a_length_beyond_the_end_costs_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, make_meta(), long_element(0x10, 0x20, b"UN", 2**32 - 2), b"P1")
    _parse_within_memory(path)


@pytest.mark.parametrize("depth", [50, 100_000])
def test_sequences_within_sequences_end(tmp_path: Path, depth: int) -> None:
    level = long_element(8, 0x1140, b"SQ", UNDEFINED) + struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
    with pytest.raises(DatasetUnreadable):
        parse_header(write(tmp_path, make_meta(), level * depth), WANTED)


def test_a_crowd_of_tiny_elements_is_refused(tmp_path: Path) -> None:
    crowd = struct.pack("<HH2sH", 9, 0x1010, b"LO", 0) * (MAX_HEADER_BYTES // 8)
    sequence = long_element(8, 0x1140, b"SQ", UNDEFINED) + struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
    with pytest.raises(DatasetUnreadable, match="needs more than"):
        parse_header(write(tmp_path, make_meta(), sequence, crowd, crowd), WANTED)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_all_frames_are_read_or_the_first_alone_where_a_later_one_is_broken(tmp_path: Path, syntax: str) -> None:
    ds = make_slice()
    ds.PerFrameFunctionalGroupsSequence = [_make_frame(index) for index in range(3)]
    whole = encode(ds, syntax)
    assert len(parse_header(write(tmp_path, whole), WANTED).frames) == 3
    # Cut in the middle of the second frame: whoever reads on runs into the end.
    end = whole.index(b"1.0\\1.0\\1.0") + 5
    parsed = parse_header(write(tmp_path, whole[:end]), WANTED)
    assert len(parsed.frames) == 1
    position = read_first_item(parsed.first_frame, "PlanePositionSequence")
    assert read_decimals(position, "ImagePositionPatient", 3) == (0.0, 0.0, 0.0)


def test_of_more_frames_than_a_header_may_need_the_first_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = make_slice()
    ds.PerFrameFunctionalGroupsSequence = [_make_frame(index) for index in range(40)]
    ds["PerFrameFunctionalGroupsSequence"].is_undefined_length = True
    path = write(tmp_path, encode(ds))
    assert len(parse_header(path, WANTED).frames) == 40
    monkeypatch.setattr(bounded, "MAX_READS", 300)
    assert len(parse_header(path, WANTED).frames) == 1


def test_an_object_without_frames_has_an_empty_first_frame(tmp_path: Path) -> None:
    assert len(parse_header(write(tmp_path, encode(make_slice())), WANTED).first_frame) == 0


def _make_frame(index: int) -> Dataset:
    position, frame = Dataset(), Dataset()
    position.ImagePositionPatient = [float(index)] * 3
    frame.PlanePositionSequence = [position]
    return frame


def test_a_disk_that_fails_is_no_fault_of_the_file() -> None:
    def fail() -> None:
        raise OSError(116, "Stale file handle")

    with pytest.raises(SpoolUnreadable):
        refuse_parser_failures(fail, "name")
