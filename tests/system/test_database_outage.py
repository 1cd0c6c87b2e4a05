"""A PostgreSQL server that is stopped in the middle of a step, and started again."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from fusionnode.domain.job import JobState
from fusionnode.domain.terms import Step
from fusionnode.errors import LedgerUnavailable
from fusionnode.wiring import build_sweeper
from fusionnode.worker.steps import StepRunner
from tests.support.nodes import Clock, make_pair, open_test_node, put_in_spool, queue_job, storage_pacs
from tests.support.postgres import PostgresMissing, PostgresServer, start_postgres
from tests.support.tools import forgo


@contextmanager
def _serving(folder: Path) -> Iterator[PostgresServer]:
    try:
        with start_postgres(folder) as server:
            yield server
    except PostgresMissing as missing:
        forgo(str(missing))


@pytest.mark.system
def test_a_database_that_goes_away_under_a_worker_costs_a_repetition_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    # Not below pytest's own folder: that is closed to the user the server runs as, and too long for a socket.
    with (
        tempfile.TemporaryDirectory(prefix="pg-") as folder,
        storage_pacs(tmp_path) as pacs,
        _serving(Path(folder)) as server,
    ):
        node = open_test_node(tmp_path, pacs, database_url=SecretStr(server.url))
        job = queue_job(node, tmp_path)
        runner = StepRunner(node, "worker", clock)
        runner.run_step(Step.PREPARE)
        publish = node.outbox.publish

        def publish_and_lose_the_database(*arguments: object) -> object:
            server.stop("immediate")
            return publish(*arguments)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(node.outbox, "publish", publish_and_lose_the_database)
            with pytest.raises(LedgerUnavailable):
                runner.run_step(Step.FUSE)
        with pytest.raises(LedgerUnavailable):
            runner.run_step(Step.FUSE)
        put_in_spool(node, make_pair()[0], tmp_path / "meanwhile")
        with pytest.raises(LedgerUnavailable):
            build_sweeper(node).sweep(clock(), 0.0)

        server.start()
        clock.advance(60)
        sweeper = build_sweeper(node)
        assert sum(len(sweeper.sweep(clock(), monotonic).released) for monotonic in range(0, 40, 5)) == 1
        assert [runner.run_step(step) is not None for step in (Step.FUSE, Step.SEND)] == [True, True]
        assert node.ledger.find_job(job.id).state is JobState.STORED
        assert node.ledger.count_deliveries(job.id) == (10, 10)
        assert not list(node.spool.arrivals.iterdir())
        node.ledger.close()  # type: ignore[attr-defined]
