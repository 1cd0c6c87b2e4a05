"""Everything that can happen to a patient's data happens, and nothing that is left behind says whose they are."""

import base64
import json
import re
import socket
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pynetdicom import AE
from pynetdicom.sop_class import MRImageStorage  # type: ignore[attr-defined]

from fusionnode.flow.observing import Subject
from fusionnode.settings import load_settings
from fusionnode.traces.people import AuditKey, make_pseudonym
from tests.support.archives import ArchivePeer
from tests.support.command_server import CommandServer
from tests.support.commitments import CommittingPeer, running_peer
from tests.support.datasets import Identity, Layout, make_mr_series, make_pt_series
from tests.support.files import write_series
from tests.support.nodes import FRAME, make_pair, send_series
from tests.support.pacs import find_free_port
from tests.support.running import await_value, list_jobs, serving, write_quick_pipelines, write_site

MARK = "ZQXJ"
PATIENT_ID = f"{MARK}4711"
BIRTH, SCANNED = "19170317", "19930217"
NAMES = [keyword for vr, _, _, _, keyword in DicomDictionary.values() if vr == "PN" and keyword]
WORDS = """AccessionNumber AcquisitionComments AcquisitionContextDescription AdditionalPatientHistory AdmissionID
    AdmittingDiagnosesDescription Allergies BranchOfService CommentsOnThePerformedProcedureStep CountryOfResidence
    CurrentPatientLocation DerivationDescription DeviceSerialNumber EthnicGroup FillerOrderNumberImagingServiceRequest
    FrameComments GantryID ImageComments InstitutionAddress InstitutionName InstitutionalDepartmentName
    IssuerOfAdmissionID IssuerOfPatientID MedicalAlerts MedicalRecordLocator MilitaryRank Occupation OtherPatientIDs
    PatientAddress PatientComments PatientInstitutionResidence PatientReligiousPreference PatientState
    PatientTelephoneNumbers PerformedProcedureStepDescription PerformedProcedureStepID PerformedStationAETitle
    PlacerOrderNumberImagingServiceRequest ProtocolName ReasonForStudy ReasonForTheRequestedProcedure RegionOfResidence
    RequestedProcedureComments RequestedProcedureDescription RequestingService
    ResponsibleOrganization SeriesDescription ServiceEpisodeID SpecialNeeds StationName StudyComments StudyDescription
    StudyID VisitComments""".split()  # noqa: SIM905 - one to a line would fill two pages
ATTRIBUTES = {
    **{keyword: f"{MARK}^{number}" for number, keyword in enumerate(NAMES)},
    # Sixteen characters, so that each representation takes them.
    **{keyword: f"{MARK} {keyword}"[:16] for keyword in WORDS},
    "PatientID": PATIENT_ID,
    "PatientBirthDate": BIRTH,
    **dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"), SCANNED),
}
SECRETS = (MARK, MARK.lower(), BIRTH, "1917-03-17", SCANNED, "1993-02-17")
SMALL = Layout(slices=10, rows=24, columns=20)
SECRET = "top-secret"


def mark(datasets: Sequence[Dataset], **changes: str) -> list[Dataset]:
    for ds in datasets:
        for keyword, value in {**ATTRIBUTES, **changes}.items():
            setattr(ds, keyword, value)
        asked = Dataset()
        asked.AccessionNumber, asked.RequestedProcedureID = f"{MARK}-1", f"{MARK}-2"
        asked.ScheduledProcedureStepDescription, asked.ReasonForTheRequestedProcedure = f"{MARK} a", f"{MARK} b"
        ds.RequestAttributesSequence = [asked]
        ds.private_block(0x0011, f"{MARK} MAKER", create=True).add_new(1, "PN", f"{MARK}^PRIVATE")
    return list(datasets)


def spoil(datasets: Sequence[Dataset], *keywords: str) -> list[Dataset]:
    """Put words that tell whose they are where numbers, dates and UIDs belong."""
    for ds in datasets:
        for keyword in keywords:
            tag = Tag(keyword)
            ds[tag] = RawDataElement(tag, None, 12, f"{MARK}^BROKEN ".encode()[:12], 0, False, True)
    return list(datasets)


def make_bad_series() -> Iterator[list[Dataset]]:
    """Series that are refused, quarantined, set aside or contradict themselves, each of a study of its own."""

    def make(number: int, make: Callable[..., list[Dataset]] = make_mr_series, **changes: str) -> list[Dataset]:
        identity = Identity(patient_id=f"{MARK}-BAD-{number}", frame_of_reference_uid=f"{FRAME}.{number}")
        return mark(make(SMALL, identity), PatientID=identity.patient_id, **changes)

    yield make(1)[::3]
    yield spoil(make(2), "InstanceNumber", "PatientAge", "PatientWeight")
    yield spoil(make(3, make_pt_series), "RescaleSlope", "StudyDate", "ImagePositionPatient")
    yield spoil(make(4), "SeriesInstanceUID", "FrameOfReferenceUID")
    two = make(5)
    two[0].PatientName, two[0].PatientID = f"{MARK}^OTHER", f"{MARK}-SOMEBODY"
    yield two
    yield make(1, PatientName=f"{MARK}^CHANGED")[::3]


@dataclass
class Site:
    path: Path
    port: int
    http: int
    log: Path

    def ask(self, page: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/{page}", timeout=30) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as ill:
            with ill:
                return str(ill.read().decode())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Site, CommittingPeer]]:
    port, http = find_free_port(), find_free_port()
    fixed, moving = make_pair()
    with running_peer(CommittingPeer(report_to=port)) as pacs, ArchivePeer(mark([*fixed, *moving])) as archive:
        extra = [
            f'pipelines = "{write_quick_pipelines(tmp_path)}"',
            'log_format = "json"',
            "[http]",
            f"port = {http}",
            "[audit]",
            'key_file = "audit.key"',
            "[archives.old]",
            'ae_title = "ARCHIVE"',
            'host = "127.0.0.1"',
            f"port = {archive.port}",
        ]
        (tmp_path / "audit.key").write_text(SECRET)
        (tmp_path / "audit.key").chmod(0o600)
        path = write_site(tmp_path, port, {"pacs": ("PACS", pacs.port)}, "\n".join(extra))
        path.write_text(path.read_text().replace("[settle]", "commitment = true\n[settle]", 1))
        yield Site(path, port, http, tmp_path / "log"), pacs


def misbehave(port: int) -> None:
    """Send what is no DICOM, call by the wrong name, and name instances by what is no UID."""
    for garbage in (f"GET /{MARK} HTTP/1.1\r\n\r\n".encode(), b"\x01\x00\x00\x00\x00\x50" + MARK.encode() * 20):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(garbage)
    entity = AE("SCANNER")
    entity.add_requested_context(MRImageStorage)
    assert not entity.associate("127.0.0.1", port, ae_title="WRONG").is_established
    assoc = entity.associate("127.0.0.1", port, ae_title="FUSIONNODE")
    [ds] = mark(make_mr_series(Layout(slices=1, rows=8, columns=8), Identity(patient_id=f"{MARK}-ODD")))
    ds.SOPInstanceUID = "1.2.3"
    ds.file_meta.MediaStorageSOPInstanceUID = "1.2.4"
    assoc.send_c_store(ds)
    assoc.release()


def list_ledger_texts(site: Path) -> list[str]:
    """Return everything the ledger tells in words; its facts about series are the patient's, and stay there."""
    told = {
        "events": "subject, what, detail",
        "jobs": "id, reason, error, worker",
        "generations": "reason",
        "consignments": "reason, error",
        "rejections": "reason",
    }
    path = load_settings(site).ledger_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        return [str(connection.execute(f"SELECT {what} FROM {table}").fetchall()) for table, what in told.items()]


def list_texts(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in (".json", ".jsonl", ".csv", ".txt", ".md", ".html")]


def decode_details(text: str) -> str:
    """Append what an audit message holds as Base64."""
    found = re.findall(r'value=\\?"([A-Za-z0-9+/=]+)\\?"', text)
    return text + "".join(base64.b64decode(one).decode(errors="replace") for one in found)


@pytest.mark.system
@pytest.mark.timeout(240)
def test_nothing_that_is_left_behind_names_a_patient(
    site: tuple[Site, CommittingPeer], commands: CommandServer, tmp_path: Path
) -> None:
    node, pacs = site

    def run(*arguments: str) -> str:
        return commands.run([*arguments, "--site", str(node.path)], tmp_path / "told", 60).output

    settings = load_settings(node.path)
    told: dict[str, str] = {}
    with serving(node.path, node.port, node.log):
        for number, series in enumerate(make_bad_series()):
            send_series(settings, node.port, series, tmp_path / f"bad-{number}")
        fixed, moving = make_pair()
        send_series(settings, node.port, mark([*fixed, *moving]), tmp_path / "good")
        misbehave(node.port)
        [good] = await_value(lambda: [one for one in list_jobs(node.path) if one["state"] == "committed"], seconds=90)
        patients = tmp_path / "patients.csv"
        patients.write_text(f"PatientID\n{PATIENT_ID}\n")
        batch = ["batch", "--out", str(tmp_path / "batch"), "--archive", "old", "--patients", str(patients)]
        told["batch"] = run(*batch)
        told["resend"] = run("resend", good["id"], "--all")
        told["retry"] = run("retry", good["id"])
        await_value(lambda: len(pacs.asked) >= 2, seconds=60)
        for page in ("metrics", "healthz", "readyz"):
            told[page] = node.ask(page)
    uid = fixed[0].SeriesInstanceUID
    for command in (
        ["jobs"],
        ["jobs", "--json"],
        ["series"],
        ["series", "--json"],
        ["explain", fixed[0].StudyInstanceUID],
        ["explain", uid, "--json"],
        ["quarantine", uid],
        ["release", uid],
        ["clean", "--dry-run"],
        ["clean", "--json"],
        ["reindex"],
        ["doctor"],
        ["audit"],
    ):
        told[" ".join(command)] = run(*command)
    told["backup"] = run("backup", str(tmp_path / "backup"))
    assert "goes on with" in told[f"release {uid}"]
    folders = [write_series(tmp_path / one[0].Modality, one)[0].parent for one in (fixed, moving)]
    told["fuse"] = run("fuse", *map(str, folders), "--out", str(tmp_path / "fused"))
    made = [settings.spool, *(tmp_path / name for name in ("batch", "backup", "fused"))]
    told["names"] = "\n".join(str(path.relative_to(tmp_path)) for folder in made for path in folder.rglob("*"))
    told["texts"] = "\n".join(path.read_text() for folder in made for path in list_texts(folder))
    told["log"] = node.log.read_text()
    told["ledger"] = "\n".join(list_ledger_texts(node.path))
    trails = [*(settings.spool / "audit").iterdir(), *(tmp_path / "batch").rglob("audit/*.jsonl")]
    told["trail"] = "\n".join(decode_details(path.read_text()) for path in trails)
    told["quarantine"] = "\n".join(one.read_text() for one in (settings.spool / "quarantine").glob("*.txt"))
    for name, text in told.items():
        for secret in (*SECRETS, SECRET):
            assert secret not in text, f"{name}: {text[max(0, text.find(secret) - 300) :][:500]}"
    check_that_all_that_happened(told, [json.loads(line) for line in told["log"].splitlines()])


def check_that_all_that_happened(told: dict[str, str], lines: list[dict[str, Any]]) -> None:
    """Hold the test itself to its word: a trail in which nothing happened names nobody either."""
    pseudonym = make_pseudonym(Subject(patient_id=PATIENT_ID), AuditKey(SECRET).of_patients)
    assert pseudonym in told["trail"]
    for event in (
        "Application Start",
        "Association Opened",
        "Security Alert",
        "Begin Transferring",
        "Instances Transferred",
        "Query",
        "Command: resend",
    ):
        assert event in told["trail"], event
    assert "are whole" in told["audit"]
    states = told["ledger"]
    assert all(word in states for word in ("quarantined", "committed", "conflict")), states
    assert told["quarantine"]
    assert any(line.get("job") for line in lines)
    assert any(line.get("association") for line in lines)
    assert 'fusionnode_jobs_ended_total{verdict="committed"}' in told["metrics"]
    assert "1 written" in told["batch"]
    assert "fused slices by" in told["fuse"]
    assert "files and the ledger are in" in told["backup"]
