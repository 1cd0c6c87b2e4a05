"""Which message tells of what: the codes of PS3.16, and who was where."""

import pytest

from fusionnode.flow.observing import RemotePeer, Subject, Transfer
from fusionnode.traces.events import (
    OURS,
    describe_source,
    describe_target,
    tell_application,
    tell_association,
    tell_command,
    tell_deletion,
    tell_query,
    tell_refusal,
    tell_transfer,
)
from fusionnode.traces.message import MINOR_FAILURE, SERIOUS_FAILURE, SUCCESS, AuditEvent, Code, Concerned

PEER = RemotePeer("SCANNER", "NODE", "10.0.0.1", "CN=scanner")
PATIENT = Concerned("pseudonym", 1, 1, Code("2", "Patient Number", "RFC-3881"))
SERIES = Transfer(Subject("1.2", "1.3", "DOE"), {"1.2.840": 2}, job="j1")


def transfer(trouble: str = "", *, begins: bool = False) -> AuditEvent:
    told = Transfer(SERIES.subject, SERIES.classes, trouble, SERIES.job)
    source, target = describe_source(PEER, requests=True), describe_target(RemotePeer("NODE"), requests=False)
    return tell_transfer(source, target, told, PATIENT, begins=begins)


@pytest.mark.parametrize(
    ("event", "code", "outcome"),
    [
        (tell_application("serve", "1", "root", {}, starts=True), "110100", SUCCESS),
        (tell_refusal(PEER, "NODE", "address not allowed"), "110113", MINOR_FAILURE),
        (transfer(begins=True), "110102", SUCCESS),
        (transfer(), "110104", SUCCESS),
        (transfer("DestinationUnreachable"), "110104", SERIOUS_FAILURE),
        (tell_deletion("NODE", "series", "1.2", "it is old"), "110105", SUCCESS),
        (tell_query(PEER, "NODE", "study", None, ""), "110112", SUCCESS),
        (tell_query(PEER, "NODE", "study", None, "ArchiveUnreachable"), "110112", MINOR_FAILURE),
    ],
)
def test_what_dicom_has_a_message_for_is_told_by_it(event: AuditEvent, code: str, outcome: int) -> None:
    assert (event.what.value, event.what.scheme, event.outcome) == (code, "DCM", outcome)


def test_what_dicom_has_none_for_is_under_a_scheme_of_ours() -> None:
    for event in (tell_association(PEER, "NODE"), tell_command("root", "resend", "j1", {}, "")):
        assert event.what.scheme == OURS


def test_start_and_stop_are_told_apart_and_a_stop_has_no_configuration() -> None:
    start = tell_application("serve", "1", "root", {"version": "1"}, starts=True)
    stop = tell_application("serve", "1", "root", {}, starts=False)
    assert [start.types[0].value, stop.types[0].value] == ["110120", "110121"]
    assert [len(start.concerned), len(stop.concerned)] == [1, 0]


def test_a_transfer_names_both_ends_study_series_job_and_patient() -> None:
    event = transfer()
    assert [(one.name, one.requests, one.role and one.role.value) for one in event.participants] == [
        ("SCANNER", True, "110153"),
        ("NODE", False, "110152"),
    ]
    assert event.participants[0].alternative == "CN=scanner"
    study, patient = event.concerned
    assert (study.identifier, study.details, study.classes) == (
        "1.2",
        {"Series Instance UID": "1.3", "job": "j1"},
        {"1.2.840": 2},
    )
    assert patient is PATIENT


def test_the_patient_of_a_transfer_is_never_told_but_by_the_object_that_was_chosen_for_it() -> None:
    source, target = describe_source(PEER, requests=True), describe_target(RemotePeer("NODE"), requests=False)
    assert "DOE" not in repr(tell_transfer(source, target, SERIES, None, begins=False))


def test_somebody_without_a_name_is_told_by_the_address() -> None:
    event = tell_refusal(RemotePeer(address="10.0.0.9"), "NODE", "address not allowed")
    assert event.participants[0].name == event.concerned[0].identifier == "10.0.0.9"
