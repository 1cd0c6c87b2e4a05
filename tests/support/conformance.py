"""Writes the tables of the DICOM conformance statement from the code; the prose around them is the page's own.

``make conformance`` (``python -m tests.support.conformance``) writes the page. What is offered and asked is read off
associations and requests that the code really makes, what objects carry off objects that it really builds.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.support.network_tables import NETWORK_TABLES
from tests.support.object_tables import OBJECT_TABLES
from tests.support.tables import fill_page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "conformance.md"
COMMAND = "make conformance"
TABLES: dict[str, Callable[[], Iterable[Sequence[str]]]] = {**NETWORK_TABLES, **OBJECT_TABLES}
"""Rows by the name of the table, the heading first."""


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # of instances that are refused on purpose
    before = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(fill_page(before, TABLES), encoding="utf-8")
    sys.stdout.write(f"{PAGE} written\n")
