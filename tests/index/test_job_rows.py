"""What is kept of an error."""

import pytest

from fusionnode.errors import DestinationUnreachable
from fusionnode.index.job_rows import describe_cause


def test_an_error_of_the_tree_keeps_its_words_and_its_name() -> None:
    cause = DestinationUnreachable("PACS does not answer.", remedy="Start it.")
    assert describe_cause(cause) == ("PACS does not answer. Start it.", "DestinationUnreachable")


def test_a_defect_keeps_its_place_but_not_its_words() -> None:
    with pytest.raises(ValueError, match="DOE") as raised:
        raise ValueError("cannot convert 'DOE^JOHN'")
    reason, error = describe_cause(raised.value)
    assert error == "ValueError"
    assert "test_job_rows.py" in reason
    assert "DOE" not in reason


def test_a_defect_that_was_never_raised_has_no_place() -> None:
    assert describe_cause(KeyError("x"))[0] == "A defect: KeyError. The log has the traceback."


def test_no_cause_says_nothing() -> None:
    assert describe_cause(None) == ("", "")
