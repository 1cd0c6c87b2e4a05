"""The plot between the pairs: index what arrived, settle series, pair them, queue jobs, free what hangs."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto

from fusionnode.domain.job import Job, JobState, derive_job_id
from fusionnode.domain.pair import Pair
from fusionnode.domain.series import Series, SeriesKey
from fusionnode.domain.terms import SeriesState
from fusionnode.errors import LedgerUnavailable, Refused, Unavailable, format_frames
from fusionnode.flow.ports import Arrival, Arrivals, HeaderReader, Ledger, PreparedStore, StoredFile
from fusionnode.pairing.match import match_pairs
from fusionnode.pairing.settle import Evidence, SettleTimes, Stillness, settle_series
from fusionnode.pipeline.schema import Pipeline

logger = logging.getLogger(__name__)

_UNSETTLED = (SeriesState.RECEIVING, SeriesState.CANDIDATE, SeriesState.REOPENED)
_HOLDING_PREPARED = (JobState.QUEUED, JobState.PREPARING, JobState.PREPARED, JobState.FUSING)
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
        rematch_seconds: complete series seen within the pipelines' windows are matched again after this time, so that
            those whose hold time ran out are told so, and pairs missed while no sweeper ran are found.
    """

    ledger: Ledger
    arrivals: Arrivals
    read_header: HeaderReader
    prepared: PreparedStore
    pipelines: Mapping[str, Pipeline]
    times: SettleTimes
    rematch_seconds: float = 600.0
    _stillness: Stillness = field(default_factory=Stillness)
    _failures: Counter[str] = field(default_factory=Counter)
    _unpaired: set[SeriesKey] = field(default_factory=set)
    _matched_at: float | None = None

    def sweep(self, now: datetime, monotonic: float) -> SweepReport:
        """Do one round. ``now`` is stamped on what is made; ``monotonic`` (seconds) measures stillness.

        Raises:
            LedgerUnavailable: the database is away; the next round starts where this one stopped.
        """
        released = tuple(self.ledger.release_expired(now))
        for job in released:
            logger.warning("job %s: its worker went silent; the step is free again", job.id)
        indexed, quarantined = self._index_arrivals(now)
        settled = self._settle(monotonic)
        self._unpaired |= set(settled)
        queued = self._pair(now, monotonic)
        return SweepReport(indexed, quarantined, settled, queued, released)

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
        logger.warning("set aside %s: %s", arrival.path.name, reason)
        self.arrivals.quarantine_arrival(arrival, reason)
        self._failures.pop(arrival.place, None)
        return _Indexing.SET_ASIDE

    def _record(self, arrival: StoredFile, now: datetime) -> None:
        header = self.read_header(arrival)
        if self.ledger.record_instance(header, now) is Arrival.CONFLICT:
            logger.warning("instance %s contradicts what came before; both are kept", header.sop_instance_uid)
            reason = "An instance that contradicts the series arrived; see `fusionnode series`."
            self.ledger.withdraw_jobs(header.series_instance_uid, reason, now)
        # The row is committed before the file moves, so a crash in between only repeats the move.
        self.arrivals.settle_arrival(arrival)

    def _settle(self, monotonic: float) -> tuple[SeriesKey, ...]:
        series = self.ledger.list_series(_UNSETTLED)
        in_flight = self.arrivals.list_places_in_flight()
        self._stillness.forget_others({one.key.series_instance_uid for one in series})
        return tuple(one.key for one in series if self._settle_one(one, in_flight, monotonic))

    def _settle_one(self, series: Series, in_flight: frozenset[str], monotonic: float) -> bool:
        """Return whether the series is complete now."""
        seen = len(series.instances) + len(series.conflicts)
        evidence = Evidence(
            idle_seconds=self._stillness.observe(series.key.series_instance_uid, seen, monotonic),
            in_flight=any(instance.path in in_flight for instance in series.instances),
        )
        try:
            settlement = settle_series(series, evidence, self.times)
        except Exception as error:
            logger.error("defect in settling series %s: %s", series.key, format_frames(error))
            return False
        if settlement.state is series.state or not self.ledger.set_series_state(
            series.key, settlement.state, settlement.reason
        ):
            return False
        logger.info("series %s is %s: %s", series.key, settlement.state, settlement.reason)
        return settlement.state is SeriesState.COMPLETE

    def _pair(self, now: datetime, monotonic: float) -> tuple[Job, ...]:
        due = self._matched_at is None or monotonic - self._matched_at >= self.rematch_seconds
        if not due and not self._unpaired:
            return ()
        candidates = {series.key: series for series in self.ledger.list_related(self._unpaired)}
        if due:
            recent = self.ledger.list_series((SeriesState.COMPLETE,), now - _longest_window(self.pipelines.values()))
            candidates |= {series.key: series for series in recent}
            self.prepared.keep_only({job.id for job in self.ledger.list_jobs(_HOLDING_PREPARED, limit=1_000_000)})
        ordered = sorted(candidates.values(), key=lambda series: series.key.series_instance_uid)
        queued = tuple(job for pipeline in self.pipelines.values() for job in self._match(pipeline, ordered, now))
        # Only now: a round that the ledger broke off must be done again.
        self._unpaired.clear()
        self._matched_at = monotonic if due else self._matched_at
        return queued

    def _match(self, pipeline: Pipeline, candidates: Sequence[Series], now: datetime) -> list[Job]:
        try:
            matching = match_pairs(pipeline, candidates, now)
        except Exception as error:
            logger.error("defect in matching for %s: %s", pipeline.identifier, format_frames(error))
            return []
        self.ledger.record_rejections(matching.rejections, now)
        contents = {series.key: series.content for series in candidates}
        jobs = (queue_pair(self.ledger, pipeline, pair, contents, now) for pair in matching.pairs)
        return [job for job in jobs if job is not None]


class _Indexing(Enum):
    """What became of one arrival in one round."""

    DONE = auto()
    SET_ASIDE = auto()
    PUT_OFF = auto()


def _longest_window(pipelines: Iterable[Pipeline]) -> timedelta:
    """How far back a partner may lie: the pairing window or the hold time, and a day for clocks and zones."""
    hours = [max(24 * one.pairing.window_days, one.pairing.hold_hours) for one in pipelines]
    return timedelta(hours=max(hours, default=0) + 24)


def queue_pair(
    ledger: Ledger, pipeline: Pipeline, pair: Pair, contents: Mapping[SeriesKey, str], now: datetime
) -> Job | None:
    """Enter the job of ``pair``, ending unfinished jobs on earlier generations; None when it is known already."""
    job_id = derive_job_id(pipeline.name, pipeline.version, contents[pair.fixed], contents[pair.moving])
    if ledger.has_job(job_id):
        return None
    fixed_uid, moving_uid = pair.fixed.series_instance_uid, pair.moving.series_instance_uid
    earlier = ledger.supersede_jobs(pipeline.name, fixed_uid, moving_uid, job_id, now)
    job = Job(
        id=job_id,
        pipeline=pipeline.name,
        pipeline_version=pipeline.version,
        fixed=pair.fixed,
        moving=pair.moving,
        shared_frame=pair.shared_frame,
        state=JobState.QUEUED,
        moment=now.replace(microsecond=0),
        supersedes=earlier[0] if earlier else "",
    )
    if not ledger.add_job(job):
        return None
    logger.info(
        "job %s: %s fuses %s with %s (%s)",
        job.id,
        pipeline.identifier,
        pair.fixed,
        pair.moving,
        "; ".join(pair.reasons),
    )
    return job
