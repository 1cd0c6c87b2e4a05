"""The steps of a job as tasks: claim, do, advance. Embedded and scaled-out workers run exactly this code."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from pydicom import Dataset

from fusionnode.capture.build import CaptureRequest
from fusionnode.capture.resampled import find_absence
from fusionnode.domain.consignment import Outlook
from fusionnode.domain.job import Job, JobEvent
from fusionnode.domain.series import SeriesKey
from fusionnode.domain.terms import Step
from fusionnode.errors import FusionNodeError, LeaseLost, PipelineInvalid, StepOverdue, Unavailable, format_frames
from fusionnode.faults import FaultPoint, reach
from fusionnode.flow.fuse_pair import PairSources, capture_fused, fuse_prepared, prepare_pair
from fusionnode.flow.ports import Delivery
from fusionnode.flow.quality_page import draw_page
from fusionnode.fusion.fuse import Fuser, warm_up
from fusionnode.logs import StepClock, job_context
from fusionnode.pipeline.schema import Pipeline
from fusionnode.wiring import Node, open_fuser
from fusionnode.worker.deliver import Courier, explain_rest
from fusionnode.worker.heartbeat import Heartbeat
from fusionnode.worker.memory import keep_large_blocks_apart, return_free_pages
from fusionnode.worker.policy import judge_error, max_attempts
from fusionnode.worker.watchdog import Watchdog, end_process

logger = logging.getLogger(__name__)

_NEXT = {Step.PREPARE: Step.FUSE, Step.FUSE: Step.SEND}


@dataclass
class StepRunner:
    """Runs one step at a time for one worker; keeps fusers loaded between jobs.

    Attributes:
        worker: a name for the ledger's lease, such as host and process id.
        clock: the present moment, timezone-aware.
        end_process: ends the process of a step that hangs.
    """

    node: Node
    worker: str
    clock: Callable[[], datetime]
    end_process: Callable[[], None] = end_process
    _fusers: dict[str, Fuser] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keep_large_blocks_apart()
        self._courier = Courier(self.node.ledger, self.node.sender, self.node.settings.work, self.clock)

    def warm_up(self) -> None:
        """Load and run the fuser of every pipeline; one that cannot is told of, and its jobs will be refused."""
        for pipeline in self.node.pipelines.values():
            try:
                warm_up(self._fuser(pipeline.fusion.model))
            except Exception as error:  # warming up is a courtesy: what fails here fails with its reason in a job
                words = error if isinstance(error, FusionNodeError) else type(error).__name__
                logger.error("pipeline %s cannot fuse: %s", pipeline.identifier, words)

    def run_step(self, step: Step, job_id: str | None = None) -> Job | None:
        """Claim one job waiting for ``step`` (or exactly ``job_id``), do the step, record how it ended.

        Returns the job as the ledger now holds it; None when there was nothing to claim.

        Raises:
            Unavailable: the ledger itself cannot be reached; the lease will run out and free the job.
        """
        job = self.node.ledger.claim_job(step, self.clock(), self._lease_seconds, self.worker, job_id)
        if job is None:
            return None
        with job_context(job.id, (job.fixed.series_instance_uid, job.moving.series_instance_uid)):
            try:
                reach(FaultPoint.STEP_CLAIMED)
                return self._do(step, job)
            except LeaseLost as lost:
                logger.warning("%s dropped: %s", step, lost)
                return self.node.ledger.find_job(job.id)
            finally:
                return_free_pages()

    def run_quietly(self, step: Step, job_id: str | None = None) -> Job | None:
        """Do so whatever happens; None also when the ledger could not be reached. The lease frees the job then."""
        try:
            return self.run_step(step, job_id)
        except Unavailable as unavailable:
            logger.warning("%s put off: %s", step, unavailable)
        except Exception as error:
            logger.error("defect around %s; the lease frees the job: %s", step, format_frames(error))
        return None

    @property
    def _lease_seconds(self) -> float:
        return self.node.settings.work.lease_seconds

    @property
    def _step_seconds(self) -> float:
        return self.node.settings.work.step_seconds

    def _do(self, step: Step, job: Job) -> Job:
        work = {Step.PREPARE: self._prepare, Step.FUSE: self._fuse}.get(step, self._deliver)
        try:
            self._require_attempts_left(step, job)
            beating = Heartbeat(self.node.ledger, job, self.clock, self._lease_seconds)
            with beating as heartbeat, Watchdog(self._step_seconds, partial(self._give_up, step, job)):
                outlook = work(job, heartbeat)
                heartbeat.require_lease()
        except LeaseLost:
            raise
        except Exception as error:
            return self._end_badly(step, job, error)
        cause = self._explain_outlook(job, outlook)
        finished = self.node.ledger.advance_job(job, outlook.event, self.clock(), cause, outlook.not_before)
        reach(FaultPoint.STEP_ADVANCED)
        if step is Step.FUSE:
            # Not a moment sooner: until the ledger knows that it ended, the step may have to be done again.
            self.node.prepared.discard_prepared(finished)
        logger.info("%s %s; the job is %s", step, outlook.event, finished.state)
        return finished

    def _give_up(self, step: Step, job: Job) -> None:
        """End a step that hangs, with its process; the job goes on in another one, or fails in the end."""
        overdue = StepOverdue(
            f"The {step} step did not end within {self._step_seconds:g} s; its process was ended.",
            remedy="See `work.step_seconds` in the site file.",
        )
        try:
            self._end_badly(step, job, overdue)
        except Unavailable as unavailable:
            logger.error("%s hangs and its lease will run out: %s", step, unavailable)
        finally:
            self.end_process()

    def _end_badly(self, step: Step, job: Job, error: Exception) -> Job:
        verdict = judge_error(error, job, step, self.clock(), self.node.settings.work)
        message = error if isinstance(error, FusionNodeError) else type(error).__name__
        logger.warning("%s %s: %s", step, verdict.event, message)
        if verdict.defect:
            logger.error("defect in %s:\n%s", step, format_frames(error))
        return self.node.ledger.advance_job(job, verdict.event, self.clock(), error, verdict.not_before)

    def _require_attempts_left(self, step: Step, job: Job) -> None:
        limit = max_attempts(step, self.node.settings.work)
        if job.attempts >= limit:
            raise Unavailable(
                f"The {step} step was begun {job.attempts} times and never ended.",
                remedy="Look for a worker that was killed, as by its unit's MemoryMax; then run `fusionnode retry`.",
            )

    def _prepare(self, job: Job, _: Heartbeat) -> Outlook:
        # The other half of the reserve is for what is prepared already: it ends with less than it takes.
        self.node.spool.require_free(self.node.spool.reserve_bytes // 2)
        sources = PairSources(self._stream(job.fixed), self._stream(job.moving), shared_frame=job.shared_frame)
        prepared = prepare_pair(sources, self._pipeline(job), StepClock(logger))
        self.node.prepared.save_prepared(job, prepared)
        reach(FaultPoint.PREPARED_SAVED)
        return Outlook(JobEvent.FINISHED, remark=find_absence(prepared))

    def _fuse(self, job: Job, heartbeat: Heartbeat) -> Outlook:
        pipeline, narrate = self._pipeline(job), StepClock(logger)
        prepared = self.node.prepared.load_prepared(job)
        fused = fuse_prepared(prepared, pipeline, self._fuser(pipeline.fusion.model), narrate)
        page = draw_page(job, pipeline, prepared, fused)
        prepared = prepared.without_pictures()
        fixed, moving = self._read(job.fixed, pixels=False), self._read(job.moving, pixels=False)
        zone = self.node.settings.find_zone(job.moment)
        request = CaptureRequest(job, pipeline, prepared, fused, fixed, moving, zone, page=page)
        objects = capture_fused(request, narrate)
        heartbeat.require_lease()
        published = self.node.outbox.publish(job, objects)
        reach(FaultPoint.RESULT_PUBLISHED)
        self.node.ledger.add_deliveries(
            Delivery(job.id, destination, ds.SOPClassUID, ds.SOPInstanceUID, path)
            for destination in pipeline.destinations
            for ds, path in published
        )
        reach(FaultPoint.DELIVERIES_ENTERED)
        return Outlook(JobEvent.FINISHED)

    def _deliver(self, job: Job, heartbeat: Heartbeat) -> Outlook:
        return self._courier.go_round(job, heartbeat)

    def _explain_outlook(self, job: Job, outlook: Outlook) -> FusionNodeError | str | None:
        """Return what keeps the job from being finished, or else what is to be known of it, for whoever lists jobs."""
        if outlook.event not in (JobEvent.FAILED, JobEvent.POSTPONED, JobEvent.RESENT):
            return outlook.remark
        return explain_rest(self.node.ledger.list_consignments(job.id))

    def _stream(self, key: SeriesKey) -> Iterator[Dataset]:
        """Read the series when it is gone through, so that its files are not held while the other one is read."""
        yield from self._read(key, pixels=True)

    def _read(self, key: SeriesKey, *, pixels: bool) -> list[Dataset]:
        return self.node.source.read_series(key, pixels=pixels)

    def _pipeline(self, job: Job) -> Pipeline:
        pipeline = self.node.pipelines.get(job.pipeline)
        if pipeline is None or pipeline.edition != job.pipeline_version:
            raise PipelineInvalid(
                f"Pipeline {job.pipeline}@{job.pipeline_version} of the job is no longer installed.",
                remedy="Put its file back, or let the sweep make a job under the new one.",
            )
        return pipeline

    def _fuser(self, model: str) -> Fuser:
        if model not in self._fusers:
            self._fusers[model] = open_fuser(model, self.node.settings.device)
        return self._fusers[model]


def next_step(step: Step) -> Step | None:
    """The step that follows ``step``; None after the last."""
    return _NEXT.get(step)
