"""A card names its fuser and version the way outputs carry it."""

from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.model import ModelCard, ModelKind


@given(name=st.from_regex(r"[a-z]{1,12}", fullmatch=True), version=st.from_regex(r"[0-9.]{1,6}", fullmatch=True))
def test_the_identifier_is_name_at_version(name: str, version: str) -> None:
    card = ModelCard(name, version, ModelKind.CLASSICAL, "a rule", "a paper")
    assert card.identifier.split("@") == [name, version]


def test_a_rule_is_available_and_has_nothing_learnt() -> None:
    card = ModelCard("average", "1", ModelKind.CLASSICAL, "a rule", "a paper")
    assert (card.available, card.sha256, card.parameters) == (True, "", 0)
