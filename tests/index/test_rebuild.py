"""The index is filled again from the spool."""

from dataclasses import replace
from pathlib import Path

import pytest

from fusionnode.domain.job import JobState
from fusionnode.domain.series import InstanceHeader
from fusionnode.domain.terms import SeriesState
from fusionnode.errors import DatasetUnreadable, SpoolFileMissing
from fusionnode.flow.ports import StoredFile
from fusionnode.index.header import read_header
from fusionnode.index.rebuild import rebuild_index
from fusionnode.index.store import SqlLedger
from tests.support.datasets import Layout, make_mr_series
from tests.support.files import write_series
from tests.support.ledgers import NOW, change_bytes, enter_series, make_headers, make_job


@pytest.fixture
def spool(tmp_path: Path) -> list[StoredFile]:
    paths = write_series(tmp_path / "spool", make_mr_series(Layout(slices=4, rows=4, columns=4)))
    return [StoredFile(path, path.name, f"{number:064x}") for number, path in enumerate(paths)]


def test_everything_in_the_spool_is_in_the_ledger_again(ledger: SqlLedger, spool: list[StoredFile]) -> None:
    counts = rebuild_index(ledger, spool, read_header, NOW)
    assert counts == {"new": 4, "duplicate": 0, "conflict": 0, "refused": 0}
    (series,) = ledger.list_series([SeriesState.RECEIVING])
    assert {instance.path for instance in series.instances} == {stored.place for stored in spool}


def test_doing_it_twice_changes_nothing(ledger: SqlLedger, spool: list[StoredFile]) -> None:
    rebuild_index(ledger, spool, read_header, NOW)
    before = ledger.list_series(SeriesState)
    assert rebuild_index(ledger, spool, read_header, NOW)["duplicate"] == 4
    assert ledger.list_series(SeriesState) == before


def test_one_bad_file_does_not_stop_the_others(
    ledger: SqlLedger, spool: list[StoredFile], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(b"no dicom")
    counts = rebuild_index(ledger, [StoredFile(bad, "bad.dcm", "0"), *spool], read_header, NOW)
    assert (counts["refused"], counts["new"]) == (1, 4)
    assert "bad.dcm" in caplog.text


def test_an_unreachable_spool_stops_it(ledger: SqlLedger, tmp_path: Path) -> None:
    with pytest.raises(SpoolFileMissing):
        rebuild_index(ledger, [StoredFile(tmp_path / "gone", "gone", "0")], read_header, NOW)


def test_conflicts_are_found_again(ledger: SqlLedger, tmp_path: Path) -> None:
    first, second = make_headers(slices=2)
    headers = {"a": first, "b": second, "c": change_bytes(first), "d": replace(first, path="resent")}

    def look_up(stored: StoredFile) -> InstanceHeader:
        if stored.place not in headers:
            raise DatasetUnreadable("nothing", remedy="none")
        return headers[stored.place]

    files = [StoredFile(tmp_path / place, place, "0") for place in "abcde"]
    counts = rebuild_index(ledger, files, look_up, NOW)
    assert counts == {"new": 2, "duplicate": 1, "conflict": 1, "refused": 1}


def test_a_job_on_what_proves_contradicted_is_ended(ledger: SqlLedger, tmp_path: Path) -> None:
    key = enter_series(ledger, "mr")
    job = make_job(fixed=key)
    ledger.add_job(job)
    stored = StoredFile(tmp_path / "again", "again", "0")
    counts = rebuild_index(ledger, [stored], lambda _: change_bytes(make_headers("mr")[0]), NOW)
    assert counts["conflict"] == 1
    assert ledger.find_job(job.id).state is JobState.SUPERSEDED
