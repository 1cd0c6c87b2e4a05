"""The ledger goes into one file while it is used, and comes back whole."""

from pathlib import Path

import pytest

from fusionnode.domain.job import JobEvent, JobState
from fusionnode.domain.terms import SeriesState, Step
from fusionnode.errors import LedgerUnavailable, OutputOccupied, SettingsInvalid
from fusionnode.index.backup import load_ledger, require_empty, restart_steps, save_ledger
from fusionnode.index.store import SqlLedger, migrate, open_ledger
from tests.support.ledgers import LATER, NOW, enter_series, make_job


@pytest.fixture
def vacant_url(request: pytest.FixtureRequest, ledger_url: str, tmp_path: Path) -> str:
    """The URL of a database without a schema, of the kind that ``ledger_url`` is."""
    if ledger_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'vacant.sqlite'}"
    server = request.getfixturevalue("postgres_server")
    return str(server.url_of(server.create_database()))


def test_what_was_saved_comes_back_and_not_what_came_later(
    ledger: SqlLedger, ledger_url: str, vacant_url: str, tmp_path: Path
) -> None:
    key = enter_series(ledger, "a-mr")
    ledger.add_job(make_job(fixed=key))
    (tmp_path / "copy").mkdir()
    name = save_ledger(ledger_url, tmp_path / "copy")
    ledger.add_job(make_job(name="later"))
    load_ledger(vacant_url, tmp_path / "copy", name)
    restored = open_ledger(vacant_url)
    assert restored.list_jobs() == [make_job(fixed=key)]
    assert restored.list_series(tuple(SeriesState)) == ledger.list_series(tuple(SeriesState))
    assert restored.list_events(key.series_instance_uid) == ledger.list_events(key.series_instance_uid)
    restored.close()


def test_nothing_is_overwritten(ledger: SqlLedger, ledger_url: str, vacant_url: str, tmp_path: Path) -> None:
    require_empty(vacant_url)
    (tmp_path / "copy").mkdir()
    name = save_ledger(ledger_url, tmp_path / "copy")
    with pytest.raises(OutputOccupied):
        load_ledger(ledger_url, tmp_path / "copy", name)
    other = {"ledger.sqlite": "ledger.dump", "ledger.dump": "ledger.sqlite"}[name]
    with pytest.raises(SettingsInvalid, match="kind of database"):
        load_ledger(vacant_url, tmp_path / "copy", other)


def test_every_unfinished_job_begins_its_step_again_and_the_others_rest(ledger: SqlLedger, ledger_url: str) -> None:
    jobs = {}
    for number, steps in enumerate(("", "c", "cf", "cfc", "cfcf", "cfcfc", "cfcfcf")):
        job = make_job(name=f"n{number}")
        ledger.add_job(job)
        for count, what in enumerate(steps):
            step = (Step.PREPARE, Step.FUSE, Step.SEND)[count // 2]
            held = ledger.claim_job(step, NOW, 30, "gone", job.id) if what == "c" else ledger.find_job(job.id)
            assert held is not None
            if what == "f":
                ledger.advance_job(held, JobEvent.FINISHED, NOW)
        jobs[steps] = ledger.find_job(job.id)
    assert restart_steps(ledger_url, LATER) == 4
    queued, fused, stored = JobState.QUEUED, JobState.FUSED, JobState.STORED
    expected = dict(zip(jobs, (queued, queued, queued, queued, fused, fused, stored), strict=True))
    assert {steps: ledger.find_job(job.id).state for steps, job in jobs.items()} == expected
    fences = {steps: ledger.find_job(job.id).fence - job.fence for steps, job in jobs.items()}
    assert fences == dict(zip(jobs, (0, 1, 1, 1, 0, 1, 0), strict=True))
    assert ledger.claim_job(Step.SEND, LATER, 30, "new", jobs["cfcfc"].id) is not None


def test_a_ledger_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="no ledger"):
        save_ledger(f"sqlite:///{tmp_path / 'none.sqlite'}", tmp_path)


def test_what_a_lost_ledger_left_behind_does_not_get_into_the_one_that_is_put_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    migrate(url)
    (tmp_path / "copy").mkdir()
    name = save_ledger(url, tmp_path / "copy")
    ledger = open_ledger(url)
    ledger.add_job(make_job())
    log = (tmp_path / "ledger.sqlite-wal").read_bytes()
    ledger.close()
    (tmp_path / "ledger.sqlite").unlink()
    (tmp_path / "ledger.sqlite-wal").write_bytes(log)
    load_ledger(url, tmp_path / "copy", name)
    restored = open_ledger(url)
    assert restored.list_jobs() == []
    restored.close()


def test_without_the_programs_of_postgresql_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsInvalid, match="pg_dump is not installed"):
        save_ledger("postgresql+psycopg://nobody:secret@127.0.0.1:1/none", tmp_path)


@pytest.mark.system
def test_a_database_that_does_not_answer_is_told_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="pg_dump failed") as caught:
        save_ledger("postgresql+psycopg://nobody:secret@127.0.0.1:1/none", tmp_path)
    assert "secret" not in str(caught.value)
