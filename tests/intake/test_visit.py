"""However its threads overtake each other, an association is told of in the order of what happened."""

import itertools

import pytest

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
