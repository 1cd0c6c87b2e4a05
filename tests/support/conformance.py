"""Writes the tables of the DICOM conformance statement from the code; the prose around them is the page's own.

``make conformance`` (``python -m tests.support.conformance``) writes the page. What is offered and asked is read off
associations and requests that the code really makes, what objects carry off objects that it really builds.
"""

import logging
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.support.network_tables import NETWORK_TABLES
from tests.support.object_tables import OBJECT_TABLES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "conformance.md"
COMMAND = "make conformance"
TABLES: dict[str, Callable[[], Iterable[Sequence[str]]]] = {**NETWORK_TABLES, **OBJECT_TABLES}
"""Rows by the name of the table, the heading first."""

_BLOCK = re.compile(r"<!-- begin (?P<name>[a-z, -]+) -->\n.*?<!-- end (?P=name) -->\n", re.DOTALL | re.IGNORECASE)


def list_places(page: str) -> list[str]:
    """Return the names of the tables that a page has places for."""
    return [match["name"] for match in _BLOCK.finditer(page)]


def fill_page(page: str, tables: dict[str, Callable[[], Iterable[Sequence[str]]]]) -> str:
    """Return the page with every table made anew.

    Raises:
        KeyError: the page has a place for a table that nothing makes.
    """

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- begin {name} -->\n{render_table(tables[name]())}<!-- end {name} -->\n"

    return _BLOCK.sub(fill, page)


def render_table(rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is the heading."""
    heading, *others = [[_escape(cell) for cell in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in (heading, ["---"] * len(heading), *others))


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # of instances that are refused on purpose
    before = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(fill_page(before, TABLES), encoding="utf-8")
    sys.stdout.write(f"{PAGE} written\n")
