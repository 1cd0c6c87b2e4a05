"""What a person does to a job by hand is in the trail, also where it failed."""

import json
from pathlib import Path
from typing import Any

import pytest

from fusionnode.errors import JobUnknown
from fusionnode.settings import Settings
from fusionnode.worker.commanded import commanded
from fusionnode.worker.jobs import reindex_spool, resend_job, retry_job
from tests.support.datasets import Layout, make_mr_series
from tests.support.nodes import make_settings, open_test_node, publish_objects


def list_told(settings: Settings) -> list[dict[str, Any]]:
    lines = [line for path in sorted((settings.spool / "audit").iterdir()) for line in path.read_text().splitlines()]
    return [one for one in map(json.loads, lines) if "message" in one]


def test_resend_is_told_with_whom_and_what(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = publish_objects(node, make_mr_series(Layout(slices=2, rows=8, columns=8)))
    assert resend_job(node.settings, job.id, "pacs", everything=True) == 2
    [told] = list_told(node.settings)
    assert (told["event"], told["outcome"]) == ("Command: resend", 0)
    assert told["objects"] == [{"Job, Series or Folder": job.id, "destination": "pacs", "instances": "all"}]
    assert told["participants"][0]["name"]


def test_what_was_refused_is_told_as_refused(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    with pytest.raises(JobUnknown):
        retry_job(node.settings, "unknown")
    [told] = list_told(node.settings)
    assert (told["event"], told["outcome"], told["why"]) == ("Command: retry", 4, "JobUnknown")


def test_reindex_is_told(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    assert reindex_spool(settings) == 0
    [told] = list_told(settings)
    assert (told["event"], told["outcome"]) == ("Command: reindex", 0)
    assert told["objects"] == [{"Job, Series or Folder": str(settings.spool)}]


def test_a_defect_is_not_told_as_success(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    with pytest.raises(ZeroDivisionError), commanded(settings, "retry", "j1"):
        raise ZeroDivisionError
    assert [one["why"] for one in list_told(settings)] == ["unfinished"]
