"""However its threads overtake each other, an association is told of in the order of what happened."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.flow.observing import RemotePeer, Unobserved
from fusionnode.intake.visit import Visit

SCANNER = RemotePeer("SCANNER")


class Witness(Unobserved):
    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def association_opened(self, association: str, peer: RemotePeer) -> None:
        self.told.append((association, peer))

    def association_ended(self, association: str, how: str) -> None:
        self.told.append((association, how))


@pytest.mark.parametrize("order", sorted(set(itertools.permutations(["begin", "begin", "end", "end"]))))
def test_it_opens_once_and_then_ends_once_whoever_notices_first(order: tuple[str, ...]) -> None:
    witness, visit = Witness(), Visit("a")
    for act in order:
        if act == "begin":
            visit.begin(witness, lambda: SCANNER)
        else:
            visit.end(witness)
    assert witness.told == [("a", SCANNER), ("a", "closed")]


Steps = tuple[tuple[int, str], ...]


@st.composite
def interleave(draw: st.DrawFn) -> list[tuple[int, str]]:
    """What three threads do, each in its order: one notes the establishment and serves, two others serve or end."""
    threads: list[Steps] = [
        ((0, "begin"), (0, "enter"), (0, "answer"), (0, "leave")),
        ((1, "enter"), (1, "answer"), (1, "leave")),
        ((2, "enter"), (2, "answer"), (2, "leave"), (2, "end"), (2, "end")),
    ]
    turns = draw(st.permutations([steps[0][0] for steps in threads for _ in steps]))
    left = {number: iter(steps) for number, steps in enumerate(threads)}
    return [next(left[number]) for number in turns]


@given(interleave())
def test_no_answer_is_told_before_the_opening_or_after_the_end(steps: list[tuple[int, str]]) -> None:
    witness, visit = Witness(), Visit("a")
    inside: dict[int, bool] = {}
    for thread, act in steps:
        if act == "begin":
            visit.begin(witness, lambda: SCANNER)
        elif act == "end":
            visit.end(witness)
        elif act == "enter":
            inside[thread] = visit.enter()
        elif inside[thread] and act == "answer":
            visit.begin(witness, lambda: SCANNER)
            witness.told.append(("a", "answered"))
        elif inside[thread]:
            visit.leave(witness)
    answers = sum(inside.values())
    assert witness.told == [("a", SCANNER), *[("a", "answered")] * answers, ("a", "closed")]


def test_who_closes_the_connection_waits_for_no_request() -> None:
    witness, visit = Witness(), Visit("a")
    visit.begin(witness, lambda: SCANNER)
    assert visit.enter()
    visit.end(witness)
    assert witness.told == [("a", SCANNER)]
    assert not visit.enter(), "what comes later has nobody to be told of"
    visit.leave(witness)
    assert witness.told == [("a", SCANNER), ("a", "closed")]


def test_how_it_ended_is_told_when_it_is_over() -> None:
    witness, visit = Witness(), Visit("a")
    visit.begin(witness, lambda: SCANNER)
    visit.how = "aborted"
    assert witness.told == [("a", SCANNER)]
    visit.end(witness)
    assert witness.told[1:] == [("a", "aborted")]


def test_of_who_was_never_let_in_no_end_is_told() -> None:
    witness, visit = Witness(), Visit("a")
    visit.end(witness)
    assert witness.told == []
