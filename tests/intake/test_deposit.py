"""What is fetched enters the spool under the same rules, and with the same bytes, as what is sent."""

import io
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset, dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fusionnode.errors import DatasetUnreadable, SpoolFull, UidMalformed
from fusionnode.index.header import read_header
from fusionnode.intake.deposit import deposit, deposit_file, read_file_meta
from fusionnode.intake.spool import Spool, hash_dataset
from fusionnode.intake.streaming import StoreRequest
from tests.support.datasets import make_mr_series


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "spool", reserve_bytes=0)
    spool.prepare()
    return spool


def _encode(ds: Dataset) -> tuple[StoreRequest, bytes]:
    file = io.BytesIO()
    dcmwrite(file, ds, enforce_file_format=True)
    meta = read_file_meta(file)
    request = StoreRequest(ds.SOPClassUID, ds.SOPInstanceUID, UID(meta.transfer_syntax_uid), "ARCHIVE")
    return request, file.getvalue()[meta.offset :]


def test_the_data_set_is_kept_bit_for_bit_and_its_sender_noted(spool: Spool) -> None:
    request, dataset = _encode(make_mr_series()[0])
    stored = deposit(spool, request, io.BytesIO(dataset))
    assert stored.path.read_bytes().endswith(dataset)
    assert stored.sha256 == hash_dataset(stored.path)
    assert pydicom.dcmread(stored.path).file_meta.SourceApplicationEntityTitle == "ARCHIVE"
    assert read_header(stored).sop_instance_uid == request.sop_instance_uid
    assert list(spool.incoming.iterdir()) == []


def test_the_same_instance_is_kept_once_however_it_came(spool: Spool, tmp_path: Path) -> None:
    request, dataset = _encode(make_mr_series()[0])
    first = deposit(spool, request, io.BytesIO(dataset))
    path = tmp_path / "file.dcm"
    path.write_bytes(first.path.read_bytes())
    with path.open("rb") as file:
        assert deposit_file(spool, file, "FOLDER") == first
    assert len(list(spool.list_arrivals())) == 1


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("with_length", [True, False])
def test_files_are_read_whether_they_state_the_length_of_their_meta_information_or_not(
    spool: Spool, syntax: UID, with_length: bool
) -> None:
    ds = make_mr_series()[0]
    ds.file_meta.TransferSyntaxUID = syntax
    content = io.BytesIO()
    dcmwrite(content, ds, implicit_vr=syntax.is_implicit_VR, little_endian=True, enforce_file_format=True)
    data = content.getvalue()
    if not with_length:
        data = data[:132] + data[144:]
    stored = deposit_file(spool, io.BytesIO(data), "FOLDER")
    again = pydicom.dcmread(stored.path)
    assert again.file_meta.TransferSyntaxUID == syntax
    assert again.PixelData == ds.PixelData


def test_another_instance_than_announced_is_refused_and_leaves_nothing(spool: Spool) -> None:
    one, other = make_mr_series()[:2]
    request, _ = _encode(one)
    with pytest.raises(DatasetUnreadable, match="another instance"):
        deposit(spool, request, io.BytesIO(_encode(other)[1]))
    assert list(spool.incoming.iterdir()) == list(spool.list_arrivals()) == []


@pytest.mark.parametrize("content", [b"", b"text" * 100, bytes(128) + b"DICM", bytes(128) + b"DICM" + b"\x02\x00" * 8])
def test_what_is_no_dicom_file_is_refused(spool: Spool, content: bytes) -> None:
    with pytest.raises(DatasetUnreadable):
        deposit_file(spool, io.BytesIO(content), "FOLDER")
    assert list(spool.incoming.iterdir()) == []


def test_a_malformed_uid_is_refused_before_anything_is_written(spool: Spool) -> None:
    request, dataset = _encode(make_mr_series()[0])
    bad = StoreRequest(request.sop_class_uid, "../../etc", request.transfer_syntax, "X")
    with pytest.raises(UidMalformed):
        deposit(spool, bad, io.BytesIO(dataset))
    assert list(spool.incoming.iterdir()) == []


def test_a_full_spool_says_so(tmp_path: Path) -> None:
    spool = Spool(tmp_path, reserve_bytes=1 << 60)
    spool.prepare()
    request, dataset = _encode(make_mr_series()[0])
    with pytest.raises(SpoolFull):
        deposit(spool, request, io.BytesIO(dataset))
    assert list(spool.incoming.iterdir()) == []
