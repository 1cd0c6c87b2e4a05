"""The commands of the upkeep as a user meets them."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fusionnode.cli import app
from fusionnode.errors import BackupIncomplete, FusionNodeError, Misconfigured, OutputOccupied, SeriesUnknown
from fusionnode.settings import load_settings
from fusionnode.traces.verify import verify_trail
from fusionnode.wiring import open_node
from tests.support.nodes import make_pair, publish_objects, trust_clock


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text('spool = "spool"\n[destinations.pacs]\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 1\n')
    return path


def _run(site: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments, "--site", str(site)])
    if isinstance(done.exception, FusionNodeError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_clean_tells_what_stays_and_why(site: Path) -> None:
    node = open_node(load_settings(site))
    job = publish_objects(node, make_pair()[0][:2])
    node.ledger.withdraw_jobs(job.fixed.series_instance_uid, "", job.moment)
    trust_clock(node, datetime.now(UTC))
    told = _run(site, "clean", "--dry-run")
    assert f"would go: results {job.id}, because the job is superseded" in told
    assert json.loads(_run(site, "clean", "--json"))[0]["goes"] is True
    assert _run(site, "clean") == "0 of 0 deleted\n"


@pytest.mark.parametrize("there", [[], ["spool"], ["spool", "spool/ledger.sqlite"]])
def test_a_dry_run_where_no_node_is_makes_none(site: Path, there: list[str]) -> None:
    for name in there:
        place = site.with_name(name) if "/" not in name else site.parent / name
        place.touch() if place.suffix else place.mkdir()
    with pytest.raises(Misconfigured):
        _run(site, "clean", "--dry-run")
    assert sorted(str(path.relative_to(site.parent)) for path in site.parent.rglob("*")) == sorted(
        ["site.toml", *there]
    )


def test_a_dry_run_changes_nothing(site: Path) -> None:
    node = open_node(load_settings(site))
    publish_objects(node, make_pair()[0][:2])
    trust_clock(node, datetime.now(UTC))
    node.ledger.close()
    before = _picture(site.parent)
    assert before["spool/clock.json"][1], "there is something to change"
    assert _run(site, "clean", "--dry-run").endswith(" would go\n")
    assert _picture(site.parent) == before


def _picture(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return times and content of all files and folders below ``folder``, but for what SQLite opens to read."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
        if not path.name.endswith(("-wal", "-shm")) and path != folder / "spool"
    }


def test_quarantine_and_release(site: Path) -> None:
    job = publish_objects(open_node(load_settings(site)), make_pair()[0][:2])
    assert _run(site, "quarantine", job.id) == f"job {job.id} is set aside\n"
    assert _run(site, "release", job.id) == f"job {job.id} goes on\n"
    with pytest.raises(SeriesUnknown):
        _run(site, "quarantine", "1.2.3")


def test_backup_and_restore(site: Path, tmp_path: Path) -> None:
    job = publish_objects(open_node(load_settings(site)), make_pair()[0][:2])
    assert "2 files and the ledger are in" in _run(site, "backup", str(tmp_path / "copy"))
    with pytest.raises(OutputOccupied):
        _run(site, "restore", str(tmp_path / "copy"))
    (tmp_path / "spool").rename(tmp_path / "lost")
    assert "2 files and the ledger of 20" in _run(site, "restore", str(tmp_path / "copy"))
    assert open_node(load_settings(site)).ledger.find_job(job.id) == job


def test_who_backed_up_and_put_back_is_in_the_trail_and_that_it_failed(site: Path, tmp_path: Path) -> None:
    def list_told() -> list[tuple[str, int, str]]:
        settings = load_settings(site)
        assert verify_trail(settings.spool / "audit", b"").sound
        lines = [line for path in (settings.spool / "audit").iterdir() for line in path.read_text().splitlines()]
        told = [one for one in map(json.loads, lines) if one.get("event", "").startswith("Command")]
        return [(one["event"], one["outcome"], one["objects"][0]["Job, Series or Folder"]) for one in told]

    copy, empty = str(tmp_path / "copy"), tmp_path / "empty"
    open_node(load_settings(site)).ledger.close()
    _run(site, "backup", str(tmp_path / "first"))
    _run(site, "backup", copy)
    with pytest.raises(OutputOccupied):
        _run(site, "backup", copy)
    first = [("Command: backup", 0, str(tmp_path / "first"))]
    assert sorted(list_told()) == sorted([*first, ("Command: backup", 0, copy), ("Command: backup", 4, copy)])
    (tmp_path / "spool").rename(tmp_path / "lost")
    empty.mkdir()
    with pytest.raises(BackupIncomplete):
        _run(site, "restore", str(empty))
    _run(site, "restore", copy)
    assert sorted(list_told()) == sorted([*first, ("Command: restore", 0, copy)]), "those of the backup are kept"


def test_an_upgrade_that_was_not_migrated_yet_can_be_backed_up(site: Path, tmp_path: Path) -> None:
    settings = load_settings(site)
    open_node(settings).ledger.close()
    with closing(sqlite3.connect(settings.spool / "ledger.sqlite")) as ledger:
        ledger.execute("UPDATE alembic_version SET version_num = '0000'")
        ledger.commit()
    assert "the ledger are in" in _run(site, "backup", str(tmp_path / "copy"))


def test_a_backup_where_no_node_is_makes_none(site: Path, tmp_path: Path) -> None:
    with pytest.raises(FusionNodeError):
        _run(site, "backup", str(tmp_path / "copy"))
    assert [path.name for path in tmp_path.iterdir()] == ["site.toml"]
