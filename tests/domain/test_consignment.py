"""Laws of consignments: no destination holds up another, and no job ends before its last one does."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.consignment import Consignment, Phase, judge_round
from fusionnode.domain.job import JobEvent, JobState, next_state

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
GOING_ON = (Phase.OWED, Phase.ACCEPTED, Phase.REFUSED)


@st.composite
def _consignments(draw: st.DrawFn) -> list[Consignment]:
    made = []
    for name in draw(st.lists(st.sampled_from("abcd"), unique=True, min_size=1)):
        total = draw(st.integers(1, 3))
        stored = draw(st.integers(0, total))
        refused = draw(st.integers(0, total - stored))
        times = st.one_of(st.none(), st.integers(-99, 99).map(lambda hours: NOW + timedelta(hours=hours)))
        made.append(
            Consignment(
                "j",
                name,
                total,
                stored,
                draw(st.integers(0, stored)),
                refused,
                not_before=draw(times),
                dead=draw(st.booleans()),
            )
        )
    return made


COMMITTING = st.frozensets(st.sampled_from("abcd"))
WORKING = st.sampled_from([JobState.SENDING, JobState.COMMITTING])


@given(state=WORKING, consignments=_consignments(), committing=COMMITTING)
def test_a_round_leads_where_the_table_has_an_arrow_and_says_of_the_job_what_is_true(
    state: JobState, consignments: list[Consignment], committing: frozenset[str]
) -> None:
    outlook = judge_round(state, consignments, committing, NOW)
    after = next_state(state, outlook.event)
    phases = [one.find_phase(commits=one.destination in committing) for one in consignments]
    going_on = any(phase in GOING_ON for phase in phases)
    if after is JobState.STORED:
        assert all(one.stored == one.total for one in consignments)
        assert (outlook.not_before is not None) == any(one.destination in committing for one in consignments)
    if after is JobState.COMMITTED:
        assert all(phase is Phase.DONE for phase in phases)
        assert any(one.destination in committing for one in consignments)
    assert (after is JobState.FAILED) == (not going_on and Phase.DEAD in phases)
    if going_on:
        assert after in (JobState.FUSED, JobState.STORED)
        soonest = min(one.not_before or NOW for one, phase in zip(consignments, phases, strict=True)
                      if phase in GOING_ON)  # fmt: skip
        assert outlook.not_before == soonest, "the job wakes when the first of its destinations is due"


@given(consignments=_consignments(), committing=COMMITTING)
def test_every_job_ends_once_each_destination_has_done_its_part(
    consignments: list[Consignment], committing: frozenset[str]
) -> None:
    done = [Consignment("j", one.destination, one.total, one.total, one.total) for one in consignments]
    assert judge_round(JobState.SENDING, done, committing, NOW).event is JobEvent.FINISHED
    ended = judge_round(JobState.COMMITTING, done, committing, NOW)
    commits = any(one.destination in committing for one in done)
    assert next_state(JobState.COMMITTING, ended.event) is (JobState.COMMITTED if commits else JobState.STORED)
    assert ended.not_before is None


@pytest.mark.parametrize(
    ("consignment", "commits", "phase"),
    [
        (Consignment("j", "a", 2, 1), False, Phase.OWED),
        (Consignment("j", "a", 2, 2), False, Phase.DONE),
        (Consignment("j", "a", 2, 2, 1), True, Phase.ACCEPTED),
        (Consignment("j", "a", 2, 2, 2), True, Phase.DONE),
        (Consignment("j", "a", 2, 2, 2, dead=True), True, Phase.DEAD),
        (Consignment("j", "a", 3, 1, refused=1), False, Phase.OWED),
        (Consignment("j", "a", 3, 2, refused=1), False, Phase.REFUSED),
        (Consignment("j", "a", 3, 2, 1, refused=1), True, Phase.ACCEPTED),
        (Consignment("j", "a", 3, 2, 2, refused=1), True, Phase.REFUSED),
        (Consignment("j", "a", 3, 2, 2, refused=1, dead=True), True, Phase.DEAD),
    ],
)
def test_phases(consignment: Consignment, commits: bool, phase: Phase) -> None:
    assert consignment.find_phase(commits=commits) is phase


def test_only_what_goes_on_is_due_and_only_at_its_time() -> None:
    owed = Consignment("j", "a", 2, 1, not_before=LATER)
    assert not owed.is_due(NOW, commits=False)
    assert owed.is_due(LATER, commits=False)
    assert Consignment("j", "a", 2).is_due(NOW, commits=False)
    assert not Consignment("j", "a", 2, 2).is_due(NOW, commits=False)
    assert not Consignment("j", "a", 2, dead=True).is_due(NOW, commits=False)
    assert Consignment("j", "a", 2, 1, refused=1).is_due(NOW, commits=False), "that is still to be told"
