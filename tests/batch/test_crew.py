"""Several workers share the jobs of a node and stop when told."""

import threading
from pathlib import Path

import pytest

from fusionnode.batch.crew import Crew
from fusionnode.domain.job import JobState
from tests.support.nodes import open_test_node, queue_job, storage_pacs
from tests.support.running import await_value


def test_a_job_is_taken_through_all_its_steps_and_no_worker_stays(tmp_path: Path) -> None:
    with storage_pacs(tmp_path) as pacs:
        node = open_test_node(tmp_path, pacs)
        job = queue_job(node, tmp_path)
        before = threading.active_count()
        with Crew(node, workers=3):
            await_value(lambda: node.ledger.find_job(job.id).state is JobState.STORED, seconds=100)
        assert threading.active_count() <= before
        assert node.ledger.find_job(job.id).attempts == 0


def test_whoever_interrupts_is_told_what_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyboardInterrupt), Crew(open_test_node(tmp_path), 1):
        raise KeyboardInterrupt
    assert "goes on from there" in caplog.text
    assert not [one for one in threading.enumerate() if one.name.startswith("worker-")]
