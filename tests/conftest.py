"""Fixtures shared by all chapters, and what is said at the end about the tests that could not run."""

import gc
import os

# Small tensors on two cores are faster without a team of threads, and the processes that tests start inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path

import pydicom.config
import pytest
from hypothesis import settings

from tests.support.command_server import CommandServer, command_server

# A deadline would assert how busy the machine is. Every run draws other examples, so few of them do.
settings.register_profile("fusionnode", deadline=None, max_examples=50)
settings.load_profile("fusionnode")

REPOSITORY = Path(__file__).resolve().parent.parent

_LONGEST = ("system", "demo", "dicom_samples", "registration", "test_cli.py")


@pytest.fixture(scope="session", autouse=True)
def _strict_writing() -> None:
    """Tests are stricter than production: a value that breaks its VR fails the moment it is written."""
    pydicom.config.settings.writing_validation_mode = pydicom.config.RAISE


@pytest.fixture(scope="session")
def commands() -> Iterator[CommandServer]:
    """Runs `fusionnode` commands, each in a process of its own, without the seconds it takes to start one."""
    with command_server() as running:
        yield running


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real imaging data; tests that need it are skipped, loudly, where it is absent."""
    folder = Path(os.environ.get("FUSIONNODE_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"no real imaging data in {folder}; set FUSIONNODE_REAL_DATA")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest goes first, so that of several processes none is left with it at the end."""
    items.sort(key=_rank)


def pytest_collection_finish() -> None:
    """All that is imported and collected stays to the end: no collection of garbage has to go through it again.

    There are a good million objects, and pynetdicom's servers collect garbage by themselves, as often as they look.
    """
    gc.collect()
    gc.freeze()


def _rank(item: pytest.Item) -> int:
    chapter = item.path.relative_to(REPOSITORY / "tests").parts[0]
    return _LONGEST.index(chapter) if chapter in _LONGEST else len(_LONGEST)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was not tested where it cannot be overlooked."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section(f"NOT TESTED HERE: {len(skipped)} tests were skipped")
        for report in skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            terminalreporter.line(f"{report.nodeid}: {reason}")
