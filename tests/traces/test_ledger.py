"""What the ledger tells Prometheus: few words, whatever a peer answered, and every step that ended."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.job import JobEvent, JobState
from fusionnode.domain.terms import Step
from fusionnode.errors import LedgerUnavailable
from fusionnode.flow.ports import Delivery, DeliveryOutcome
from fusionnode.index.store import SqlLedger, migrate, open_ledger
from fusionnode.traces.ledger import LedgerCollector, classify_status
from fusionnode.traces.meters import Meters
from tests.support.ledgers import NOW, make_job
from tests.traces.test_meters import read

CLASSES = {
    "not-tried", "success", "warning", "out-of-resources", "mismatch", "not-understood", "failure", "lost", "other",
    "no-presentation-context", "not-encodable", "not-accounted-for",
}  # fmt: skip


@pytest.fixture
def ledger(tmp_path_factory: pytest.TempPathFactory) -> SqlLedger:
    url = f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.sqlite"
    migrate(url)
    return open_ledger(url)


def step_through(ledger: SqlLedger, step: Step, seconds: float, event: JobEvent = JobEvent.FINISHED) -> None:
    claimed = ledger.claim_job(step, NOW, 60, "w")
    assert claimed is not None
    ledger.advance_job(claimed, event, NOW + timedelta(seconds=seconds))


@given(st.text(max_size=12))
def test_any_status_becomes_one_of_few_words(status: str) -> None:
    assert classify_status(status) in CLASSES


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("", "not-tried"),
        ("0000", "success"),
        ("B000", "warning"),
        ("A700", "out-of-resources"),
        ("A900", "mismatch"),
        ("C123", "not-understood"),
        ("0110", "failure"),
        ("lost-0112", "lost"),
        ("HTTP 500", "other"),
        ("not-encodable", "not-encodable"),
    ],
)
def test_statuses_are_told_by_their_class(status: str, word: str) -> None:
    assert classify_status(status) == word


def test_steps_and_ends_are_measured_since_the_process_began(ledger: SqlLedger) -> None:
    ledger.add_job(make_job())
    step_through(ledger, Step.PREPARE, 3)
    meters = Meters()
    meters.add(LedgerCollector(ledger, meters, lambda: NOW))
    step_through(ledger, Step.FUSE, 7)
    step_through(ledger, Step.SEND, 1, JobEvent.FAILED)
    read(meters)
    told = read(meters)
    assert told["fusionnode_step_seconds_sum", (("outcome", "finished"), ("step", "fuse"))] == 7
    assert told["fusionnode_step_seconds_count", (("outcome", "failed"), ("step", "send"))] == 1
    assert ("fusionnode_step_seconds_count", (("outcome", "finished"), ("step", "prepare"))) not in told
    assert told["fusionnode_jobs_ended_total", (("verdict", "failed"),)] == 1
    assert told["fusionnode_jobs", (("state", "failed"),)] == 1
    assert told["fusionnode_ledger_up", ()] == 1


def test_a_line_that_becomes_visible_late_is_measured_all_the_same(ledger: SqlLedger) -> None:
    """PostgreSQL numbers lines when they are written and shows them when their transaction ends."""
    meters, hidden = Meters(), list[int]()

    class Late(SqlLedger):
        def list_happenings(self, after: int, limit: int = 1000):  # type: ignore[no-untyped-def]
            return [one for one in super().list_happenings(after, limit) if one.number not in hidden]

    late = Late(ledger._database)
    meters.add(LedgerCollector(late, meters, lambda: NOW))
    ledger.add_job(make_job())
    step_through(ledger, Step.PREPARE, 2)
    ledger.add_job(make_job(name="b"))
    claim = next(one.number for one in ledger.list_happenings(0) if one.what == JobEvent.CLAIMED)
    hidden += [claim + 1]
    read(meters)
    hidden.clear()
    told = read(meters)
    assert told["fusionnode_step_seconds_sum", (("outcome", "finished"), ("step", "prepare"))] == 2


def test_ages_and_attempts_are_told(ledger: SqlLedger) -> None:
    job = make_job()
    ledger.add_job(job)
    step_through(ledger, Step.PREPARE, 0)
    step_through(ledger, Step.FUSE, 0)
    owed = Delivery(job.id, "pacs", "1.2.4", "1.5", "x.dcm")
    ledger.add_deliveries([owed])
    ledger.record_outcome(ledger.find_job(job.id), DeliveryOutcome(owed, False, "FE00"), NOW)
    meters = Meters()
    meters.add(LedgerCollector(ledger, meters, lambda: NOW + timedelta(seconds=90)))
    told = read(meters)
    assert told["fusionnode_queue_age_seconds", (("step", "send"),)] == 90
    assert told["fusionnode_queue_jobs", (("step", "prepare"),)] == 0
    assert told["fusionnode_oldest_undelivered_seconds", (("destination", "pacs"),)] == 90
    assert told["fusionnode_delivery_attempts", (("destination", "pacs"), ("status", "failure"))] == 1


def test_without_a_database_the_rest_is_still_told(ledger: SqlLedger) -> None:
    class Away(SqlLedger):
        def find_last_happening(self) -> int:
            raise LedgerUnavailable("The database is away.")

        def list_backlogs(self, now: datetime):  # type: ignore[no-untyped-def]
            raise LedgerUnavailable("The database is away.")

    meters = Meters()
    meters.add(LedgerCollector(Away(ledger._database), meters, lambda: NOW))
    told = read(meters)
    assert told["fusionnode_ledger_up", ()] == 0
    assert not [name for name, _ in told if name == "fusionnode_jobs"]


def test_every_state_is_told_also_when_nothing_is_in_it(ledger: SqlLedger) -> None:
    meters = Meters()
    meters.add(LedgerCollector(ledger, meters, lambda: NOW))
    states = {dict(labels)["state"] for name, labels in read(meters) if name == "fusionnode_jobs"}
    assert states == set(JobState)
