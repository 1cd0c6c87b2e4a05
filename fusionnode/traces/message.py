"""Audit messages as XML (PS3.15 section A.5.1). Pure."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE = 0, 4, 8
"""Event Outcome Indicator."""

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST = 1024


@dataclass(frozen=True)
class Code:
    """A coded value; ``scheme`` is DCM for those of PS3.16, or ours."""

    value: str
    meaning: str
    scheme: str = "DCM"


@dataclass(frozen=True)
class Participant:
    """Somebody or something that took part (Active Participant).

    Attributes:
        name: AE title, name of a process or account, or an address: what it is best known by.
        role: Role ID Code of PS3.16 CID 402; None where none fits.
        requests: whether it asked for what happened.
        address: IP address, host name or URL.
        alternative: process id, or subject of a certificate.
    """

    name: str
    role: Code | None
    requests: bool
    address: str = ""
    alternative: str = ""


@dataclass(frozen=True)
class Concerned:
    """Something that was touched (Participant Object).

    Attributes:
        kind: Participant Object Type Code: 1 person, 2 system object.
        role: Participant Object Type Code Role: 1 patient, 3 report or study, 13 security resource, 20 job.
        details: texts by name.
        classes: number of instances by SOP Class UID.
    """

    identifier: str
    kind: int
    role: int
    identifier_type: Code
    details: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditEvent:
    """One thing an auditor wants to hear of.

    Attributes:
        action: C create, R read, U update, D delete or E execute.
        outcome: `SUCCESS`, `MINOR_FAILURE` or `SERIOUS_FAILURE`.
        words: why, where it did not end well; our own words only.
    """

    what: Code
    action: str
    participants: tuple[Participant, ...]
    concerned: tuple[Concerned, ...] = ()
    types: tuple[Code, ...] = ()
    outcome: int = SUCCESS
    words: str = ""


def encode_message(event: AuditEvent, at: datetime, source: str) -> str:
    """Return the message on one line; ``source`` names this installation, ``at`` is timezone-aware."""
    message = ET.Element("AuditMessage")
    about = ET.SubElement(
        message,
        "EventIdentification",
        EventActionCode=event.action,
        EventDateTime=format_moment(at),
        EventOutcomeIndicator=str(event.outcome),
    )
    _add_code(about, "EventID", event.what)
    for code in event.types:
        _add_code(about, "EventTypeCode", code)
    if event.words:
        ET.SubElement(about, "EventOutcomeDescription").text = clean(event.words)
    for participant in event.participants:
        _add_participant(message, participant)
    origin = ET.SubElement(message, "AuditSourceIdentification", AuditSourceID=clean(source))
    _add_code(origin, "AuditSourceTypeCode", Code("4", "Application Server Process", "DCM"))
    for one in event.concerned:
        _add_concerned(message, one)
    return ET.tostring(message, encoding="unicode")


def summarize(event: AuditEvent) -> dict[str, Any]:
    """Return the same in few words, as plain JSON values, for those who read no XML."""
    facts: dict[str, Any] = {
        "event": ": ".join(code.meaning for code in (event.what, *event.types)),
        "outcome": event.outcome,
        "participants": [{"name": clean(one.name), "address": clean(one.address)} for one in event.participants],
        "objects": [
            {one.identifier_type.meaning: clean(one.identifier)}
            | {name: clean(text) for name, text in one.details.items()}
            | ({"instances": sum(one.classes.values())} if one.classes else {})
            for one in event.concerned
        ],
    }
    return facts | ({"why": clean(event.words)} if event.words else {})


def format_moment(at: datetime) -> str:
    """Return RFC 3339 text in UTC, to the microsecond."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def clean(text: str) -> str:
    """Return text that XML can hold, on one line and of bounded length: a peer chose part of it."""
    return " ".join(_UNPRINTABLE.sub("\ufffd", text[:_LONGEST]).split())


def _add_code(parent: ET.Element, name: str, code: Code) -> None:
    facts = {"csd-code": code.value, "codeSystemName": code.scheme, "originalText": code.meaning}
    ET.SubElement(parent, name, facts)


def _add_participant(message: ET.Element, one: Participant) -> None:
    facts = {"UserID": clean(one.name) or "unknown", "UserIsRequestor": "true" if one.requests else "false"}
    if one.alternative:
        facts["AlternativeUserID"] = clean(one.alternative)
    if one.address:
        is_address = re.fullmatch(r"[0-9.]+|[0-9a-fA-F:.%]*:[0-9a-zA-Z:.%]*", one.address) is not None
        kind = "5" if "://" in one.address else "2" if is_address else "1"
        facts |= {"NetworkAccessPointID": clean(one.address), "NetworkAccessPointTypeCode": kind}
    element = ET.SubElement(message, "ActiveParticipant", facts)
    if one.role is not None:
        _add_code(element, "RoleIDCode", one.role)


def _add_concerned(message: ET.Element, one: Concerned) -> None:
    element = ET.SubElement(
        message,
        "ParticipantObjectIdentification",
        ParticipantObjectID=clean(one.identifier) or "unknown",
        ParticipantObjectTypeCode=str(one.kind),
        ParticipantObjectTypeCodeRole=str(one.role),
    )
    _add_code(element, "ParticipantObjectIDTypeCode", one.identifier_type)
    # The schema wants a name or a query here; what we would call it is what it is identified by.
    ET.SubElement(element, "ParticipantObjectName").text = clean(one.identifier) or "unknown"
    for name, text in one.details.items():
        ET.SubElement(element, "ParticipantObjectDetail", type=name, value=_encode_detail(text))
    for uid, count in sorted(one.classes.items()):
        ET.SubElement(element, "SOPClass", UID=clean(uid), NumberOfInstances=str(count))


def _encode_detail(text: str) -> str:
    return base64.b64encode(clean(text).encode()).decode("ascii")
