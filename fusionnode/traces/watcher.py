"""Watches one process: what the edges tell becomes audit messages and counts (edge)."""

import getpass
import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from fusionnode.flow.observing import NOBODY, RemotePeer, StoreAnswer, Subject, Transfer
from fusionnode.traces.events import (
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
from fusionnode.traces.message import Concerned, Participant
from fusionnode.traces.meters import Meters
from fusionnode.traces.people import AuditKey, Naming, choose_naming, name_patient
from fusionnode.traces.repeats import Repeats
from fusionnode.traces.trail import AuditTrail

_SUCCESS = 0x0000
_SERIES_PER_ASSOCIATION = 256
_REPEAT_SECONDS = 60.0
_REFUSALS_TOLD = 100
_MINDING_SECONDS = 10.0


@dataclass
class _Open:
    """One open association and what it brought: numbers by SOP class, by whose data, by whether they were stored."""

    peer: RemotePeer
    stored: dict[Subject, Counter[str]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)


class Watcher:
    """Fulfils `fusionnode.flow.observing.IntakeObserver` and `ExchangeObserver`.

    Args:
        role: of this process, such as ``serve``.
        own: this node as others know it.
        trail: where audit messages go.
        naming: how patients appear there; without a key they are not named by a hash.
        facts: the configuration this process runs with, for the record of its start; no secrets.
    """

    def __init__(
        self,
        role: str,
        own: RemotePeer,
        trail: AuditTrail,
        naming: Naming,
        key: AuditKey,
        facts: Mapping[str, str],
    ) -> None:
        self.meters = Meters()
        self.trail = trail
        self._role, self._own, self._facts = role, own, dict(facts)
        self._naming, self._key = choose_naming(naming, key), key
        self._turn = threading.Lock()
        self._stop, self._wake = threading.Event(), threading.Event()
        self._minder = threading.Thread(target=self._mind, name="audit-minder", daemon=True)
        self._open: dict[str, _Open] = {}
        self._alerts: Repeats[tuple[RemotePeer, str]] = Repeats(_REPEAT_SECONDS, _REFUSALS_TOLD, _forget_peer)
        self.meters.watch("fusionnode_audit_written", "Audit records of this process on disk.", lambda: trail.written)
        self.meters.watch("fusionnode_audit_lost", "Audit records that could not be kept.", lambda: trail.lost)
        self.meters.watch("fusionnode_audit_ill", "1 while audit records wait for a disk.", lambda: bool(trail.trouble))

    def __enter__(self) -> Self:
        """Record that the process starts, and look after the trail from now on."""
        self._tell_application(starts=True)
        self._minder.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record that it stops."""
        self._stop.set()
        self._wake.set()
        self._minder.join()
        self._tell_repeats(self._alerts.drain())
        self._tell_application(starts=False)
        self.trail.close()

    def association_opened(self, association: str, peer: RemotePeer) -> None:
        """An association was accepted."""
        with self._turn:
            self._open[association] = _Open(peer)
            self.meters.associations_open.set(len(self._open))
        self.meters.associations.labels("accepted").inc()
        self.trail.record(tell_association(peer, self._own.ae_title))

    def association_refused(self, peer: RemotePeer, reason: str) -> None:
        """A connection or association was turned away; one like the last is counted and told a minute later.

        Waits for no disk, as it is told by the thread that accepts connections: the minder writes it in a moment.
        """
        self.meters.associations.labels("refused").inc()
        with self._turn:
            new, due = self._alerts.note((peer, reason), time.monotonic())
        self._tell_repeats(due)
        if new:
            self.trail.queue(tell_refusal(peer, self._own.ae_title, reason))
            self._wake.set()

    @property
    def is_minding(self) -> bool:
        """Whether somebody sees to what waits to be written."""
        return self._minder.is_alive()

    def look_after(self) -> str:
        """Write what waits; returns what keeps the trail from being whole, or nothing."""
        with self._turn:
            due = self._alerts.drain(time.monotonic() - _REPEAT_SECONDS)
        self._tell_repeats(due)
        self.trail.flush()
        return self.trail.trouble

    def instance_answered(self, association: str, answer: StoreAnswer) -> None:
        """A C-STORE request is about to be answered; the first of a series is recorded before it is."""
        self.meters.instances.labels(f"{answer.status:04X}").inc()
        outcome = "stored" if answer.status == _SUCCESS else "refused"
        self.meters.store_seconds.labels(outcome).observe(answer.seconds)
        finished: list[tuple[RemotePeer, Transfer]] = []
        with self._turn:
            known = self._open.setdefault(association, _Open(RemotePeer()))
            if answer.status != _SUCCESS:
                known.refused[f"{answer.status:04X}"] += 1
                return
            begins = answer.subject not in known.stored
            if begins and len(known.stored) >= _SERIES_PER_ASSOCIATION:
                finished = _list_stored(known)
                known.stored.clear()
            known.stored.setdefault(answer.subject, Counter())[answer.sop_class_uid] += 1
        for peer, transfer in finished:
            self._tell_received(peer, transfer, begins=False)
        if begins:
            self._tell_received(known.peer, Transfer(answer.subject), begins=True)

    def association_ended(self, association: str, how: str) -> None:
        """An association is over; told again, it changes nothing."""
        with self._turn:
            known = self._open.pop(association, None)
            self.meters.associations_open.set(len(self._open))
        if known is None:
            return
        for peer, transfer in _list_stored(known):
            self._tell_received(peer, transfer, begins=False)
        if known.refused:
            statuses = ", ".join(f"{count} with {status}" for status, count in sorted(known.refused.items()))
            refused = Transfer(NOBODY, {}, f"refused {statuses}; the association was {how}")
            self._tell_received(known.peer, refused, begins=False)

    def archive_queried(self, peer: RemotePeer, what: str, patient_id: str, trouble: str) -> None:
        """An archive was asked for studies, series or instances."""
        patient = self._name(Subject(patient_id=patient_id))
        self.trail.record(tell_query(peer, self._own.ae_title, what, patient, trouble))

    def instances_fetched(self, peer: RemotePeer, transfer: Transfer) -> None:
        """Instances of a series came from an archive."""
        source, target = describe_source(peer, requests=False), describe_target(self._own, requests=True)
        self._tell_transfer(source, target, transfer, begins=False)

    def sending_begins(self, peer: RemotePeer, transfer: Transfer) -> None:
        """Instances of a series are about to be sent."""
        source, target = describe_source(self._own, requests=True), describe_target(peer, requests=False)
        self._tell_transfer(source, target, transfer, begins=True)

    def instances_sent(self, peer: RemotePeer, transfer: Transfer) -> None:
        """Instances of a series were sent, or could not be."""
        source, target = describe_source(self._own, requests=True), describe_target(peer, requests=False)
        self._tell_transfer(source, target, transfer, begins=False)

    def data_deleted(self, kind: str, name: str, why: str) -> None:
        """What was received or made is gone."""
        self.trail.record(tell_deletion(self._own.ae_title, kind, name, why))

    def command_given(self, verb: str, subject: str, facts: Mapping[str, str], trouble: str = "") -> None:
        """A person changed by hand what becomes of a job or series; ``verb`` is that of the command line."""
        self.trail.record(tell_command(name_account(), verb, subject, facts, trouble))

    def _mind(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(_MINDING_SECONDS)
            self._wake.clear()
            self.look_after()

    def _tell_repeats(self, due: list[tuple[tuple[RemotePeer, str], int]]) -> None:
        for (peer, reason), count in due:
            whose = "" if any(vars(peer).values()) else ", of peers that are not named"
            self.trail.queue(tell_refusal(peer, self._own.ae_title, f"{reason}; {count} times more{whose}"))

    def _tell_received(self, peer: RemotePeer, transfer: Transfer, *, begins: bool) -> None:
        source, target = describe_source(peer, requests=True), describe_target(self._own, requests=False)
        self._tell_transfer(source, target, transfer, begins=begins)

    def _tell_transfer(self, source: Participant, target: Participant, transfer: Transfer, *, begins: bool) -> None:
        self.trail.record(tell_transfer(source, target, transfer, self._name(transfer.subject), begins=begins))

    def _tell_application(self, *, starts: bool) -> None:
        facts = self._facts if starts else {}
        self.trail.record(tell_application(self._role, str(os.getpid()), name_account(), facts, starts=starts))

    def _name(self, subject: Subject) -> Concerned | None:
        return name_patient(subject, self._naming, self._key)


def name_account() -> str:
    """Return the account this process runs under: its name, or its number where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _forget_peer(refusal: tuple[RemotePeer, str]) -> tuple[RemotePeer, str]:
    """Return what stands for the refusals of very many peers: the reason, of which there are few."""
    return RemotePeer(), refusal[1]


def _list_stored(known: _Open) -> list[tuple[RemotePeer, Transfer]]:
    return [(known.peer, Transfer(subject, dict(classes))) for subject, classes in known.stored.items()]
