"""QIDO-RS page by page and WADO-RS byte by byte, from servers that do not all follow the Standard."""

from pathlib import Path

import pytest
from pydicom import Dataset

from fusionnode.errors import ArchiveUnreachable
from fusionnode.intake.spool import Spool
from fusionnode.retrieval.dicomweb import WebArchive
from fusionnode.retrieval.wishes import Wish, read_range
from fusionnode.settings import TlsSettings
from fusionnode.wiring import build_tls
from tests.support.archives import WebPeer, make_inbox, make_server_tls, running_web_peer
from tests.support.certificates import make_authority
from tests.support.datasets import Identity, Layout, make_mr_series
from tests.support.pacs import find_free_port

SMALL = Layout(slices=7, rows=8, columns=8)


def _make(patient_id: str) -> list[Dataset]:
    return make_mr_series(SMALL, Identity(patient_id))


@pytest.mark.parametrize("page", [1, 3, 7, 1000])
def test_answers_are_asked_for_until_there_are_no_more(page: int) -> None:
    datasets = _make("A")
    with running_web_peer(WebPeer(datasets, page=page)) as peer:
        archive = WebArchive("web", peer.url)
        [series] = archive.find_series(datasets[0].StudyInstanceUID)
        found = archive.find_instances(series)
    assert {one.sop_instance_uid for one in found} == {ds.SOPInstanceUID for ds in datasets}
    assert len(found) == 7


def test_a_server_that_heeds_no_offset_does_not_keep_us_for_ever() -> None:
    datasets = _make("A")
    with running_web_peer(WebPeer(datasets, page=3, heeds_offset=False)) as peer:
        archive = WebArchive("web", peer.url)
        [series] = archive.find_series(datasets[0].StudyInstanceUID)
        assert len(archive.find_instances(series)) == 3
        assert len(peer.requests) < 10


def test_a_server_that_has_more_than_it_gives_is_not_taken_to_have_no_more() -> None:
    datasets = [ds for patient in "ABCDE" for ds in _make(patient)]
    with running_web_peer(WebPeer(datasets, limit=3)) as peer:
        archive = WebArchive("web", peer.url)
        with pytest.raises(ArchiveUnreachable, match="first 3 only"):
            archive.find_studies(Wish(dates=read_range("20240101-20241231")))
        assert len(archive.find_studies(Wish("A"))) == 1
        peer.limit, peer.page = 1000, 2
        assert len(archive.find_studies(Wish(dates=read_range("20240101-20241231")))) == 5


def test_a_study_is_found_by_its_patient_and_no_other(tmp_path: Path) -> None:
    with running_web_peer(WebPeer([*_make("A"), *_make("B")])) as peer:
        archive = WebArchive("web", peer.url)
        [study] = archive.find_studies(Wish("A"))
        assert study.patient.patient_id == "A"
        [series] = archive.find_series(study.study_instance_uid)
        spool = Spool(tmp_path, reserve_bytes=0)
        inbox = make_inbox(spool)
        instances = archive.find_instances(series)
        assert archive.fetch(series, instances[:2], inbox, whole=False) == 2
        assert archive.fetch(series, instances, inbox, whole=True) == 7
    assert len(list(spool.list_arrivals())) == 7


def test_a_probe_asks_for_nobody() -> None:
    with running_web_peer(WebPeer(_make("A"))) as peer:
        assert WebArchive("web", peer.url).probe() == "QIDO-RS"
        peer.status = 403
        with pytest.raises(ArchiveUnreachable, match="403"):
            WebArchive("web", peer.url).probe()
    assert all("StudyInstanceUID=2.25." in asked for asked in peer.requests)


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_an_error_is_told_by_its_status_and_quotes_nobody(status: int) -> None:
    with running_web_peer(WebPeer(_make("A"), status=status)) as peer:
        with pytest.raises(ArchiveUnreachable, match=str(status)) as caught:
            WebArchive("web", peer.url).find_studies(Wish("MEIER"))
        assert "MEIER" not in str(caught.value)
        assert "Example" not in str(caught.value)
        assert len(peer.requests) == 1


def test_an_answer_that_is_no_dicom_is_told(tmp_path: Path) -> None:
    with running_web_peer(WebPeer(_make("A"), garbled=True)) as peer:
        archive = WebArchive("web", peer.url)
        [series] = archive.find_series(archive.find_studies(Wish("A"))[0].study_instance_uid)
        with pytest.raises(ArchiveUnreachable, match="InvalidDicomError"):
            archive.fetch(
                series, archive.find_instances(series), make_inbox(Spool(tmp_path, reserve_bytes=0)), whole=True
            )


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[1]",
        b'{"a": 1}',
        b'[{"0020000D": "1.2.3"}]',
        b'[{"0020000D": {"vr": "UI", "Value": "1.2.3"}}]',
        b'[{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00201209": {"vr": "IS", "Value": ["many"]}}]',
        b"<html>MEIER</html>",
    ],
)
def test_an_answer_that_is_no_list_of_studies_is_no_empty_list(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    peer = WebPeer([])
    monkeypatch.setattr(peer, "answer", lambda *_: ("application/dicom+json", body))
    with running_web_peer(peer), pytest.raises(ArchiveUnreachable, match="QIDO-RS: ") as caught:
        WebArchive("web", peer.url).find_studies(Wish("MEIER"))
    assert "MEIER" not in str(caught.value)


def test_nobody_there_is_told() -> None:
    with pytest.raises(ArchiveUnreachable, match="ConnectionError"):
        WebArchive("web", f"http://127.0.0.1:{find_free_port()}").find_studies(Wish("A"))


def test_a_secured_server_is_asked_only_where_its_authority_is_trusted(tmp_path: Path) -> None:
    authority, stranger = make_authority(tmp_path / "a"), make_authority(tmp_path / "b")
    tls = make_server_tls(authority.issue("server"))
    with running_web_peer(WebPeer(_make("A")), tls) as peer:
        trusting = WebArchive("web", peer.url, build_tls(TlsSettings(ca=authority.own.certificate)))
        assert len(trusting.find_studies(Wish("A"))) == 1
        wary = WebArchive("web", peer.url, build_tls(TlsSettings(ca=stranger.own.certificate)))
        with pytest.raises(ArchiveUnreachable, match="certificate is not accepted"):
            wary.find_studies(Wish("A"))
