"""A destination names its own error; `tests/dimse` has what goes wrong with it."""

from fusionnode.delivery.destination import Destination
from fusionnode.errors import DestinationUnreachable


def test_its_error_says_which_one_where_and_why() -> None:
    error = Destination("pacs", "TESTPACS", "10.0.0.1", 104, "FUSIONNODE").describe_trouble("aborted")
    assert isinstance(error, DestinationUnreachable)
    assert error.message == "Destination pacs (TESTPACS at 10.0.0.1:104): aborted."
    assert error.facts == {"destination": "pacs", "why": "aborted"}
