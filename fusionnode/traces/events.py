"""Which audit message (PS3.15 section A.5.3) tells of what. Pure.

What PS3.15 has no message for has an Event ID of ours, under the scheme 99FUSIONNODE, and the same structure.
"""

from collections.abc import Mapping

from fusionnode.flow.observing import RemotePeer, Transfer
from fusionnode.traces.message import MINOR_FAILURE, SERIOUS_FAILURE, SUCCESS, AuditEvent, Code, Concerned, Participant

OURS = "99FUSIONNODE"

_APPLICATION = Code("110150", "Application")
_LAUNCHER = Code("110151", "Application Launcher")
_DESTINATION = Code("110152", "Destination Role ID")
_SOURCE = Code("110153", "Source Role ID")
_STUDY_UID = Code("110180", "Study Instance UID")
_SUBJECT = Code("subject", "Job, Series or Folder", OURS)
_NODE = Code("110182", "Node ID")


def tell_application(role: str, process: str, account: str, facts: Mapping[str, str], *, starts: bool) -> AuditEvent:
    """Application Start or Stop (A.5.3.1); ``facts`` is the configuration it runs with."""
    kind = Code("110120", "Application Start") if starts else Code("110121", "Application Stop")
    return AuditEvent(
        what=Code("110100", "Application Activity"),
        action="E",
        types=(kind,),
        participants=(
            Participant(f"fusionnode {role}", _APPLICATION, requests=False, alternative=process),
            Participant(account, _LAUNCHER, requests=True),
        ),
        concerned=(Concerned("configuration", 2, 13, Code("configuration", "Configuration", OURS), facts),)
        if facts
        else (),
    )


def tell_association(peer: RemotePeer, own: str) -> AuditEvent:
    """An association was accepted."""
    return AuditEvent(
        what=Code("association", "Association Opened", OURS),
        action="E",
        participants=(_describe(peer, _SOURCE, requests=True), Participant(own, _DESTINATION, requests=False)),
    )


def tell_refusal(peer: RemotePeer, own: str, reason: str) -> AuditEvent:
    """Security Alert (A.5.3.11): somebody was turned away."""
    return AuditEvent(
        what=Code("110113", "Security Alert"),
        action="E",
        types=(Code("110126", "Node Authentication"),),
        outcome=MINOR_FAILURE,
        words=reason,
        participants=(_describe(peer, None, requests=True), Participant(own, _APPLICATION, requests=False)),
        concerned=(Concerned(peer.address or "unknown", 2, 13, _NODE, {"called AE title": peer.called}),),
    )


def tell_transfer(
    source: Participant, target: Participant, transfer: Transfer, patient: Concerned | None, *, begins: bool
) -> AuditEvent:
    """Begin Transferring DICOM Instances (A.5.3.4), or DICOM Instances Transferred (A.5.3.7), of one series."""
    what = (
        Code("110102", "Begin Transferring DICOM Instances")
        if begins
        else Code("110104", "DICOM Instances Transferred")
    )
    details = {"Series Instance UID": transfer.subject.series_instance_uid, "job": transfer.job}
    study = Concerned(
        transfer.subject.study_instance_uid,
        2,
        3,
        _STUDY_UID,
        {name: text for name, text in details.items() if text},
        transfer.classes,
    )
    return AuditEvent(
        what=what,
        action="E" if begins else "C",
        outcome=SERIOUS_FAILURE if transfer.trouble else SUCCESS,
        words=transfer.trouble,
        participants=(source, target),
        concerned=(study, *([patient] if patient else [])),
    )


def tell_query(peer: RemotePeer, own: str, what: str, patient: Concerned | None, trouble: str) -> AuditEvent:
    """Query (A.5.3.10). Its keys would name patients, so only the level is told, and the patient as the site chose."""
    asked = Concerned(what, 2, 3, Code("query", "Query Level", OURS))
    return AuditEvent(
        what=Code("110112", "Query"),
        action="E",
        outcome=MINOR_FAILURE if trouble else SUCCESS,
        words=trouble,
        participants=(
            Participant(own, _SOURCE, requests=True),
            _describe(peer, _DESTINATION, requests=False),
        ),
        concerned=(asked, *([patient] if patient else [])),
    )


def tell_deletion(own: str, kind: str, name: str, why: str) -> AuditEvent:
    """DICOM Study Deleted (A.5.3.5), of a series, of a job's results, or of what was never usable."""
    return AuditEvent(
        what=Code("110105", "DICOM Study Deleted"),
        action="D",
        participants=(Participant(own, _APPLICATION, requests=True),),
        concerned=(Concerned(name, 2, 3, Code(kind, kind.capitalize(), OURS), {"because": why}),),
    )


def tell_command(account: str, verb: str, subject: str, facts: Mapping[str, str], trouble: str) -> AuditEvent:
    """A person changed by hand what becomes of a job or series (``subject``, its id), or of all (a folder's path)."""
    return AuditEvent(
        what=Code(verb, f"Command: {verb}", OURS),
        action="U",
        outcome=MINOR_FAILURE if trouble else SUCCESS,
        words=trouble,
        participants=(Participant(account, None, requests=True),),
        concerned=(Concerned(subject, 2, 20, _SUBJECT, facts),),
    )


def describe_source(peer: RemotePeer, *, requests: bool) -> Participant:
    """Return a peer that data come from."""
    return _describe(peer, _SOURCE, requests=requests)


def describe_target(peer: RemotePeer, *, requests: bool) -> Participant:
    """Return a peer that data go to."""
    return _describe(peer, _DESTINATION, requests=requests)


def _describe(peer: RemotePeer, role: Code | None, *, requests: bool) -> Participant:
    name = peer.ae_title or peer.address or "unknown"
    return Participant(name, role, requests, address=peer.address, alternative=peer.certificate)
