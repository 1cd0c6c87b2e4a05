"""Real peers for the system tests."""

from collections.abc import Iterator

import pytest

from fusionnode.demo.pacs import OrthancPacs
from tests.support.tools import require_tool


@pytest.fixture
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancPacs]:
    """A throw-away Orthanc of this test's own."""
    pacs = OrthancPacs(tmp_path_factory.mktemp("orthanc"), require_tool("Orthanc"))
    try:
        yield pacs
    finally:
        pacs.stop()
