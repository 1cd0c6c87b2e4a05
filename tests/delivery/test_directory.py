"""A destination is found by its name or named as missing."""

import pytest

from fusionnode.delivery.directory import find_destination
from fusionnode.errors import SettingsInvalid


def test_a_known_name_is_found_and_an_unknown_one_told_with_the_known_ones() -> None:
    assert find_destination({"pacs": 1, "archive": 2}, "archive") == 2
    with pytest.raises(SettingsInvalid, match="attic") as raised:
        find_destination({"pacs": 1, "archive": 2}, "attic")
    assert raised.value.facts == {"destination": "attic", "known": ["archive", "pacs"]}
