"""The plot between the pairs: index what arrived, settle series, pair them, queue jobs, free what hangs."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fusionnode.domain.job import Job, JobState, derive_job_id
from fusionnode.domain.pair import Pair
from fusionnode.domain.series import Series, SeriesKey
from fusionnode.domain.terms import SeriesState
from fusionnode.errors import Refused
from fusionnode.flow.ports import Arrival, Arrivals, HeaderReader, Ledger, StoredFile
from fusionnode.pairing.match import match_pairs
from fusionnode.pairing.settle import Evidence, SettleTimes, Stillness, settle_series
from fusionnode.pipeline.schema import Pipeline

logger = logging.getLogger(__name__)

_UNSETTLED = (SeriesState.RECEIVING, SeriesState.CANDIDATE, SeriesState.REOPENED)


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

    Attributes:
        pipelines: by name.
        rematch_seconds: all complete series are matched again after this time, so that series whose hold time
            ran out are told so, and pairs missed while no sweeper ran are found.
    """

    ledger: Ledger
    arrivals: Arrivals
    read_header: HeaderReader
    pipelines: Mapping[str, Pipeline]
    times: SettleTimes
    rematch_seconds: float = 600.0
    _stillness: Stillness = field(default_factory=Stillness)
    _matched_at: float | None = None

    def sweep(self, now: datetime, monotonic: float) -> SweepReport:
        """Do one round. ``now`` is stamped on what is made; ``monotonic`` (seconds) measures stillness.

        Raises:
            Unavailable: the ledger or the spool is; the next round starts where this one stopped.
        """
        indexed, quarantined = self._index_arrivals(now)
        settled = self._settle(monotonic)
        queued = self._pair(settled, now, monotonic)
        released = tuple(self.ledger.release_expired(now))
        for job in released:
            logger.warning("job %s: its worker went silent; the step is free again", job.id)
        return SweepReport(indexed, quarantined, settled, queued, released)

    def _index_arrivals(self, now: datetime) -> tuple[int, int]:
        indexed = quarantined = 0
        for arrival in self.arrivals.list_arrivals():
            try:
                self._index(arrival, now)
                indexed += 1
            except Refused as refusal:
                logger.warning("set aside %s: %s", arrival.path.name, refusal.message)
                self.arrivals.quarantine_arrival(arrival, f"{refusal.code}: {refusal}")
                quarantined += 1
        return indexed, quarantined

    def _index(self, arrival: StoredFile, now: datetime) -> None:
        header = self.read_header(arrival)
        made = self.ledger.record_instance(header, now)
        if made is Arrival.CONFLICT:
            logger.warning("instance %s came again with other content; both are kept", header.sop_instance_uid)
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
        settlement = settle_series(series, evidence, self.times)
        if settlement.state is series.state or not self.ledger.set_series_state(
            series.key, settlement.state, settlement.reason
        ):
            return False
        logger.info("series %s is %s: %s", series.key, settlement.state, settlement.reason)
        return settlement.state is SeriesState.COMPLETE

    def _pair(self, settled: Sequence[SeriesKey], now: datetime, monotonic: float) -> tuple[Job, ...]:
        due = self._matched_at is None or monotonic - self._matched_at >= self.rematch_seconds
        if due:
            self._matched_at = monotonic
            candidates = self.ledger.list_series((SeriesState.COMPLETE,))
        elif settled:
            candidates = self.ledger.list_related(settled)
        else:
            return ()
        return tuple(job for pipeline in self.pipelines.values() for job in self._match(pipeline, candidates, now))

    def _match(self, pipeline: Pipeline, candidates: Sequence[Series], now: datetime) -> list[Job]:
        matching = match_pairs(pipeline, candidates, now)
        self.ledger.record_rejections(matching.rejections, now)
        contents = {series.key: series.content for series in candidates}
        jobs = (queue_pair(self.ledger, pipeline, pair, contents, now) for pair in matching.pairs)
        return [job for job in jobs if job is not None]


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
