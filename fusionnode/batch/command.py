"""The command ``fusionnode batch``: options in, a bar or plain lines while it runs, a few words at the end."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from fusionnode.batch.request import BatchRequest, Existing, Progress
from fusionnode.logs import configure_logging
from fusionnode.settings import load_settings

_LINE_SECONDS = 10.0

Clock = Callable[[], float]


def batch(  # noqa: PLR0913, PLR0917 - one parameter per option
    out: Annotated[Path, typer.Option(help="Batch folder: a new one, or that of the same batch to go on with.")],
    archive: Annotated[str, typer.Option(help="Archive to fetch from, by its name in the site file.")] = "",
    patients: Annotated[Path | None, typer.Option(help="CSV list of patients or studies.")] = None,
    dates: Annotated[str, typer.Option(help="Study dates, as 20240101-20240331.")] = "",
    modality: Annotated[str, typer.Option(help="Only studies with one of these, comma-separated: MR, PT, NM.")] = "",
    folder: Annotated[list[Path] | None, typer.Option(help="Folder tree of DICOM files instead of an archive.")] = None,
    pipeline: Annotated[str, typer.Option(help="Pipeline by name; every one of the site when left out.")] = "",
    network: Annotated[str, typer.Option(help="Fuser by name instead of the pipeline's.")] = "",
    to: Annotated[str, typer.Option(help="Destinations, comma-separated; a folder when left out.")] = "",
    node: Annotated[bool, typer.Option("--node", help="Fill the site's running node, and wait for it.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Pairs worked on at the same time.")] = 1,
    existing: Annotated[Existing, typer.Option(help="What to do with pairs that were fused before.")] = Existing.SKIP,
    site: Annotated[Path | None, typer.Option(help="Site file (TOML or YAML); see deploy/site.toml.")] = None,
) -> None:
    """Fuse many studies from an archive or a folder tree; can be killed and gone on with. Sums up in CSV and JSON."""
    from fusionnode.batch.run import run_batch

    request = BatchRequest(
        out=out,
        archive=archive,
        patients=patients,
        dates=dates,
        modalities=_split(modality),
        folders=tuple(folder or ()),
        pipeline=pipeline,
        network=network,
        destinations=_split(to),
        into_node=node,
        workers=workers,
        existing=existing,
    )
    console = Console(stderr=True)
    settings = load_settings(site)
    if console.is_terminal:
        with open_bars(console) as bars:
            # The bars tell how far it is. Warnings go above them, because the bars have taken over standard error.
            configure_logging(logging.WARNING)
            summary = run_batch(request, settings, BarTeller(bars))
    else:
        summary = run_batch(request, settings, LineTeller())
    for verdict, count in summary["verdicts"].items():
        typer.echo(f"{count:5} {verdict}")
    typer.echo(f"summary: {out / 'summary.csv'}")
    if not summary["final"]:
        raise typer.Exit(1)


def open_bars(console: Console) -> Bars:
    """Return what draws the bars of a `BarTeller`, not yet drawing."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}")
    return Bars(*columns, console=console)


class Pace:
    """How fast a count grows from where it stood when it became known: what an earlier run did is no rate of this one.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._first: tuple[int, float] | None = None
        self._at_end: tuple[int, str] = 0, ""

    def describe(self, done: int, total: int) -> str:
        """Return the rate and the time left in words; empty before the first is done. At the end the rate stays."""
        if not total:
            return ""
        if done == total == self._at_end[0]:
            return self._at_end[1]
        now = self._clock()
        self._first = self._first or (done, now)
        words = describe_rate(done - self._first[0], total - done, now - self._first[1])
        self._at_end = (total, words) if done == total else (0, "")
        return words


class BarTeller:
    """Shows two bars: what was fetched, and what was fused.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, bars: Bars, clock: Clock = time.monotonic) -> None:
        self._bars = bars
        self._tasks = [bars.add_task(name, total=None, pace="") for name in ("fetched", "fused")]
        self._paces = Pace(clock), Pace(clock)

    def __call__(self, state: Progress) -> None:
        """Show how far it is."""
        counts = (state.fetched, state.found, state.found), (state.ended, state.pairs, state.expected_pairs)
        for task, pace, (done, known, expected) in zip(self._tasks, self._paces, counts, strict=True):
            words = pace.describe(done, expected)
            self._bars.update(task, completed=done, total=known or None, pace=words)


class LineTeller:
    """Prints a line when something changed, but not more often than every ten seconds, and at the end.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._paces = Pace(clock), Pace(clock)
        self._told: tuple[Progress | None, float] = None, float("-inf")

    def __call__(self, state: Progress) -> None:
        """Print how far it is."""
        now = self._clock()
        fetching = self._paces[0].describe(state.fetched, state.found)
        fusing = self._paces[1].describe(state.ended, state.expected_pairs)
        is_end = state.fetched == state.found and state.ended == state.pairs
        if state == (self._told[0] or Progress()) or (now - self._told[1] < _LINE_SECONDS and not is_end):
            return
        self._told = state, now
        parts = [
            ", ".join(filter(None, (f"{what} {done} of {total}", pace)))
            for what, done, total, pace in (
                ("fetched", state.fetched, state.found, fetching),
                ("fused", state.ended, state.pairs, fusing),
            )
        ]
        typer.echo("; ".join(parts), err=True)


def describe_rate(done: int, left: int, seconds: float) -> str:
    """Return the rate and the time left, such as ``1.5 a minute, about 4 min left``; empty before the first is done.

    Args:
        done: how many ended within ``seconds``.
        left: how many are known, or to be expected, that have not ended.
        seconds: since the run began.
    """
    if done <= 0 or seconds <= 0:
        return ""
    minute = 60 * done / seconds
    rate = f"{minute:.1f} a minute" if minute >= 1 else f"{60 * minute:.1f} an hour"
    if left <= 0:
        return rate
    minutes = left / minute
    if minutes < 1:
        return f"{rate}, less than 1 min left"
    return f"{rate}, about {f'{minutes:.0f} min' if minutes < 100 else f'{minutes / 60:.0f} h'} left"


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())
