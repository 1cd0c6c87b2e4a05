"""Tables of a page that are made anew, between markers; the prose around them is the page's own."""

import re
from collections.abc import Callable, Iterable, Sequence

_BLOCK = re.compile(r"<!-- begin (?P<name>[a-z, -]+) -->\n.*?<!-- end (?P=name) -->\n", re.DOTALL | re.IGNORECASE)


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


def list_places(page: str) -> list[str]:
    """Return the names of the tables that a page has places for."""
    return [match["name"] for match in _BLOCK.finditer(page)]
