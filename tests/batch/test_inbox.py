"""What is fetched goes into the spool, or is only looked at."""

import io
from pathlib import Path

import pytest
from pydicom import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from fusionnode.intake.deposit import read_file_meta
from fusionnode.intake.spool import Spool
from fusionnode.retrieval.archive import Received
from tests.support.archives import make_inbox
from tests.support.datasets import Layout, make_mr_series

DS = make_mr_series(Layout(slices=1))[0]


@pytest.fixture
def file() -> io.BytesIO:
    content = io.BytesIO()
    dcmwrite(content, DS, enforce_file_format=True)
    content.seek(0)
    return content


def _receive(file: io.BytesIO) -> Received:
    dataset = io.BytesIO(file.getvalue()[read_file_meta(file).offset :])
    return Received(DS.SOPClassUID, DS.SOPInstanceUID, ExplicitVRLittleEndian, "ARCHIVE", dataset)


def test_both_ways_lead_to_the_same_file(file: io.BytesIO, tmp_path: Path) -> None:
    spool = Spool(tmp_path, reserve_bytes=0)
    inbox = make_inbox(spool)
    inbox.keep(_receive(file))
    inbox.keep_file(file, "WEB")
    assert len(list(spool.list_arrivals())) == 1
    assert inbox.list_missing([DS.SOPInstanceUID]) == []


def test_a_study_underway_is_evidence_for_a_running_node(file: io.BytesIO, tmp_path: Path) -> None:
    spool = Spool(tmp_path, reserve_bytes=0)
    inbox = make_inbox(spool)
    with inbox.carrying():
        inbox.keep(_receive(file))
        [stored] = spool.list_arrivals()
        assert spool.list_places_in_flight() == {stored.place}
    assert spool.list_places_in_flight() == set()


def test_the_header_of_what_is_here_can_be_read(file: io.BytesIO, tmp_path: Path) -> None:
    spool = Spool(tmp_path, reserve_bytes=0)
    inbox = make_inbox(spool)
    assert inbox.read_header(DS.SOPInstanceUID) is None
    inbox.keep(_receive(file))
    header = inbox.read_header(DS.SOPInstanceUID)
    assert header is not None
    assert header.PatientID == DS.PatientID
    assert "PixelData" not in header
    [path] = spool.find_files(DS.SOPInstanceUID)
    path.write_bytes(b"broken")
    assert inbox.read_header(DS.SOPInstanceUID) is None
