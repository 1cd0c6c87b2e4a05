"""The plot of a batch: find, fetch, pair, fuse, deliver, and say of each pair how it ended."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from fusionnode.batch.crew import Crew
from fusionnode.batch.earlier import EarlierResult, Judge
from fusionnode.batch.folder import BatchFolder, is_begun, open_batch
from fusionnode.batch.gather import Gatherer
from fusionnode.batch.inbox import SpoolInbox
from fusionnode.batch.request import BatchRequest, Progress, choose_pipelines
from fusionnode.batch.results import ResultFolder
from fusionnode.batch.summary import (
    EVERYTHING,
    list_fetched_series,
    list_results,
    list_torn,
    list_whole,
    write_summary,
)
from fusionnode.batch.tree import gather_trees, require_folders
from fusionnode.batch.verdicts import name_pair
from fusionnode.domain.job import WAITING, WORKING, Job, JobState
from fusionnode.domain.pair import Pair
from fusionnode.domain.terms import UNSETTLED, Step
from fusionnode.errors import SettingsInvalid
from fusionnode.flow.sweep import Sweeper
from fusionnode.index.store import open_ledger
from fusionnode.pipeline.schema import Pipeline
from fusionnode.retrieval.archive import Archive
from fusionnode.retrieval.retrieve import Perseverance
from fusionnode.retrieval.wishes import Wish
from fusionnode.settings import ArchiveSettings, Settings, SettleSettings, WorkSettings
from fusionnode.traces.watcher import Watcher
from fusionnode.wiring import (
    Node,
    build_archive,
    build_listener,
    build_sweeper,
    build_watcher,
    load_pipelines,
    open_node,
)

logger = logging.getLogger(__name__)

_UNDERWAY = {table[step] for table in (WAITING, WORKING) for step in (Step.PREPARE, Step.FUSE, Step.SEND)}
_POLL_SECONDS = 0.5
_SILENCE_SECONDS = 300.0
_AT_ONCE = SettleSettings(idle_seconds=0, slow_seconds=0, gap_seconds=0, sweep_seconds=1)
"""Whether a series is whole was asked of the archive, so nothing has to be waited for."""
_PERSISTENT = {"max_attempts": 3, "max_send_attempts": 6, "retry_seconds": 2.0, "retry_cap_seconds": 30.0}
"""Somebody waits for the batch: what does not go today fails, and is tried again by the next run."""
_PERSEVERANCE = Perseverance()


Tell = Callable[[Progress], None]


def run_batch(request: BatchRequest, settings: Settings, tell: Tell) -> dict[str, Any]:
    """Run a batch to its end, or go on with it; returns the summary that is also written to the batch folder.

    Whatever ended it before, a kill or a power cut: what was fetched is not fetched again, what was fused is not fused
    again, and no pair has two verdicts. What failed, or did not come whole, is tried again.

    Raises:
        OutputOccupied: the folder holds something else, or another process works there.
        Misconfigured: the request, the site file or a pipeline is wrong.
        Refused: the patient list or a folder is not usable.
        Unavailable: the archive answered no query, or the spool is full; what was done stands.
    """
    request.check()
    installed = load_pipelines(settings, known_destinations=None)
    pipelines = choose_pipelines(request, installed)
    for name in request.destinations:
        if name not in settings.destinations:
            raise SettingsInvalid(f"There is no destination {name!r}.", remedy="Add it to the site file.")
    # A folder is begun only for what can be asked: the mended list would be another batch.
    if not is_begun(request.out):
        require_folders(request.folders)
    wishes = request.read_wishes()
    archive = build_archive(settings, request.archive) if request.archive else None
    with open_batch(request.out, request.describe()) as folder:
        batch = _Batch(request, settings, pipelines, folder, tell)
        with build_watcher(batch.node_settings, "batch") as watcher:
            if archive is not None:
                archive.observer = watcher
            batch.run(archive, wishes, watcher)
        return write_summary(folder, batch.node_settings, pipelines, datetime.now(UTC))


class _Batch:
    """One run. Either in a node of its own, which nobody else works in, or filling the site's."""

    def __init__(
        self,
        request: BatchRequest,
        settings: Settings,
        pipelines: dict[str, Pipeline],
        folder: BatchFolder,
        tell: Tell,
    ) -> None:
        self._request, self._settings, self._pipelines, self._folder = request, settings, pipelines, folder
        self._tell = tell
        self._progress = Progress()
        self.node_settings = settings if request.into_node else _make_own_settings(settings, folder)

    def run(self, archive: Archive | None, wishes: Sequence[Wish], watcher: Watcher) -> None:
        """Do everything but the summary; without ``archive`` the folder trees are taken."""
        self._watcher = watcher
        if self._request.into_node:
            self._fill_node(archive, wishes)
        else:
            self._run_own_node(archive, wishes)

    def _fill_node(self, archive: Archive | None, wishes: Sequence[Wish]) -> None:
        node = open_node(self.node_settings)
        with closing(node.ledger):
            self._show(node)
            for _ in self._gather(node, archive, wishes):
                self._show(node)
            _Watch(self._folder, node, lambda: self._show(node)).wait()

    def _run_own_node(self, archive: Archive | None, wishes: Sequence[Wish]) -> None:
        node = self._open_own_node()
        # What earlier runs did is told before anything is done, so that nobody takes it for the pace of this one.
        self._show(node)
        with ExitStack() as stack:
            stack.enter_context(closing(node.ledger))
            stack.enter_context(Crew(node, self._request.workers))
            stack.enter_context(self._listening())
            sweeper = self._build_sweeper(node)
            for _ in self._gather(node, archive, wishes):
                _sweep(sweeper)
                self._show(node)
            # A new one looks at everything once more: what is whole only now, and what a kill left unpaired.
            sweeper = self._build_sweeper(node)
            _sweep(sweeper)
            while self._show(node):
                time.sleep(_POLL_SECONDS)
                sweeper.release_silent(datetime.now(UTC), time.monotonic())

    def _open_own_node(self) -> Node:
        node = open_node(self.node_settings, self._pipelines, self._watcher)
        if not self._request.destinations:
            node = replace(node, sender=ResultFolder(self.node_settings.spool, self._folder.results))
        # Nobody else works here, so whoever holds a lease is dead.
        node.ledger.release_leases(node.ledger.list_leases(), datetime.now(UTC))
        for job in node.ledger.list_jobs((JobState.FAILED,), limit=EVERYTHING):
            _try_again(node, job)
        return node

    def _build_sweeper(self, node: Node) -> Sweeper:
        told = {(note["fixed"], note["moving"]) for note in self._folder.list_notes("skipped")}

        def tell_skipped(pair: Pair, there: EarlierResult) -> None:
            uids = name_pair(pair)
            if uids not in told:
                told.add(uids)
                self._folder.note("skipped", fixed=uids[0], moving=uids[1], there=there.series_instance_uid)

        judge = Judge(
            self._request.existing,
            lambda: list_results(self._folder),
            lambda uid: bool(self._request.folders) or uid in list_whole(self._folder),
            tell_skipped,
        )
        return replace(build_sweeper(node), judge_pair=judge)

    def _gather(self, node: Node, archive: Archive | None, wishes: Sequence[Wish]) -> Iterator[None]:
        """Bring everything into the spool; yields whenever a patient is complete."""
        inbox, modalities = SpoolInbox(node.spool), _list_modalities(self._pipelines)
        if archive is None:
            gather_trees(self._request.folders, inbox, self._folder, modalities, self._count_fetched)
            yield
            return
        window = max(one.pairing.window_days for one in self._pipelines.values())
        gatherer = Gatherer(
            archive, inbox, self._folder, modalities, window, self._count_fetched, perseverance=_PERSEVERANCE
        )
        gatherer.search(wishes)
        yield from gatherer.fetch()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Run a listener of the batch's own while an archive is to send to it."""
        archive = self._settings.archives.get(self._request.archive)
        if not isinstance(archive, ArchiveSettings) or archive.retrieve != "move":
            yield
            return
        # The archive calls it as it was told to, and nothing else does.
        called = archive.move_to or self.node_settings.ae_title
        listener = build_listener(self.node_settings.model_copy(update={"ae_title": called}))
        listener.observer = self._watcher
        listener.start()
        try:
            yield
        finally:
            listener.stop()

    def _count_fetched(self, done: int, total: int) -> None:
        self._progress = replace(self._progress, fetched=done, found=total)
        self._tell(self._progress)

    def _show(self, node: Node) -> bool:
        """Tell how far it is; returns whether any pair is still underway."""
        jobs = _list_jobs(self._folder, node)
        ended = sum(job.state not in _UNDERWAY for job in jobs)
        self._progress = replace(self._progress, ended=ended, pairs=len(jobs))
        self._tell(self._progress)
        return ended < len(jobs)


class _Watch:
    """Waits until the site's own node has dealt with what was brought to it."""

    def __init__(self, folder: BatchFolder, node: Node, show: Callable[[], bool]) -> None:
        self._folder, self._node, self._show = folder, node, show
        self._begun = time.time()

    def wait(self) -> None:
        """Return when all series are settled and all their jobs have ended, twice with a sweep in between."""
        pause = max(_POLL_SECONDS, 2 * self._node.settings.settle.sweep_seconds)
        seen, since = "", time.monotonic()
        quiet = 0
        while quiet < 2:
            state = self._describe()
            if state != seen:
                seen, since = state, time.monotonic()
            elif time.monotonic() - since > _SILENCE_SECONDS:
                since = time.monotonic()
                logger.warning("nothing has moved for %.0f s; does the site's node run?", _SILENCE_SECONDS)
            quiet = quiet + 1 if self._is_done() else 0
            threading.Event().wait(pause)

    def _is_done(self) -> bool:
        with closing(open_ledger(self._node.settings.ledger_url)) as ledger:
            series = list_fetched_series(self._folder, ledger, everything=False)
        fetched = {uid for note in self._folder.list_notes("fetched") for uid in note["series"]}
        settled = not any(one.state in UNSETTLED for one in series.values())
        # A series of which nothing could be indexed never enters the ledger.
        entered = fetched <= series.keys() or not self._waits_in_spool()
        return not self._show() and settled and entered

    def _waits_in_spool(self) -> bool:
        """Whether something that came before the batch had fetched everything is still to be indexed."""
        oldest = next(self._node.spool.list_arrivals(), None)
        try:
            return oldest is not None and oldest.path.stat().st_mtime <= self._begun
        except FileNotFoundError:
            return True

    def _describe(self) -> str:
        jobs = _list_jobs(self._folder, self._node)
        return " ".join(f"{job.id}{job.state}{job.attempts}" for job in jobs)


def _list_jobs(folder: BatchFolder, node: Node) -> list[Job]:
    if folder.owns_node:
        return node.ledger.list_jobs(limit=EVERYTHING)
    uids = {uid for note in folder.list_notes("fetched") for uid in note["series"]} | set(list_torn(folder))
    return node.ledger.list_jobs_on(uids)


def _sweep(sweeper: Sweeper) -> None:
    sweeper.sweep(datetime.now(UTC), time.monotonic())


def _try_again(node: Node, job: Job) -> None:
    """Begin a failed job anew, or where its results are there, have what is outstanding of them sent."""
    _, owed = node.ledger.count_deliveries(job.id)
    if owed and (node.spool.root / "outbox" / job.id).is_dir():
        node.ledger.resend_job(job.id, datetime.now(UTC))
    else:
        node.ledger.retry_job(job.id, datetime.now(UTC))


def _list_modalities(pipelines: dict[str, Pipeline]) -> frozenset[str]:
    rules = [rule for one in pipelines.values() for rule in (one.fixed, one.moving)]
    return frozenset(modality for rule in rules for modality in rule.modality)


def _make_own_settings(settings: Settings, folder: BatchFolder) -> Settings:
    """Return the site's settings with a spool and a ledger in the batch folder, and without broker."""
    changes: dict[str, Any] = {
        "spool": folder.node,
        "database_url": SecretStr(""),
        "broker_url": SecretStr(""),
        "settle": _AT_ONCE,
        "work": WorkSettings(**{**settings.work.model_dump(), **_PERSISTENT}),
        # The report of a commitment would go to the site's own listener, which knows nothing of this node.
        "destinations": {
            name: one.model_copy(update={"commitment": False}) for name, one in settings.destinations.items()
        },
    }
    return settings.model_copy(update=changes)
