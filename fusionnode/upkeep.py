"""The commands that keep a node in order over the years: clean, set aside, back up."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fusionnode.settings import load_settings

Site = Annotated[Path | None, typer.Option("--site", help="Site file (TOML or YAML); see deploy/site.toml.")]
Subject = Annotated[str, typer.Argument(metavar="JOB|SERIES", help="Job id or Series Instance UID.")]


def clean(
    site: Site = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go, what stays, and why.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Delete now what is delivered and old enough, as a running node does every hour."""
    from fusionnode.worker.housekeeping import clean_spool

    facts = clean_spool(load_settings(site), dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    goes = "would go" if dry_run else "deleted"
    for fact in facts:
        typer.echo(f"{goes if fact['goes'] else 'stays'}: {fact['kind']} {fact['name']}, because {fact['why']}")
    typer.echo(f"{sum(fact['goes'] for fact in facts)} of {len(facts)} {goes}")


def quarantine(subject: Subject, site: Site = None) -> None:
    """Set a job aside, so that it is not worked on or sent; or a series, so that it is not paired, with its jobs."""
    from fusionnode.worker.holding import set_aside

    typer.echo(set_aside(load_settings(site), subject))


def release(subject: Subject, site: Site = None) -> None:
    """Let a job or series that was set aside go on."""
    from fusionnode.worker.holding import let_go_on

    typer.echo(let_go_on(load_settings(site), subject))


def backup(
    out: Annotated[Path, typer.Argument(help="New folder for the backup.")],
    site: Site = None,
) -> None:
    """Copy ledger and spool into a new folder while the node works."""
    from fusionnode.index.migrate import require_ledger
    from fusionnode.worker.backup import back_up
    from fusionnode.worker.commanded import commanded

    settings = load_settings(site)
    # Where no node is, none is begun by telling of it. Whatever its version: an upgrade begins with a backup.
    require_ledger(settings.ledger_url)
    with commanded(settings, "backup", str(out.absolute())):
        facts = back_up(settings, out)
    typer.echo(f"{sum(facts['files'].values())} files and the ledger are in {out}")


def restore(
    folder: Annotated[Path, typer.Argument(help="Folder that `fusionnode backup` made.")],
    site: Site = None,
) -> None:
    """Put a backup into an empty spool and an empty database."""
    from fusionnode.worker.backup import restore as put_back
    from fusionnode.worker.commanded import commanded

    settings = load_settings(site)
    facts = put_back(settings, folder)
    # Told when it is done: a trail begun before would be in the way of this restore, and of the next one if it failed.
    with commanded(settings, "restore", str(folder.absolute()), {"taken_at": facts["taken_at"]}):
        typer.echo(f"{sum(facts['files'].values())} files and the ledger of {facts['taken_at']} are back")
