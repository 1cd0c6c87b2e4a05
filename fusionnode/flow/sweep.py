"""The plot between the pairs: index what arrived, settle series, pair them, queue jobs, free what hangs."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto

from fusionnode.domain.job import Job, JobState, derive_job_id
from fusionnode.domain.pair import Pair
from fusionnode.domain.series import InstanceHeader, Series, SeriesKey
from fusionnode.domain.terms import UNSETTLED, SeriesState
from fusionnode.errors import LedgerUnavailable, Refused, SpoolFull, Unavailable, format_frames
from fusionnode.faults import FaultPoint, reach
from fusionnode.flow.ports import Arrival, Arrivals, HeaderReader, Ledger, PreparedStore, StoredFile
from fusionnode.flow.silence import Silence
from fusionnode.pairing.match import match_pairs
from fusionnode.pairing.settle import Evidence, SettleTimes, Stillness, settle_series
from fusionnode.pipeline.schema import Pipeline

logger = logging.getLogger(__name__)

_HOLDING_PREPARED = (JobState.QUEUED, JobState.PREPARING, JobState.PREPARED, JobState.FUSING)
_WITHOUT_OUTPUT = (JobState.REFUSED, JobState.FAILED, JobState.SUPERSEDED)
_TRIES = 3


@dataclass(frozen=True)
class SweepReport:
    """What one sweep did."""

    indexed: int = 0
    quarantined: int = 0
    settled: tuple[SeriesKey, ...] = ()
    queued: tuple[Job, ...] = ()
    released: tuple[Job, ...] = ()


@dataclass
class Sweeper:
    """Keeps the ledger true to the spool. One per installation; a second one only repeats harmless work.

    One file, one series or one pipeline that cannot be dealt with never holds up the others.

    Attributes:
        pipelines: by name.
        rematch_seconds: complete series seen within the pipelines' hold times are matched again after this time, so
            that those whose time ran out are told so. The first round looks back over the pipelines' windows, so that
            pairs missed while no sweeper ran are found.
        judge_pair: asked before a job is entered; without it every pair is fused.
    """

    ledger: Ledger
    arrivals: Arrivals
    read_header: HeaderReader
    prepared: PreparedStore
    pipelines: Mapping[str, Pipeline]
    times: SettleTimes
    silence: Silence
    rematch_seconds: float = 600.0
    judge_pair: "PairJudge | None" = None
    _stillness: Stillness = field(default_factory=Stillness)
    _failures: Counter[str] = field(default_factory=Counter)
    _closed: set[SeriesKey] = field(default_factory=set)
    _matched_at: float | None = None

    def sweep(self, now: datetime, monotonic: float) -> SweepReport:
        """Do one round. ``now`` is stamped on what is made; ``monotonic`` (seconds) measures stillness and silence.

        Raises:
            LedgerUnavailable: the database is away; the next round starts where this one stopped.
        """
        released = tuple(self.release_silent(now, monotonic))
        indexed, quarantined = self._index_arrivals(now)
        closed = self._settle(monotonic)
        # A series that was set aside counts as well: others may have waited for it.
        self._closed |= closed.keys()
        queued = self._pair(now, monotonic)
        settled = tuple(key for key, state in closed.items() if state is SeriesState.COMPLETE)
        return SweepReport(indexed, quarantined, settled, queued, released)

    def release_silent(self, now: datetime, monotonic: float) -> list[Job]:
        """Free the steps whose workers renew their leases no more; return their jobs."""
        lapsed = self.silence.find_lapsed(self.ledger.list_leases(), monotonic)
        released = self.ledger.release_leases(lapsed, now)
        for job in released:
            logger.warning("job %s: its worker went silent; the step is free again", job.id, extra={"job_id": job.id})
        return released

    def _index_arrivals(self, now: datetime) -> tuple[int, int]:
        outcomes = Counter(self._index(arrival, now) for arrival in self.arrivals.list_arrivals())
        return outcomes[_Indexing.DONE], outcomes[_Indexing.SET_ASIDE]

    def _index(self, arrival: StoredFile, now: datetime) -> "_Indexing":
        try:
            self._record(arrival, now)
        except LedgerUnavailable:
            raise
        except Refused as refusal:
            return self._set_aside(arrival, f"{refusal.code}: {refusal}")
        except SpoolFull as full:
            logger.warning("%s waits to be indexed: %s", arrival.path.name, full)
            return _Indexing.PUT_OFF
        except Exception as error:
            self._failures[arrival.place] += 1
            if self._failures[arrival.place] == 1:
                logger.error("%s cannot be indexed and is tried again: %s", arrival.path.name, format_frames(error))
            if isinstance(error, Unavailable) or self._failures[arrival.place] < _TRIES:
                return _Indexing.PUT_OFF
            return self._set_aside(arrival, f"A defect of fusionnode: {type(error).__name__}. The log has its place.")
        self._failures.pop(arrival.place, None)
        return _Indexing.DONE

    def _set_aside(self, arrival: StoredFile, reason: str) -> "_Indexing":
        try:
            self.arrivals.quarantine_arrival(arrival, reason)
        except Unavailable as unavailable:
            logger.warning("%s is to be set aside later: %s", arrival.path.name, unavailable)
            return _Indexing.PUT_OFF
        logger.warning("set aside %s: %s", arrival.path.name, reason)
        self._failures.pop(arrival.place, None)
        return _Indexing.SET_ASIDE

    def _record(self, arrival: StoredFile, now: datetime) -> None:
        record_arrival(self.ledger, self.read_header(arrival), now)
        # The row is committed before the file moves, so a crash in between only repeats the move.
        reach(FaultPoint.INSTANCE_RECORDED)
        self.arrivals.settle_arrival(arrival)

    def _settle(self, monotonic: float) -> dict[SeriesKey, SeriesState]:
        """Return the series that were closed, and how, ordered by UID."""
        series = self.ledger.list_series(UNSETTLED)
        in_flight = self.arrivals.list_places_in_flight()
        self._stillness.forget_others({one.key.series_instance_uid for one in series})
        states = {one.key: self._settle_one(one, in_flight, monotonic) for one in series}
        return {key: state for key, state in states.items() if state not in UNSETTLED}

    def _settle_one(self, series: Series, in_flight: frozenset[str], monotonic: float) -> SeriesState:
        """Return the state of the series now."""
        seen = len(series.instances) + len(series.conflicts)
        evidence = Evidence(
            idle_seconds=self._stillness.observe(series.key.series_instance_uid, seen, monotonic),
            in_flight=any(instance.path in in_flight for instance in series.instances),
        )
        try:
            settlement = settle_series(series, evidence, self.times)
        except Exception as error:
            logger.error("defect in settling series %s: %s", series.key, format_frames(error))
            return series.state
        if settlement.state is series.state or not self.ledger.set_series_state(
            series.key, settlement.state, settlement.reason
        ):
            return series.state
        reach(FaultPoint.SERIES_SETTLED)
        about = {"series": [series.key.series_instance_uid]}
        logger.info("series %s is %s: %s", series.key, settlement.state, settlement.reason, extra=about)
        return settlement.state

    def _pair(self, now: datetime, monotonic: float) -> tuple[Job, ...]:
        keys = sorted(self._closed, key=lambda key: key.series_instance_uid)
        due = self._matched_at is None or monotonic - self._matched_at >= self.rematch_seconds
        if due:
            back = _longest_window(self.pipelines.values(), hold_only=self._matched_at is not None)
            keys += self.ledger.list_keys((SeriesState.COMPLETE,), now - back)
            self.prepared.keep_only({job.id for job in self.ledger.list_jobs(_HOLDING_PREPARED, limit=1_000_000)})
        queued = tuple(job for patient in self._list_patients(keys) for job in self._match(patient, now))
        # Only now: a round that the ledger broke off must be done again.
        self._closed.clear()
        self._matched_at = monotonic if due else self._matched_at
        return queued

    def _list_patients(self, keys: Iterable[SeriesKey]) -> Iterator[list[Series]]:
        """Yield all series of each patient whom ``keys`` belong to, one patient at a time: a hospital has many.

        All of them, however old: judged without the partner it has, a series would be given another one.
        """
        done: set[str] = set()
        for key in keys:
            if key.series_instance_uid not in done:
                patient = self.ledger.list_related([key])
                done |= {one.key.series_instance_uid for one in patient}
                yield patient

    def _match(self, patient: Sequence[Series], now: datetime) -> list[Job]:
        touched = any(series.key in self._closed for series in patient)
        contents = {series.key: series.content for series in patient if series.state is SeriesState.COMPLETE}
        jobs = []
        for pipeline in self.pipelines.values():
            try:
                matching = match_pairs(pipeline, patient, now)
            except Exception as error:
                logger.error("defect in matching for %s: %s", pipeline.identifier, format_frames(error))
                continue
            for rejection in self.ledger.record_rejections(matching.rejections, now):
                named = ", ".join(map(str, rejection.series))
                about = {"series": [key.series_instance_uid for key in rejection.series]}
                logger.info("%s does not pair %s: %s", pipeline.identifier, named, rejection.reason, extra=about)
            if touched:
                # A pair that was fused before may have waited meanwhile for what proved unusable.
                uids = {key.series_instance_uid for pair in matching.pairs for key in (pair.fixed, pair.moving)}
                self.ledger.withdraw_rejections(pipeline.name, uids)
            jobs += [self._queue(pipeline, pair, contents, now) for pair in matching.pairs]
        return [job for job in jobs if job is not None]

    def _queue(self, pipeline: Pipeline, pair: Pair, contents: Mapping[SeriesKey, str], now: datetime) -> Job | None:
        if self.judge_pair is None:
            return queue_pair(self.ledger, pipeline, pair, contents, now)
        judgement = self.judge_pair(pair, derive_pair_id(pipeline, pair, contents))
        if not judgement.wanted:
            return None
        return queue_pair(self.ledger, pipeline, pair, contents, now, judgement.supersedes)


@dataclass(frozen=True)
class PairJudgement:
    """Whether a pair is to be fused, and the earlier fused series (UID) that the new one takes the place of."""

    wanted: bool
    supersedes: str = ""


PairJudge = Callable[[Pair, str], PairJudgement]
"""Takes a pair and the id that its job would have."""


class _Indexing(Enum):
    """What became of one arrival in one round."""

    DONE = auto()
    SET_ASIDE = auto()
    PUT_OFF = auto()


def _longest_window(pipelines: Iterable[Pipeline], *, hold_only: bool) -> timedelta:
    """How far back to look: the hold time or the pairing window, and a day for clocks and zones."""
    pairings = [one.pairing for one in pipelines]
    hours = [one.hold_hours for one in pairings] + [0 if hold_only else 24 * one.window_days for one in pairings]
    return timedelta(hours=max(hours, default=0) + 24)


def record_arrival(ledger: Ledger, header: InstanceHeader, now: datetime) -> Arrival:
    """Enter one instance; the unfinished jobs on every series that it contradicts are ended. Safe to repeat."""
    outcome = ledger.record_instance(header, now)
    if outcome is Arrival.CONFLICT:
        logger.warning("instance %s contradicts what came before; both are kept", header.sop_instance_uid)
        reason = "An instance that contradicts the series arrived; see `fusionnode series`."
        # A UID that is known from another series spoils that one as well.
        for series_uid in ledger.list_contradicted(header.sop_instance_uid):
            ledger.withdraw_jobs(series_uid, reason, now)
    return outcome


def derive_pair_id(pipeline: Pipeline, pair: Pair, contents: Mapping[SeriesKey, str]) -> str:
    """Return the id of the job of ``pair``; ``contents`` holds `Series.content` of both series."""
    return derive_job_id(pipeline.name, pipeline.edition, contents[pair.fixed], contents[pair.moving])


def queue_pair(
    ledger: Ledger,
    pipeline: Pipeline,
    pair: Pair,
    contents: Mapping[SeriesKey, str],
    now: datetime,
    supersedes: str = "",
) -> Job | None:
    """Enter the job of ``pair``; None when it is known already.

    ``supersedes`` is the UID of a fused series that is not of this ledger, for a pair that has no earlier job here.

    Unfinished jobs on earlier generations of it are ended: their data is not whole. A job on another pair of the same
    scan is right, only worse, and the better one may yet be refused: it goes on, and the new one says that it
    supersedes it.
    """
    job_id = derive_pair_id(pipeline, pair, contents)
    if ledger.has_job(job_id):
        # Its series may have been deleted and sent again since.
        ledger.follow_sources(job_id, pair.fixed, pair.moving)
        return None
    fixed_uid, moving_uid = pair.fixed.series_instance_uid, pair.moving.series_instance_uid
    # Before the job is there: after a crash in between this is done again.
    ledger.withdraw_rejections(pipeline.name, (fixed_uid, moving_uid))
    earlier = ledger.supersede_jobs(pipeline.name, fixed_uid, moving_uid, job_id, now)
    earlier = earlier or _list_displaced(ledger, pipeline, pair)
    job = Job(
        id=job_id,
        pipeline=pipeline.name,
        pipeline_version=pipeline.edition,
        fixed=pair.fixed,
        moving=pair.moving,
        shared_frame=pair.shared_frame,
        state=JobState.QUEUED,
        moment=now.replace(microsecond=0),
        supersedes=earlier[0] if earlier else supersedes,
    )
    because = "; ".join([f"score {pair.score:.10g}", *pair.reasons])
    if not ledger.add_job(job, because):
        return None
    reach(FaultPoint.JOB_ENTERED)
    about = {"job_id": job.id, "series": [fixed_uid, moving_uid]}
    words = "job %s: %s fuses %s with %s (%s)"
    logger.info(words, job.id, pipeline.identifier, pair.fixed, pair.moving, because, extra=about)
    return job


def _list_displaced(ledger: Ledger, pipeline: Pipeline, pair: Pair) -> list[str]:
    """Return ids of the jobs whose fused series shows the same functional scan, and stands or will stand, newest first.

    Each scan is fused with one fixed series at a time, so any other one was chosen before this pair could be.
    """
    scan = {key.series_instance_uid for key in (pair.moving, *pair.rivals)}
    return [
        job.id
        for job in ledger.list_jobs_on(scan)
        if job.pipeline == pipeline.name and job.moving.series_instance_uid in scan and job.state not in _WITHOUT_OUTPUT
    ]
