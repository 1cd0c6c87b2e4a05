"""The corpus, and every input that ever broke something, once more; ``make fuzz`` looks for new ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.seeds import CORPUS, list_seeds
from tests.fuzz.targets import Target, listening, read_strange_header


def _list(target: str) -> list[Path]:
    return sorted((CORPUS / target).iterdir())


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with listening(tmp_path_factory.mktemp("fuzzed")) as one:
        yield one


def test_the_seeds_are_what_good_peers_send_now() -> None:
    for place, content in list_seeds():
        assert (CORPUS / place).read_bytes() == content, f"{place}: run python -m tests.fuzz.seeds"


@pytest.mark.parametrize("path", _list("header"), ids=lambda path: path.name)
def test_a_strange_header_is_read_or_refused(path: Path, tmp_path: Path) -> None:
    read_strange_header(path.read_bytes(), tmp_path)


@pytest.mark.parametrize("path", _list("pdu"), ids=lambda path: path.name)
def test_a_strange_conversation_is_ended_and_the_next_peer_is_served(path: Path, target: Target) -> None:
    target.send(path.read_bytes())
    target.require_life()


def test_a_good_conversation_of_the_corpus_really_stores_something(target: Target) -> None:
    target.send((CORPUS / "pdu" / "store").read_bytes())
    assert len(list(target.spool.list_arrivals())) == 1
    target.require_life()
