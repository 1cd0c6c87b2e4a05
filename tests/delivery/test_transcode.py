"""Decoding on the way changes the encoding and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from fusionnode.delivery.transcode import read_plain
from fusionnode.errors import CaptureInvalid
from tests.support.datasets import Layout, make_mr_series
from tests.support.files import write_series

LAYOUT = Layout(slices=1, rows=64, columns=64)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian])
def test_values_and_identity_survive(tmp_path: Path, syntax: str) -> None:
    original, packed = make_mr_series(LAYOUT)[0], make_mr_series(LAYOUT)[0]
    if syntax == DeflatedExplicitVRLittleEndian:
        packed.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    else:
        packed.compress(syntax, generate_instance_uid=False)
    [path] = write_series(tmp_path, [packed])
    before = path.read_bytes()
    plain = read_plain(path)
    assert plain.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(plain.pixel_array, original.pixel_array)
    changed = {elem.keyword for elem in original if elem.keyword != "PixelData" and plain[elem.tag].value != elem.value}
    assert changed == set()
    assert path.read_bytes() == before
    plain.save_as(tmp_path / "plain.dcm", enforce_file_format=True)
    assert dcmread(tmp_path / "plain.dcm").SOPInstanceUID == original.SOPInstanceUID


def test_frames_that_cannot_be_decoded_are_refused_by_name(tmp_path: Path) -> None:
    packed = make_mr_series(LAYOUT)[0]
    packed.compress(RLELossless, generate_instance_uid=False)
    packed.PixelData = encapsulate([b"\x00" * 64])
    [path] = write_series(tmp_path, [packed])
    with pytest.raises(CaptureInvalid, match="cannot be decoded"):
        read_plain(path)


@pytest.mark.parametrize("left", [0, 140, 155])
def test_a_file_that_is_cut_off_is_refused_by_name_and_one_that_is_gone_is_not_there(tmp_path: Path, left: int) -> None:
    [path] = write_series(tmp_path, make_mr_series(LAYOUT))
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CaptureInvalid):
        read_plain(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_plain(path)


def test_frames_whose_size_is_malformed_are_refused_by_name(tmp_path: Path) -> None:
    packed = make_mr_series(LAYOUT)[0]
    packed.compress(RLELossless, generate_instance_uid=False)
    [path] = write_series(tmp_path, [packed])
    rows = b"\x28\x00\x10\x00US\x02\x00"
    content = path.read_bytes()
    path.write_bytes(content.replace(rows + content.partition(rows)[2][:2], rows[:-2] + b"\x03\x00\x40\x00\x01"))
    with pytest.raises(CaptureInvalid, match="BytesLengthException"):
        read_plain(path)
