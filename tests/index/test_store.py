"""The ledger as a whole: whatever is done to it in whatever order, its jobs never leave the table."""

from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionnode.domain.job import TRANSITIONS, WORKING, Job, JobEvent, JobState
from fusionnode.domain.terms import Step
from fusionnode.errors import LeaseLost, LedgerOutdated, TransitionForbidden
from fusionnode.flow.ports import Ledger
from fusionnode.index.store import SqlLedger, open_ledger
from tests.support.ledgers import NOW, free_leases, make_job

ACTIONS = st.one_of(
    st.tuples(st.just("claim"), st.sampled_from(Step)),
    st.tuples(st.just("advance"), st.sampled_from(JobEvent), st.integers(0, 9)),
    st.tuples(st.just("renew"), st.integers(0, 9)),
    st.tuples(st.just("expire")),
    st.tuples(st.just("retry")),
    st.tuples(st.just("supersede")),
)
_names = count()


class Play:
    """Does to one job what several careless workers would, and checks it after every move.

    ``seen`` holds every version of the job that anybody ever had in hand; workers act on any of them.
    """

    def __init__(self, ledger: SqlLedger) -> None:
        self.ledger = ledger
        self.now = NOW
        self.job = make_job(name=f"play {next(_names)}")
        assert ledger.add_job(self.job)
        self.seen = [self.job]

    def do(self, action: tuple[object, ...]) -> None:
        self.now += timedelta(seconds=1)
        before = self.ledger.find_job(self.job.id)
        try:
            getattr(self, f"_{action[0]}")(*action[1:])
        except (LeaseLost, TransitionForbidden):
            assert self.ledger.find_job(self.job.id) == before
            return
        self._check_move(before, self.ledger.find_job(self.job.id))

    def _check_move(self, before: Job, after: Job) -> None:
        self.seen.append(after)
        arrows = {event for event in JobEvent if TRANSITIONS.get((before.state, event)) is after.state}
        assert before == after or arrows, f"{before.state} became {after.state}"
        claimed = before.state != after.state and after.state in WORKING.values()
        assert after.fence == before.fence + claimed
        assert after.attempts in (0, before.attempts, before.attempts + 1)

    def _claim(self, step: Step) -> None:
        self.ledger.claim_job(step, self.now, 30, "worker", self.job.id)

    def _advance(self, event: JobEvent, which: int) -> None:
        held = self.seen[which % len(self.seen)]
        current = self.ledger.find_job(self.job.id)
        moved = self.ledger.advance_job(held, event, self.now)
        assert (held.fence, held.state) == (current.fence, current.state), "a stale worker moved the job"
        assert moved.state is TRANSITIONS[held.state, event]

    def _renew(self, which: int) -> None:
        self.ledger.renew_lease(self.seen[which % len(self.seen)], self.now, 30)

    def _expire(self) -> None:
        self.now += timedelta(hours=1)
        released = free_leases(self.ledger, self.now)
        assert all(job.state not in WORKING.values() for job in released)

    def _retry(self) -> None:
        assert self.ledger.retry_job(self.job.id, self.now).state is JobState.QUEUED

    def _supersede(self) -> None:
        pair = (self.job.pipeline, self.job.fixed.series_instance_uid, self.job.moving.series_instance_uid)
        assert self.ledger.supersede_jobs(*pair, "a newer job", self.now) == [self.job.id]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTIONS, max_size=20))
def test_no_sequence_of_events_leaves_the_table(ledger: SqlLedger, actions: list[tuple[object, ...]]) -> None:
    play = Play(ledger)
    for action in actions:
        play.do(action)


def test_the_happy_path_ends_stored(ledger: SqlLedger) -> None:
    play = Play(ledger)
    for step in Step:
        play.do(("claim", step))
        play.do(("advance", JobEvent.FINISHED, len(play.seen) - 1))
    assert ledger.find_job(play.job.id).state is JobState.STORED


def test_it_is_what_the_plot_asks_for(ledger: SqlLedger) -> None:
    asked = {name for name in vars(Ledger) if not name.startswith("_")}
    assert asked
    assert not [name for name in asked if not callable(getattr(ledger, name, None))]


def test_what_was_committed_is_there_after_closing(ledger_url: str) -> None:
    first = open_ledger(ledger_url)
    first.add_job(make_job())
    first.close()
    second = open_ledger(ledger_url)
    assert second.find_job(make_job().id) == make_job()
    second.close()


def test_without_a_schema_it_does_not_open(empty_url: str) -> None:
    with pytest.raises(LedgerOutdated, match="fusionnode migrate"):
        open_ledger(empty_url)


def test_reading_is_not_held_up_by_writing(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    ledger, other = open_ledger(f"sqlite:///{path}"), open_ledger(f"sqlite:///{path}")
    ledger.add_job(make_job())
    with ledger._database.write():
        assert other.has_job(make_job().id)
    ledger.close()
    other.close()
