"""What the STOW sender says before it has spoken to anybody; `tests/network/test_stow.py` has the conversations."""

from pathlib import Path

import pytest

from fusionnode.delivery.stow import StowSender, WebDestination
from fusionnode.errors import CommitmentRefused, SettingsInvalid
from fusionnode.flow.ports import Delivery


def test_it_shows_no_password() -> None:
    assert "hunter2" not in repr(WebDestination("web", "https://pacs.example", None, "node", "hunter2"))


def test_an_unknown_destination_and_commitment_are_refused(tmp_path: Path) -> None:
    sender = StowSender(tmp_path, {"web": WebDestination("web", "http://127.0.0.1:1")})
    with pytest.raises(SettingsInvalid, match="attic"):
        sender.send("attic", [])
    assert not sender.offers_commitment("web")
    with pytest.raises(CommitmentRefused):
        sender.request_commitment("web", "1.2.3", [])


def test_what_has_no_file_costs_no_request(tmp_path: Path) -> None:
    # Port 1 of the loopback interface: nobody listens there, so any request would raise.
    sender = StowSender(tmp_path, {"web": WebDestination("web", "http://127.0.0.1:1")})
    outcomes = list(sender.send("web", [Delivery("job", "web", "1.2", "1.2.3", "gone.dcm")]))
    assert [one.status for one in outcomes] == ["file-missing"]
