"""The command ``fusionnode batch``: options in, a bar or plain lines while it runs, a few words at the end."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

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
        # The bars tell how far it is; log lines between would tear them.
        configure_logging(logging.WARNING)
        with Bars(*_make_columns(), console=console) as bars:
            summary = run_batch(request, settings, BarTeller(bars))
    else:
        summary = run_batch(request, settings, LineTeller())
    for verdict, count in summary["verdicts"].items():
        typer.echo(f"{count:5} {verdict}")
    typer.echo(f"summary: {out / 'summary.csv'}")
    if not summary["final"]:
        raise typer.Exit(1)


class BarTeller:
    """Shows two bars: what was fetched, and what was fused."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._fetch = bars.add_task("fetched", total=None)
        self._fuse = bars.add_task("fused", total=None)

    def __call__(self, state: Progress) -> None:
        """Show how far it is."""
        self._bars.update(self._fetch, completed=state.fetched, total=state.found or None)
        self._bars.update(self._fuse, completed=state.ended, total=state.pairs or None)


class LineTeller:
    """Prints a line when something changed, but not more often than every ten seconds, and at the end.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._begun = clock()
        self._at_first: int | None = None
        self._told: tuple[str, float] = "", float("-inf")

    def __call__(self, state: Progress) -> None:
        """Print how far it is."""
        now = self._clock()
        self._at_first = state.ended if self._at_first is None else self._at_first
        words = f"fetched {state.fetched} of {state.found}, fused {state.ended} of {state.pairs}"
        is_end = state.fetched == state.found and state.ended == state.pairs
        if words == self._told[0] or (now - self._told[1] < _LINE_SECONDS and not is_end):
            return
        self._told = words, now
        rate = describe_rate(state.ended - self._at_first, state.pairs - state.ended, now - self._begun)
        typer.echo(words + rate, err=True)


def describe_rate(done: int, left: int, seconds: float) -> str:
    """Return the rate and the time left, such as ``, 1.5 a minute, about 4 min left``; empty before the first is done.

    Args:
        done: pairs ended within ``seconds``.
        left: pairs known that have not ended.
        seconds: since the run began.
    """
    if done <= 0 or seconds <= 0:
        return ""
    minute = 60 * done / seconds
    return f", {minute:.1f} a minute" + (f", about {max(1, round(left / minute))} min left" if left else "")


class _RateColumn(ProgressColumn):
    """How many a minute."""

    def render(self, task: Task) -> Text:
        """Return the rate."""
        return Text(f"{60 * task.speed:.1f}/min" if task.speed else "", style="progress.data.speed")


def _make_columns() -> tuple[ProgressColumn, ...]:
    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _RateColumn(), TimeRemainingColumn()


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())
