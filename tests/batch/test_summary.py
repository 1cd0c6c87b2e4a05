"""The summary says the same as ledger and journal, in two forms, and shows nobody."""

import csv
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fusionnode.batch.crew import Crew
from fusionnode.batch.folder import open_batch
from fusionnode.batch.request import BatchRequest, choose_pipelines
from fusionnode.batch.results import ResultFolder
from fusionnode.batch.summary import list_torn, write_summary
from fusionnode.batch.verdicts import COLUMNS
from fusionnode.domain.job import JobState
from fusionnode.settings import Settings
from fusionnode.wiring import load_pipelines, open_node
from tests.support.nodes import make_settings, queue_job
from tests.support.running import await_value

PIPELINES = choose_pipelines(
    BatchRequest(Path(), pipeline="mr-pt", network="laplacian"), load_pipelines(Settings(), None)
)


def test_both_forms_say_the_same_and_no_patient_is_in_either(tmp_path: Path) -> None:
    with open_batch(tmp_path / "batch", {}) as folder:
        settings = make_settings(tmp_path, spool=folder.node)
        node = open_node(settings, PIPELINES)
        job = queue_job(node, tmp_path)
        node = replace(node, sender=ResultFolder(folder.node, folder.results))
        with Crew(node, 1):
            await_value(lambda: node.ledger.find_job(job.id).state is JobState.STORED, seconds=100)
        folder.note("found", study="1.2.3", patient="p", row=1)
        folder.note("torn", study="1.2.3", series="", error="ArchiveUnreachable", reason="Away.")
        folder.note("asked", row=1, patient="p", studies=1)
        folder.note("asked", row=2, patient="q", studies=0)
        facts = write_summary(folder, settings, PIPELINES, datetime.now(UTC))
    assert facts["verdicts"] == {"written": 1, "not fetched": 1, "not found": 1}
    assert not facts["final"]
    assert json.loads((tmp_path / "batch" / "summary.json").read_text()) == facts
    text = (tmp_path / "batch" / "summary.csv").read_text()
    assert list(csv.DictReader(text.splitlines())) == facts["rows"]
    assert "TEST-1" not in text
    [row] = [row for row in facts["rows"] if row["job"] == job.id]
    assert (row["stored"], row["owed"], row["overlap"]) == ("10", "10", "1.00")
    assert float(row["seconds"]) > 0
    assert float(row["rotation_deg"]) == 0


def test_a_series_is_torn_until_it_came_whole(tmp_path: Path) -> None:
    with open_batch(tmp_path, {}) as folder:
        folder.note("torn", study="1", series="1.1", error="E", reason="one")
        folder.note("torn", study="1", series="1.2", error="E", reason="two")
        folder.note("whole", series="1.1")
        assert list_torn(folder) == {"1.2": "E: two"}
        folder.note("torn", study="1", series="1.1", error="E", reason="again")
        assert list_torn(folder)["1.1"] == "E: again"


def test_every_column_and_key_is_documented(tmp_path: Path) -> None:
    with open_batch(tmp_path / "batch", {}) as folder:
        settings = make_settings(tmp_path, spool=folder.node)
        open_node(settings, PIPELINES)
        facts = write_summary(folder, settings, PIPELINES, datetime.now(UTC))
    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "batch.md").read_text()
    told = set(re.findall(r"`(\w+)`", page))
    assert {*COLUMNS, *facts} <= told
