"""What the sender says before it has spoken to anybody; `tests/network/test_sender.py` has the conversations."""

import dataclasses
from pathlib import Path

import pytest

from fusionnode.delivery.destination import Destination
from fusionnode.delivery.sender import AssociationSender
from fusionnode.delivery.statuses import FILE_MISSING, FILE_MISTAKEN, FILE_UNREADABLE
from fusionnode.errors import SettingsInvalid
from fusionnode.flow.ports import Delivery
from tests.support.datasets import Layout, make_mr_series
from tests.support.files import write_series

DELIVERY = Delivery("job", "pacs", "1.2.840.10008.5.1.4.1.1.4", "1.2.3", "gone.dcm")


@pytest.fixture
def sender(tmp_path: Path) -> AssociationSender:
    # Port 1 of the loopback interface: nobody listens there, so any attempt to connect would raise.
    return AssociationSender(tmp_path, {"pacs": Destination("pacs", "PACS", "127.0.0.1", 1, "FUSIONNODE")})


def test_an_unknown_destination_is_a_mistake_in_the_site_file(sender: AssociationSender) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        sender.send("attic", [DELIVERY])
    assert caught.value.facts == {"destination": "attic", "known": ["pacs"]}
    with pytest.raises(SettingsInvalid):
        sender.echo("attic")


def test_files_that_cannot_be_sent_are_told_apart_without_bothering_the_destination(
    sender: AssociationSender, tmp_path: Path
) -> None:
    (tmp_path / "text.dcm").write_text("not DICOM")
    (tmp_path / "folder.dcm").mkdir()
    other = write_series(tmp_path, make_mr_series(Layout(slices=1, rows=4, columns=4)))[0].name
    paths = ["gone.dcm", "text.dcm", "folder.dcm", other]
    outcomes = list(sender.send("pacs", [dataclasses.replace(DELIVERY, path=path) for path in paths]))
    assert [outcome.delivery.path for outcome in outcomes] == paths
    assert [outcome.status for outcome in outcomes] == [FILE_MISSING, FILE_UNREADABLE, FILE_UNREADABLE, FILE_MISTAKEN]
    assert not any(outcome.stored for outcome in outcomes)


def test_nothing_to_send_needs_no_association(sender: AssociationSender) -> None:
    assert list(sender.send("pacs", [])) == []
