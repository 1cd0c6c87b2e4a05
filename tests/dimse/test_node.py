"""Each kind of node has an error of its own, and none can be made without one."""

import pytest

from fusionnode.delivery.destination import Destination
from fusionnode.dimse.node import DicomNode
from fusionnode.errors import ArchiveUnreachable, DestinationUnreachable, Unavailable
from fusionnode.retrieval.association import Peer


@pytest.mark.parametrize(("kind", "error"), [(Destination, DestinationUnreachable), (Peer, ArchiveUnreachable)])
def test_the_same_trouble_has_the_name_that_its_chapter_gives_it(
    kind: type[DicomNode], error: type[Unavailable]
) -> None:
    node = kind("pacs", "TESTPACS", "10.0.0.1", 104, "FUSIONNODE")
    told = node.describe_trouble("no connection")
    assert type(told) is error
    assert "pacs (TESTPACS at 10.0.0.1:104): no connection" in told.message


def test_a_node_that_names_no_error_is_none() -> None:
    with pytest.raises(TypeError, match="abstract"):
        DicomNode("pacs", "TESTPACS", "10.0.0.1", 104, "FUSIONNODE")  # type: ignore[abstract]
