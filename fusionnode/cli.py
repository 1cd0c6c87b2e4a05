"""The command line: thin words over `worker`, `demo`, `check` and `doctor`."""

import json
import logging
import signal
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from fusionnode import __version__
from fusionnode.batch.command import batch
from fusionnode.domain.terms import Step
from fusionnode.errors import FusionNodeError, Misconfigured
from fusionnode.logs import configure_logging, configure_service
from fusionnode.settings import Settings, load_settings
from fusionnode.upkeep import backup, clean, quarantine, release, restore

app = typer.Typer(
    help="Pairs MRI with PET or SPECT, registers and fuses them, and returns the fused series to the PACS.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
# Much of what is printed was written by others: rich takes none of it for markup where it is not told to.
_out = Console(markup=False, emoji=False)
_err = Console(stderr=True, markup=False, emoji=False)

Site = Annotated[Path | None, typer.Option("--site", help="Site file (TOML or YAML); see deploy/site.toml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log warnings and errors only.")] = False,
) -> None:
    if version:
        _out.print(__version__)
        raise typer.Exit
    configure_logging(logging.WARNING if quiet else logging.INFO)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo leaves behind.")] = Path("demo-out"),
) -> None:
    """Run the main job on the bundled samples: a node, a PACS, real C-STORE, and a picture to look at."""
    from fusionnode.demo.story import tell_story

    tell_story(out, _out)


@app.command()
def serve(site: Site = None) -> None:
    """Run a whole node in this process: listener, sweep, workers and sender. No broker needed."""
    from fusionnode.worker.service import run_serve

    run_serve(_load_service("serve", site), _stop_on_signal())


@app.command()
def listen(site: Site = None) -> None:
    """Run only the DICOM listener."""
    from fusionnode.worker.service import run_listen

    run_listen(_load_service("listen", site), _stop_on_signal())


@app.command()
def sweep(site: Site = None) -> None:
    """Run only the sweep: index, settle, pair, and announce jobs to the workers through the broker."""
    from fusionnode.worker.service import run_sweeping

    run_sweeping(_load_service("sweep", site), _stop_on_signal())


@app.command()
def work(
    queue: Annotated[Step, typer.Option(help="Which step this worker does.")],
    site: Site = None,
) -> None:
    """Run one Celery worker for one queue. Start as many as wanted."""
    from fusionnode.worker.service import run_working

    run_working(_load_service(f"work {queue}", site), queue)


@app.command()
def fuse(  # noqa: PLR0913, PLR0917 - one parameter per option
    fixed: Annotated[Path, typer.Argument(help="Folder of the MRI series.")],
    moving: Annotated[Path, typer.Argument(help="Folder of the PET or SPECT series.")],
    out: Annotated[Path, typer.Option(help="New folder for the fused series, preview.png and report.json.")],
    pipeline: Annotated[str, typer.Option(help="Pipeline by name; chosen by modality when left out.")] = "",
    network: Annotated[str, typer.Option(help="Fuser by name instead of the pipeline's.")] = "",
    unpaired: Annotated[bool, typer.Option("--unpaired", help="Do not ask the pairing rules; outputs say so.")] = False,
    site: Site = None,
    as_json: AsJson = False,
) -> None:
    """Fuse two folders of files into a third, without a node."""
    from rich.progress import Progress

    from fusionnode.wiring import load_pipelines
    from fusionnode.worker.files import STEPS, FilesRequest, fuse_folders

    settings = load_settings(site)
    pipelines = load_pipelines(settings, known_destinations=None).values()
    request = FilesRequest(fixed, moving, out, pipeline, network, unpaired)
    now = datetime.now(UTC).replace(microsecond=0)
    moment = now.astimezone(settings.find_zone(now))
    if _err.is_terminal:
        # The bar tells the steps; log lines between would tear it.
        configure_logging(logging.WARNING)
    with Progress(console=_err, transient=True, disable=not _err.is_terminal) as progress:
        bar = progress.add_task("read", total=STEPS)
        report = fuse_folders(
            request, pipelines, moment, lambda step: progress.update(bar, description=step, advance=1)
        )
    if as_json:
        _print_json(report)
        return
    motion = report["registration"]
    _out.print(f"{report['slices']} fused slices by {report['network']} in {out}")
    _out.print(f"motion: {motion['method']}, {motion['rotation_deg']:.1f} degrees, overlap {motion['overlap']:.0%}")
    for warning in [*motion["warnings"], *report["notes"]]:
        _out.print(f"note: {warning}")


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder of SET/MRI/NAME.png beside SET/PET or SET/SPECT.")],
    networks: Annotated[str, typer.Option(help="Names, comma-separated; all available ones when left out.")] = "",
    cases: Annotated[str, typer.Option(help="Only these, comma-separated, each CASE or SET/CASE.")] = "",
    report: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
    save: Annotated[Path | None, typer.Option(help="Folder for the fused pictures, NETWORK/SET/NAME.png.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="PNG file for a contact sheet.")] = None,
) -> None:
    """Measure fusers on pairs of pictures; the classical ones are always in the table."""
    from rich.progress import Progress

    from fusionnode.worker.evaluation import EvaluationRequest, evaluate_folder

    request = EvaluationRequest(folder, _split(networks), _split(cases), report, save, sheet)
    with Progress(console=_err, transient=True, disable=not _err.is_terminal) as progress:
        bar = progress.add_task("fusing and measuring")
        _, tables = evaluate_folder(request, lambda done, total: progress.update(bar, completed=done, total=total))
    typer.echo(tables)


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the fusers that a pipeline can name."""
    from fusionnode.fusion.cards import list_card_facts

    facts = list_card_facts()
    if as_json:
        _print_json(facts)
        return
    fixed = [Column(title, no_wrap=True) for title in ("name", "version", "kind", "parameters", "usable")]
    table = Table(*fixed, "what it does")
    for fact in facts:
        usable = ("default" if fact["default"] else "yes") if fact["available"] else "no weights"
        size = f"{fact['parameters']:,}"
        table.add_row(fact["name"], fact["version"], fact["kind"], size, usable, fact["summary"])
    _out.print(table)


@app.command()
def train(  # noqa: PLR0913, PLR0917 - one parameter per option
    name: Annotated[str, typer.Argument(help="Network to train.")],
    data: Annotated[Path, typer.Option(help="Folder of SET/MRI/NAME.png beside SET/PET or SET/SPECT.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; one that holds the same run is gone on with.")],
    loss: Annotated[str | None, typer.Option(help="'balanced', or a paper's: 'paper', 'stronger', 'content'.")] = None,
    steps: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    bfloat16: Annotated[bool | None, typer.Option(help="Faster where the processor has it.")] = None,
    device: Annotated[str, typer.Option(help="Of torch: 'cpu' or 'cuda'.")] = "cpu",
) -> None:
    """Train a network on pairs of pictures, as the weights that ship were trained; can be stopped and gone on with."""
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from fusionnode.training.recipes import find_recipe
    from fusionnode.training.train import train as run_training

    asked: dict[str, Any] = {"loss": loss, "steps": steps, "seed": seed, "bfloat16": bfloat16}
    plan = replace(find_recipe(name), **{key: value for key, value in asked.items() if value is not None})
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_err, disable=not _err.is_terminal) as progress:
        bar = progress.add_task("training", total=plan.steps)
        state = run_training(plan, data, out, lambda step, _: progress.update(bar, completed=step), device)
    _out.print(f"held-out loss {state.best:.4f}; weights in {out / 'best.safetensors'}")


@app.command()
def jobs(site: Site = None, as_json: AsJson = False) -> None:
    """List the jobs, newest first, with what of their output is stored."""
    from fusionnode.worker.jobs import list_job_facts

    facts = list_job_facts(load_settings(site))
    if as_json:
        _print_json(facts)
        return
    # Whole, however narrow the screen: it is what every other command asks for.
    table = Table(Column("job", no_wrap=True), "state", "pipeline", "made", "stored", "reason")
    for fact in facts:
        stored = "\n".join(_tell_destination(one) for one in fact["destinations"])
        table.add_row(fact["id"], fact["state"], fact["pipeline"], fact["moment"], stored, fact["reason"])
    _out.print(table)


@app.command()
def series(site: Site = None, as_json: AsJson = False) -> None:
    """List the received series: what state each is in and why, and why it was not paired."""
    from fusionnode.worker.jobs import list_series_facts

    facts = list_series_facts(load_settings(site))
    if as_json:
        _print_json(facts)
        return
    table = Table(Column("series", overflow="fold"), "modality", "frames", "state", "why")
    for fact in facts:
        name = f"{fact['series_instance_uid']}#{fact['generation']}"
        why = "\n".join([fact["reason"], *fact["not_paired"]])
        table.add_row(name, fact["modality"], str(fact["frames"]), fact["state"], why)
    _out.print(table)


@app.command()
def explain(
    uid: Annotated[str, typer.Argument(metavar="SERIES|STUDY", help="Series or Study Instance UID.")],
    site: Site = None,
    as_json: AsJson = False,
) -> None:
    """Tell why a series, or each one of a study, was or was not paired, and what came of it."""
    from fusionnode.worker.explain import explain_uid, tell_explanation

    facts = explain_uid(load_settings(site), uid, datetime.now(UTC))
    if as_json:
        _print_json(facts)
        return
    for line in tell_explanation(facts):
        _out.print(line, highlight=False, soft_wrap=True)


@app.command()
def retry(job: Annotated[str, typer.Argument(help="Job id, from `fusionnode jobs`.")], site: Site = None) -> None:
    """Put a refused or failed job back at its beginning; what is stored already is not sent again."""
    from fusionnode.worker.jobs import retry_job

    _out.print(f"{job} is {retry_job(load_settings(site), job)} again")


@app.command()
def resend(
    job: Annotated[str, typer.Argument(help="Job id, from `fusionnode jobs`.")],
    destination: Annotated[str, typer.Option(help="Only to this one.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Also what is stored already.")] = False,
    site: Site = None,
) -> None:
    """Send again what a job published: what is outstanding, or all of it; also after it was given up."""
    from fusionnode.worker.jobs import resend_job

    owed = resend_job(load_settings(site), job, destination, everything=everything)
    _out.print(f"{owed} instances of {job} are to be sent")


@app.command()
def check(paths: Annotated[list[Path], typer.Argument(help="Pipeline files, folders of them, or site files.")]) -> None:
    """Say everything that is wrong with pipeline and site files."""
    from fusionnode.check import check_paths

    results = check_paths(paths)
    for result in results:
        _out.print(f"{'wrong' if result.mistakes else 'good'}: {result.kind} {result.path}", highlight=False)
        for mistake in result.mistakes:
            _out.print(f"  {mistake}", highlight=False)
    if any(result.mistakes for result in results):
        raise typer.Exit(1)


@app.command()
def doctor(site: Site = None) -> None:
    """Look at this installation: versions, GPU, spool, database, broker, destinations, archives."""
    from fusionnode.doctor import examine

    words = {True: "[green]well[/]", False: "[red]ILL[/]", None: "-"}
    ill = False
    for finding in examine(load_settings(site)):
        ill = ill or finding.well is False
        mark = "[yellow]note[/]" if finding.is_remark else words[finding.well]
        _out.print(f"{finding.subject:20} ", end="", highlight=False)
        _out.print(f"{mark:4} ", end="", markup=True, highlight=False)
        _out.print(finding.words, highlight=False, soft_wrap=True)
    if ill:
        raise typer.Exit(1)


@app.command()
def audit(
    folder: Annotated[Path | None, typer.Argument(help="Folder of the trail; that of the site when left out.")] = None,
    site: Site = None,
) -> None:
    """Verify the audit trail: nothing changed, nothing taken out, no file missing."""
    from fusionnode.traces.people import AuditKey
    from fusionnode.traces.verify import verify_trail

    settings = load_settings(site)
    place = folder or settings.audit.folder or settings.spool / "audit"
    verdict = verify_trail(place, AuditKey(settings.audit.read_key()).of_seals)
    for one in verdict.findings:
        where = f"{one.file}:{one.line}" if one.line else one.file
        _out.print(f"{'note' if one.sound else 'BROKEN'}: {where} {one.words}", highlight=False)
    words = "are whole" if verdict.sound else "are NOT whole"
    _out.print(f"{verdict.records} records in {verdict.files} files {words}", highlight=False)
    if not verdict.sound:
        raise typer.Exit(1)


@app.command()
def migrate(site: Site = None) -> None:
    """Bring the database to this version's schema."""
    from fusionnode.worker.jobs import migrate_ledger

    migrate_ledger(load_settings(site))


@app.command()
def reindex(site: Site = None) -> None:
    """Fill the ledger from the instances in the spool, after the database was lost."""
    from fusionnode.worker.jobs import reindex_spool

    _out.print(f"{reindex_spool(load_settings(site))} instances in the ledger")


for command in (batch, backup, clean, quarantine, release, restore):
    app.command()(command)


def main() -> None:
    """Run the command line: 0 done, 1 refused or failed, 2 wrong usage or installation."""
    try:
        app()
    except FusionNodeError as error:
        _err.print(f"[red]{error.code}[/]: ", end="", markup=True)
        _err.print(str(error), highlight=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, Misconfigured) else 1)


def _tell_destination(fact: dict[str, Any]) -> str:
    """One line per destination: how much it has, and whether it goes on."""
    committed = f", {fact['committed']} committed" if fact["requests"] or fact["committed"] else ""
    ended = ", given up" if fact["dead"] else f", try {fact['attempts'] + 1} to come" if fact["attempts"] else ""
    return f"{fact['name']}: {fact['stored']}/{fact['owed']}{committed}{ended}"


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


def _print_json(facts: Any) -> None:
    typer.echo(json.dumps(facts, indent=2))


def _load_service(role: str, site: Path | None) -> Settings:
    """Return the settings, with the log lines as they want them."""
    settings = load_settings(site)
    configure_service(role, as_json=settings.log_format == "json")
    return settings


def _stop_on_signal() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
