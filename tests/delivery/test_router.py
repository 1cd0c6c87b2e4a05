"""Each destination is served by the sender that knows it."""

from pathlib import Path

import pytest

from fusionnode.delivery.destination import Destination
from fusionnode.delivery.router import Router
from fusionnode.delivery.sender import AssociationSender
from fusionnode.delivery.stow import StowSender, WebDestination
from fusionnode.errors import CommitmentRefused, DestinationUnreachable, SettingsInvalid
from fusionnode.flow.ports import Delivery
from tests.support.pacs import StoragePeer


@pytest.fixture
def router(tmp_path: Path) -> Router:
    nodes = {"pacs": Destination("pacs", "PACS", "127.0.0.1", 1, "FUSIONNODE", commits=True)}
    servers = {"web": WebDestination("web", "http://127.0.0.1:1")}
    to_nodes, to_servers = AssociationSender(tmp_path, nodes), StowSender(tmp_path, servers)
    return Router({"pacs": to_nodes, "web": to_servers})


def test_each_is_asked_in_its_own_language(router: Router) -> None:
    with pytest.raises(DestinationUnreachable, match="PACS at "):
        router.echo("pacs")
    with pytest.raises(DestinationUnreachable, match="http://"):
        router.echo("web")
    assert list(router.send("web", [])) == []


def test_commitment_is_asked_only_of_those_that_offer_it(router: Router) -> None:
    assert router.offers_commitment("pacs")
    assert not router.offers_commitment("web")
    assert not router.offers_commitment("attic")
    with pytest.raises(CommitmentRefused, match="DICOMweb"):
        router.request_commitment("web", "1.2.3", [])


def test_a_peer_that_takes_no_commitment_requests_is_told_of(tmp_path: Path) -> None:
    with StoragePeer() as peer:
        nodes = {"pacs": Destination("pacs", "TESTPACS", "127.0.0.1", peer.port, "FUSIONNODE", commits=True)}
        router = Router({"pacs": AssociationSender(tmp_path, nodes)})
        with pytest.raises(CommitmentRefused, match="does not take storage commitment"):
            router.request_commitment("pacs", "1.2.3", [Delivery("j", "pacs", "1.2", "1.2.4", "x.dcm")])


def test_an_unknown_destination_is_a_mistake_in_the_site_file(router: Router) -> None:
    with pytest.raises(SettingsInvalid, match="attic"):
        router.send("attic", [])
    with pytest.raises(SettingsInvalid, match="attic"):
        router.echo("attic")
    with pytest.raises(SettingsInvalid, match="attic"):
        router.request_commitment("attic", "1.2.3", [])
