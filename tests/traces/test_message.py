"""Audit messages: the structure of PS3.15 section A.5.1, whatever a peer calls itself."""

import base64
from datetime import UTC, datetime, timedelta, timezone
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from fusionnode.traces.message import AuditEvent, Code, Concerned, Participant, clean, encode_message, format_moment

AT = datetime(2026, 3, 4, 5, 6, 7, 8, tzinfo=UTC)


def make_event(name: str = "SCANNER", words: str = "") -> AuditEvent:
    study = Concerned("1.2.3", 2, 3, Code("110180", "Study Instance UID"), {"job": name}, {"1.2.840": 3})
    taking_part = (Participant(name, Code("110153", "Source Role ID"), requests=True, address="10.0.0.1"),)
    return AuditEvent(Code("110104", "DICOM Instances Transferred"), "C", taking_part, (study,), words=words)


def test_the_parts_stand_in_the_order_of_the_schema() -> None:
    message = ET.fromstring(encode_message(make_event(words="why"), AT, "NODE"))
    assert [part.tag for part in message] == [
        "EventIdentification",
        "ActiveParticipant",
        "AuditSourceIdentification",
        "ParticipantObjectIdentification",
    ]
    about = message[0]
    assert about.attrib == {
        "EventActionCode": "C",
        "EventDateTime": "2026-03-04T05:06:07.000008Z",
        "EventOutcomeIndicator": "0",
    }
    assert about[0].attrib == {
        "csd-code": "110104",
        "codeSystemName": "DCM",
        "originalText": "DICOM Instances Transferred",
    }
    assert [part.tag for part in about] == ["EventID", "EventOutcomeDescription"]
    assert [part.tag for part in message[3]] == [
        "ParticipantObjectIDTypeCode",
        "ParticipantObjectName",
        "ParticipantObjectDetail",
        "SOPClass",
    ]
    assert base64.b64decode(message[3][2].attrib["value"]) == b"SCANNER"
    assert message[3][3].attrib == {"UID": "1.2.840", "NumberOfInstances": "3"}


def test_addresses_are_told_by_kind() -> None:
    kinds = {"10.0.0.1": "2", "fe80::1": "2", "mr.example": "1", "https://x/dicom-web": "5"}
    for address, kind in kinds.items():
        event = AuditEvent(Code("x", "x"), "E", (Participant("A", None, requests=False, address=address),))
        participant = ET.fromstring(encode_message(event, AT, "NODE"))[1]
        assert participant.attrib["NetworkAccessPointTypeCode"] == kind, address


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_a_peer_says_the_message_is_one_line_of_well_formed_xml(name: str, words: str) -> None:
    text = encode_message(make_event(name, words), AT, name)
    assert len(text.splitlines()) == 1
    message = ET.fromstring(text)
    assert message[1].attrib["UserID"] == (clean(name) or "unknown")


def test_moments_are_utc_wherever_they_come_from() -> None:
    there = AT.astimezone(timezone(timedelta(hours=-7)))
    assert format_moment(there) == format_moment(AT) == "2026-03-04T05:06:07.000008Z"
