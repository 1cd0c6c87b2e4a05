"""What is expected of each odd input: read from manifests, shown as a page, compared with what happened.

``python -m tests.support.verdicts`` writes the page.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.tables import fill_page

REPOSITORY = Path(__file__).resolve().parents[2]
EDGE_CASES = REPOSITORY / "dicom_samples" / "edge_cases" / "VERDICTS.toml"
PUBLIC_DATA = REPOSITORY / "tests" / "system" / "public_data.toml"
PAGE = REPOSITORY / "docs" / "reference" / "inputs.md"


@dataclass(frozen=True)
class Verdict:
    """What should become of an input, and the words its reason should contain.

    ``verdict`` is "fused", "refused ERROR", "left alone", "quarantined", "turned away" (not acknowledged) or
    "unsendable" (no sender can send it); "" means that it is not tried.
    """

    verdict: str
    because: str = ""

    def find_mismatch(self, found: "Verdict") -> str:
        """Return what differs, or empty text."""
        if self.verdict and self.verdict != found.verdict:
            return f"expected {self.verdict}, found {found.verdict} ({found.because[:300]})"
        if self.because.lower() not in found.because.lower():
            return f"{found.verdict} as expected, but {self.because!r} is not in {found.because[:300]!r}"
        return ""


@dataclass(frozen=True)
class Expectation:
    """One entry of a manifest.

    Attributes:
        name: of the edge case, or what the files of the public data are called together.
        files: patterns of paths below the public data's folder; empty: the name is the only one.
        what: the input in words.
        node: through the listener.
        fuse: through ``fusionnode fuse``.
        jobs: which folders should be fused with which, where several could be ("mr+pt").
        options: of the command.
        fixed, moving: folders the command gets, below the public data or the repository; empty: the input itself.
        like: the case whose fused pictures should be the same, value by value.
    """

    name: str
    what: str
    node: Verdict
    fuse: Verdict
    files: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    fixed: str = ""
    moving: str = ""
    like: str = ""
    quick: bool = False


def load_expectations(path: Path) -> list[Expectation]:
    """Read a manifest; unknown keys are mistakes."""
    return [_parse(entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["input"]]


def _parse(entry: dict[str, Any]) -> Expectation:
    facts = dict(entry)
    node = Verdict(facts.pop("node"), facts.pop("node_because", ""))
    fuse = Verdict(facts.pop("fuse"), facts.pop("fuse_because", ""))
    files, jobs, options = (tuple(facts.pop(key, ())) for key in ("files", "jobs", "options"))
    return Expectation(node=node, fuse=fuse, files=files, jobs=jobs, options=options, **facts)


def render_page(page: str, edge_cases: list[Expectation], public_data: list[Expectation]) -> str:
    """Return the page with its two tables as the manifests have them; the prose around them is the page's own."""
    return fill_page(
        page, {"edge cases": lambda: _list_rows(edge_cases), "public data": lambda: _list_rows(public_data)}
    )


def _list_rows(expectations: list[Expectation]) -> Iterator[tuple[str, ...]]:
    yield "input", "what it is", "through the listener", "`fusionnode fuse`"
    for one in expectations:
        yield f"`{one.name}`", one.what, _render(one.node), _render_fuse(one)


def _render(verdict: Verdict) -> str:
    word, _, error = verdict.verdict.partition(" ")
    told = f"{word} `{error}`" if word == "refused" else verdict.verdict
    return f"{told}: {verdict.because}" if verdict.because else told


def _render_fuse(one: Expectation) -> str:
    return _render(one.fuse) + (f" (`{' '.join(one.options)}`)" if one.options else "")


if __name__ == "__main__":
    PAGE.write_text(
        render_page(PAGE.read_text(encoding="utf-8"), load_expectations(EDGE_CASES), load_expectations(PUBLIC_DATA)),
        encoding="utf-8",
    )
