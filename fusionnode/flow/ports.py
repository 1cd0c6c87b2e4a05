"""What the plot needs from the edges, as Protocols; `wiring` decides who fulfils them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeAlias

from pydicom import Dataset

from fusionnode.domain.consignment import Consignment
from fusionnode.domain.images import PreparedPair
from fusionnode.domain.job import Job, JobEvent, JobState, Lease
from fusionnode.domain.pair import Rejection
from fusionnode.domain.series import InstanceHeader, Series, SeriesKey
from fusionnode.domain.terms import SeriesState, Step
from fusionnode.flow.overview import Overview

Narrator: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""``with narrate("register"): ...`` tells the step and keeps its seconds; made by `logs.StepClock`."""


class Arrival(StrEnum):
    """What the ledger made of an instance it was shown."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class Delivery:
    """One instance owed to one destination.

    Attributes:
        path: relative to the spool's root.
        refusals: how often in a row it was refused for a reason that lies in itself (`DeliveryOutcome.final`).
    """

    job_id: str
    destination: str
    sop_class_uid: str
    sop_instance_uid: str
    path: str
    attempts: int = 0
    last_status: str = ""
    refusals: int = 0


@dataclass(frozen=True)
class DeliveryOutcome:
    """What became of one C-STORE.

    Attributes:
        status: the DIMSE status as four hexadecimal digits, or a word.
        final: the status speaks of the instance itself, so that sending it again will hardly help.
    """

    delivery: Delivery
    stored: bool
    status: str
    final: bool = False


@dataclass(frozen=True)
class CommitmentReport:
    """What a destination says of a storage commitment it was asked for (PS3.4 section J.3.3).

    Attributes:
        committed: SOP Instance UIDs it answers for.
        lost: Failure Reason by the SOP Instance UID of those it does not answer for.
    """

    transaction_uid: str
    committed: frozenset[str]
    lost: Mapping[str, int]


class ReportFate(StrEnum):
    """What the ledger made of a commitment report. A worker that is busy with the job has to end its step first."""

    ENTERED = "entered"
    BUSY = "busy"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class StoredFile:
    """One durable file of the spool.

    Attributes:
        path: where it is now, absolute.
        place: where it belongs once indexed, relative to the spool's root; what the ledger remembers.
        sha256: of the data set bytes (file meta information left out), hexadecimal.
    """

    path: Path
    place: str
    sha256: str


class Arrivals(Protocol):
    """The instances the listener made durable and the ledger has not seen yet."""

    def list_arrivals(self) -> Iterator[StoredFile]:
        """Yield the files that wait to be indexed, oldest first."""

    def settle_arrival(self, arrival: StoredFile) -> None:
        """Move an indexed arrival to its place; safe to repeat, also after a crash in between."""

    def quarantine_arrival(self, arrival: StoredFile, reason: str) -> None:
        """Move an arrival that cannot be indexed aside, with the reason beside it; nothing is ever deleted."""

    def list_places_in_flight(self) -> frozenset[str]:
        """Places of the instances that still-open associations have sent so far."""


class HeaderReader(Protocol):
    """Reads the facts of a stored instance."""

    def __call__(self, stored: StoredFile) -> InstanceHeader:
        """Return the facts; ``path`` in them is ``stored.place``.

        Raises:
            DatasetUnreadable: it is not a usable DICOM instance.
            UidMalformed: one of its UIDs is no UID.
        """


class Ledger(Overview, Protocol):
    """The database: what arrived, what was decided, what is to be done. Every method is one transaction."""

    def record_instance(self, header: InstanceHeader, seen_at: datetime) -> Arrival:
        """Enter one instance; a new one in a closed series reopens it under the next generation."""

    def list_contradicted(self, sop_instance_uid: str) -> list[str]:
        """UIDs of all series that some arrival of this SOP instance contradicts, in their order."""

    def list_series(self, states: Collection[SeriesState], seen_since: datetime | None = None) -> list[Series]:
        """All series in one of ``states``, last heard of not before ``seen_since``, with instances, by UID."""

    def list_keys(self, states: Collection[SeriesState], seen_since: datetime | None = None) -> list[SeriesKey]:
        """The keys of what `list_series` returns, in the same order, without reading any instance."""

    def list_related(self, keys: Collection[SeriesKey]) -> list[Series]:
        """All series, in any state, that may bear on how ``keys`` are paired, ordered by UID.

        Those are all of the same Patient ID; but of one that many patients share only those that a chain of studies
        and frames of reference joins to ``keys``, and without one only ``keys`` themselves.
        """

    def find_series(self, key: SeriesKey) -> Series:
        """The series as it stood in generation ``key.generation``."""

    def set_series_state(self, key: SeriesKey, state: SeriesState, reason: str) -> bool:
        """Set the state unless a later generation has begun meanwhile; returns whether it was set."""

    def record_rejections(self, rejections: Sequence[Rejection], decided_at: datetime) -> list[Rejection]:
        """Keep why series were not paired, the same reason for the same series once; return what is new."""

    def withdraw_rejections(self, pipeline: str, series_uids: Collection[str]) -> None:
        """Forget why ``pipeline`` did not pair these series, which it pairs now, in all their generations."""

    def list_rejections(self, series_instance_uid: str | None = None) -> list[Rejection]:
        """Every recorded rejection, or those of one series in all its generations, oldest first."""

    def add_job(self, job: Job, because: str = "") -> bool:
        """Enter a job, and into the log ``because`` of what; False when its id is known already."""

    def has_job(self, job_id: str) -> bool:
        """Whether the job is known."""

    def follow_sources(self, job_id: str, fixed: SeriesKey, moving: SeriesKey) -> None:
        """Have a job that a human may retry use these generations, which have the content it was made from."""

    def find_job(self, job_id: str) -> Job:
        """The job.

        Raises:
            JobUnknown: there is none.
        """

    def list_jobs(self, states: Collection[JobState] | None = None, limit: int = 1000) -> list[Job]:
        """Jobs, newest first."""

    def list_jobs_on(self, series_uids: Collection[str]) -> list[Job]:
        """Every job one of whose two series is among ``series_uids``, newest first."""

    def list_claimable(self, step: Step, now: datetime, limit: int = 1000) -> list[str]:
        """Ids of jobs that wait for ``step`` and whose time has come, oldest first."""

    def claim_job(
        self, step: Step, now: datetime, lease_seconds: float, worker: str, job_id: str | None = None
    ) -> Job | None:
        """Take one waiting job (or exactly ``job_id``) by one conditional UPDATE; its fence grows by one.

        Returns None when nothing is claimable, or when another worker was quicker.
        """

    def renew_lease(self, job: Job, now: datetime, lease_seconds: float) -> None:
        """Prolong the lease.

        Raises:
            LeaseLost: the job was claimed again or moved on since.
        """

    def advance_job(
        self,
        job: Job,
        event: JobEvent,
        now: datetime,
        cause: Exception | str | None = None,
        not_before: datetime | None = None,
    ) -> Job:
        """Move a claimed job along the transition table, if and only if ``job.fence`` is still the current one.

        ``cause`` fills ``reason`` and, where it is no mere remark, ``error``; ``not_before`` holds a deferred job back.

        Raises:
            LeaseLost: the fence has moved on.
            TransitionForbidden: the table has no such arrow.
        """

    def retry_job(self, job_id: str, now: datetime) -> Job:
        """Put a refused or failed job back at its beginning.

        Raises:
            JobUnknown, TransitionForbidden
        """

    def resend_job(self, job_id: str, now: datetime, destination: str = "", *, everything: bool = False) -> Job:
        """Have a job's instances sent again at once: those outstanding, or ``everything``.

        Raises:
            JobUnknown, TransitionForbidden
        """

    def supersede_jobs(self, pipeline: str, fixed_uid: str, moving_uid: str, keep: str, now: datetime) -> list[str]:
        """End every unfinished job of the pair other than ``keep``; return ids of all earlier jobs, newest first."""

    def withdraw_jobs(self, series_instance_uid: str, reason: str, now: datetime) -> list[str]:
        """End every unfinished job on the series, whatever its generation; return their ids."""

    def list_leases(self) -> list[Lease]:
        """Return every lease that is held now, whatever any clock says."""

    def release_leases(self, leases: Collection[Lease], now: datetime) -> list[Job]:
        """Return the jobs of those leases that are still the same to their waiting state; return those jobs."""

    def add_deliveries(self, deliveries: Iterable[Delivery]) -> None:
        """Owe these instances to their destinations; known ones are left as they are."""

    def list_undelivered(self, job_id: str, destination: str = "") -> list[Delivery]:
        """What is still owed for a job, to one destination or to all, in a stable order."""

    def list_uncommitted(self, job_id: str, destination: str) -> list[Delivery]:
        """What a destination accepted and has not committed to, in the order of publishing."""

    def list_refused(self, job_id: str, destination: str) -> list[Delivery]:
        """What was given up because the destination refuses it, in the order of publishing."""

    def record_outcome(self, job: Job, outcome: DeliveryOutcome, now: datetime, *, given_up: bool = False) -> None:
        """Account for one attempt at one instance, the last one if it is ``given_up``.

        Raises:
            LeaseLost: the job was claimed again or moved on since.
        """

    def list_consignments(self, job_id: str) -> list[Consignment]:
        """The accounts of the job with its destinations, by destination."""

    def save_consignment(self, job: Job, consignment: Consignment, now: datetime) -> None:
        """Keep how the last try ended, if and only if ``job.fence`` is still the current one.

        Raises:
            LeaseLost: the job was claimed again or moved on since.
        """

    def open_commitment(self, job: Job, destination: str, transaction_uid: str, now: datetime) -> None:
        """Make a transaction known before it is asked for, so that its report finds its job whenever it comes.

        Raises:
            LeaseLost: the job was claimed again or moved on since.
        """

    def record_report(self, report: CommitmentReport, now: datetime, again: Callable[[int], datetime]) -> ReportFate:
        """Enter what a destination reports: what it committed to is safe, what it lost is owed again.

        ``again`` gives, from the number of requests so far, when what was lost is sent again.
        """

    def count_deliveries(self, job_id: str) -> tuple[int, int]:
        """(stored, owed in total) over all destinations of the job."""

    def close(self) -> None:
        """Hang up; whoever asks afterwards is connected anew."""

    def count_statuses(self, job_id: str) -> dict[str, int]:
        """How many instances of the job each destination last answered with which status, by "destination status"."""


class SeriesSource(Protocol):
    """Where the data sets of a series come from: the spool, or a folder."""

    def read_series(self, key: SeriesKey, *, pixels: bool) -> list[Dataset]:
        """All data sets of that generation that hold pictures, in any order; without pixel data where that is enough.

        Raises:
            SpoolFileMissing, DatasetUnreadable
        """


class PreparedStore(Protocol):
    """Where a prepared pair waits between the prepare and the fuse step."""

    def save_prepared(self, job: Job, prepared: PreparedPair) -> None:
        """Write it so that it is visible whole or not at all."""

    def load_prepared(self, job: Job) -> PreparedPair:
        """Read it back.

        Raises:
            SpoolFileMissing: it is not there.
        """

    def discard_prepared(self, job: Job) -> None:
        """Forget it; nothing happens when it is gone already."""

    def keep_only(self, job_ids: Collection[str]) -> int:
        """Forget all but these; return how many were forgotten."""


class Outbox(Protocol):
    """Where finished objects wait for the sender; visible whole or not at all."""

    def publish(self, job: Job, objects: Sequence[Dataset]) -> list[tuple[Dataset, str]]:
        """Write all objects, then make them visible at once; returns each with its path relative to the spool."""


class Reports(Protocol):
    """The commitment reports that were made durable and the ledger has not seen yet."""

    def list_reports(self) -> Iterator[tuple[str, CommitmentReport]]:
        """Yield them with their names, oldest first."""

    def discard_report(self, name: str) -> None:
        """Forget one; nothing happens when it is gone already."""


class Sender(Protocol):
    """Carries instances to a destination."""

    def send(self, destination: str, deliveries: Sequence[Delivery]) -> Iterator[DeliveryOutcome]:
        """Send each instance and yield what became of it.

        Raises:
            SettingsInvalid: there is no such destination.
            DestinationUnreachable: it does not answer, or broke off; what was yielded before stands.
        """

    def offers_commitment(self, destination: str) -> bool:
        """Whether storage commitment is to be asked of it; False also for one that does not exist."""

    def request_commitment(self, destination: str, transaction_uid: str, deliveries: Sequence[Delivery]) -> None:
        """Ask the destination to answer for instances it accepted; the report comes by another way, later.

        Raises:
            DestinationUnreachable: it does not answer.
            CommitmentRefused: it does not take the request.
        """

    def echo(self, destination: str) -> str:
        """Ask whether the destination answers; returns what it answered.

        Raises:
            SettingsInvalid: there is no such destination.
            DestinationUnreachable: it does not answer, or not with success.
        """
