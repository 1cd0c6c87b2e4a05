"""Asking and fetching behind DICOM TLS and https, from a real Orthanc."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from fusionnode.errors import ArchiveUnreachable
from fusionnode.intake.listener import Listener
from fusionnode.intake.spool import Spool
from fusionnode.retrieval.retrieve import retrieve_series
from fusionnode.retrieval.wishes import Wish
from fusionnode.settings import ArchiveSettings, Settings, TlsSettings, WebArchiveSettings
from fusionnode.wiring import build_archive
from tests.support.archives import make_inbox, make_server_tls
from tests.support.certificates import Authority, make_authority
from tests.support.nodes import make_settings
from tests.support.pacs import find_free_port, running_orthanc
from tests.support.repackaged import make_patient, upload
from tests.support.terminator import ending_tls

KINDS = ("get", "move", "web")


def _make_settings(folder: Path, port: int, url: str, tls: TlsSettings | None) -> Settings:
    get = ArchiveSettings(ae_title="ORTHANC", host="127.0.0.1", port=port, tls=tls)
    move = get.model_copy(update={"retrieve": "move"})
    return make_settings(folder, archives={"get": get, "move": move, "web": WebArchiveSettings(url=url, tls=tls)})


def _make_trust(authority: Authority, trusted: Authority) -> TlsSettings:
    ours = authority.issue("fusionnode")
    return TlsSettings(ca=trusted.own.certificate, certificate=ours.certificate, key=ours.key)


@pytest.mark.system
@pytest.mark.timeout(120)
def test_every_way_of_asking_and_fetching_is_secured_and_trusts_no_stranger(tmp_path: Path) -> None:
    authority, stranger = make_authority(tmp_path / "ours"), make_authority(tmp_path / "theirs", "stranger")
    port = find_free_port()
    # What comes in is not secured: Orthanc sends to the listener in the clear.
    node = {"AET": "FUSIONNODE", "Host": "127.0.0.1", "Port": port, "UseDicomTls": False}
    theirs = authority.issue("orthanc")
    configuration = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(theirs.certificate),
        "DicomTlsPrivateKey": str(theirs.key),
        "DicomTlsTrustedCertificates": str(authority.own.certificate),
        "DicomModalities": {"node": node},
    }
    with running_orthanc(tmp_path / "orthanc", configuration) as pacs, ExitStack() as stack:
        upload(pacs, [make_patient(1)])
        # Orthanc's own https breaks down with OpenSSL 3 in Debian 12.
        secured = stack.enter_context(ending_tls(make_server_tls(theirs), pacs.http_port))
        peer = pacs.port, f"https://127.0.0.1:{secured}/dicom-web"
        brought = {}
        for kind in KINDS:
            archive = build_archive(_make_settings(tmp_path, *peer, _make_trust(authority, authority)), kind)
            assert archive.probe()
            spool = Spool(tmp_path / kind, reserve_bytes=0)
            inbox = make_inbox(spool)
            listener = Listener("FUSIONNODE", "127.0.0.1", port, spool)
            listener.start()
            [study] = archive.find_studies(Wish("BATCH-1"))
            for series in archive.find_series(study.study_instance_uid):
                assert retrieve_series(archive, series, inbox) == 10
            listener.stop()
            brought[kind] = {(stored.path.name, stored.sha256) for stored in spool.list_arrivals()}
        assert len(brought["get"]) == 20
        assert brought["get"] == brought["move"] == brought["web"]

        for kind in KINDS:
            wary = build_archive(_make_settings(tmp_path, *peer, _make_trust(authority, stranger)), kind)
            with pytest.raises(ArchiveUnreachable, match="certificate is not accepted"):
                wary.find_studies(Wish("BATCH-1"))
        unasked = TlsSettings(ca=authority.own.certificate)
        for tls in (unasked, None):
            nameless = build_archive(_make_settings(tmp_path, *peer, tls), "get")
            with pytest.raises(ArchiveUnreachable):
                nameless.find_studies(Wish("BATCH-1"))
        plain = build_archive(_make_settings(tmp_path, peer[0], peer[1].replace("https", "http"), None), "web")
        with pytest.raises(ArchiveUnreachable):
            plain.find_studies(Wish("BATCH-1"))
