"""The sweep as a loop outlives trouble."""

import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from fusionnode.domain.job import JobEvent
from fusionnode.domain.terms import Step
from fusionnode.errors import Unavailable
from fusionnode.flow.ports import CommitmentReport, DeliveryOutcome
from fusionnode.flow.sweep import Sweeper
from fusionnode.wiring import build_sweeper
from fusionnode.worker.sweeping import enter_reports, repeat_sweep
from tests.support.nodes import MOMENT, make_pair, open_test_node, publish_objects, put_in_spool


@pytest.mark.parametrize("trouble", [Unavailable("the database is away"), ZeroDivisionError()])
def test_repeat_sweep_tries_again_after_trouble(trouble: Exception) -> None:
    stop = threading.Event()
    rounds: list[str] = []
    whole: list[bool] = []

    @dataclass
    class Troubled:
        read_header: Any = None

        def sweep(self, *_: Any) -> None:
            rounds.append("sweep")
            if len(rounds) == 1:
                raise trouble

    def tell() -> None:
        rounds.append("tell")
        stop.set()

    repeat_sweep(cast("Sweeper", Troubled()), 0.01, stop, tell, whole.append)
    assert rounds == ["sweep", "sweep", "tell"]
    assert whole == [False, True]


def test_a_round_that_has_very_much_to_index_is_seen_to_go_on(tmp_path: Path) -> None:
    node, stop = open_test_node(tmp_path), threading.Event()
    images = make_pair()[0][:3]
    put_in_spool(node, images, tmp_path / "scanner")
    seen: list[tuple[bool, int]] = []

    def look(whole: bool) -> None:
        seen.append((whole, len(list(node.spool.list_arrivals()))))

    repeat_sweep(build_sweeper(node), 0.01, stop, stop.set, look)
    assert seen == [(False, 3), (False, 2), (False, 1), (True, 0)]


def test_reports_that_wait_in_the_spool_are_entered_and_what_was_lost_waits_longer_each_time(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = publish_objects(node, make_pair()[0][:2])
    waits = []
    for number in range(1, 4):
        sending = node.ledger.claim_job(Step.SEND, MOMENT + timedelta(hours=number), 30, "worker")
        assert sending is not None
        for owed in node.ledger.list_undelivered(job.id):
            node.ledger.record_outcome(sending, DeliveryOutcome(owed, True, "0000"), MOMENT)
        [account] = node.ledger.list_consignments(job.id)
        node.ledger.save_consignment(sending, replace(account, requests=number), MOMENT)
        node.ledger.open_commitment(sending, "pacs", f"1.2.{number}", MOMENT)
        node.ledger.advance_job(sending, JobEvent.FINISHED, MOMENT, not_before=MOMENT + timedelta(days=9))
        lost = node.ledger.list_uncommitted(job.id, "pacs")[0].sop_instance_uid
        node.reports.keep_report(CommitmentReport(f"1.2.{number}", frozenset(), {lost: 0x0112}))  # type: ignore[attr-defined]
        assert enter_reports(node, MOMENT) == 1
        assert enter_reports(node, MOMENT) == 0
        [account] = node.ledger.list_consignments(job.id)
        assert account.stored == 1
        assert account.not_before is not None
        waits.append((account.not_before - MOMENT).total_seconds())
    longest = [2.0, 4.0, 4.0]  # doubling from 1 s, capped at 4 s
    assert all(most / 2 <= wait <= most for wait, most in zip(waits, longest, strict=True))
