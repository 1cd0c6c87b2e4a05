"""The embedded node: C-STORE in, fused series out, all in one process."""

import threading
from pathlib import Path

from fusionnode.capture.identity import FusedIdentity
from fusionnode.domain.job import JobState
from fusionnode.settings import DestinationSettings
from fusionnode.worker.inline import EmbeddedNode
from fusionnode.worker.jobs import list_job_facts
from tests.support.commitments import CommittingPeer, running_peer
from tests.support.datasets import Identity, Layout, make_mr_series
from tests.support.ledgers import make_job
from tests.support.nodes import FRAME, make_pair, open_test_node, publish_objects, send_series, storage_pacs
from tests.support.pacs import StoragePeer
from tests.support.running import await_value


def test_a_pair_sent_to_the_node_arrives_fused(tmp_path: Path) -> None:
    with storage_pacs(tmp_path) as pacs:
        node = open_test_node(tmp_path, pacs)
        embedded = EmbeddedNode(node)
        embedded.start()
        try:
            fixed, moving = make_pair()
            statuses = send_series(node.settings, embedded.port, [*moving, *fixed], tmp_path / "scanner")
            assert set(statuses) == {"0000"}
            [job] = await_value(lambda: node.ledger.list_jobs({JobState.STORED}), seconds=40)
            assert len(pacs.fetch_series(FusedIdentity(job.id).series_uid)) == len(fixed)
        finally:
            embedded.stop()


def test_a_late_slice_makes_a_second_generation_that_says_what_it_supersedes(tmp_path: Path) -> None:
    with storage_pacs(tmp_path) as pacs:
        node = open_test_node(tmp_path, pacs)
        embedded = EmbeddedNode(node)
        embedded.start()
        try:
            fixed, moving = make_pair()
            send_series(node.settings, embedded.port, [*moving, *fixed], tmp_path / "scanner")
            [first] = await_value(lambda: node.ledger.list_jobs({JobState.STORED}), seconds=40)
            longer = make_mr_series(Layout(slices=11, rows=24, columns=20), Identity(frame_of_reference_uid=FRAME))
            assert longer[0].SeriesInstanceUID == fixed[0].SeriesInstanceUID
            send_series(node.settings, embedded.port, longer[-1:], tmp_path / "late")
            jobs = await_value(lambda: [one for one in [node.ledger.list_jobs({JobState.STORED})] if len(one) == 2])[0]
            [second] = [job for job in jobs if job.id != first.id]
            assert second.supersedes == first.id
            assert second.fixed.generation == 2
            assert len(pacs.fetch_series(FusedIdentity(second.id).series_uid)) == 11
        finally:
            embedded.stop()


def test_a_job_for_two_destinations_is_committed_by_the_one_that_commits_and_stored_by_both(tmp_path: Path) -> None:
    objects = make_mr_series(Layout(slices=3, rows=8, columns=8))
    with running_peer(CommittingPeer()) as committer, StoragePeer() as viewer:
        spare = DestinationSettings(ae_title="SPARE", host="127.0.0.1", port=1)
        destinations = {
            "pacs": spare,
            "archive": spare.model_copy(update={"port": committer.port, "commitment": True}),
            "viewer": spare.model_copy(update={"port": viewer.port}),
        }
        node = open_test_node(tmp_path, destinations=destinations)
        publish_objects(node, objects, ["archive", "viewer"])
        embedded = EmbeddedNode(node)
        embedded.start()
        committer.report_to = embedded.port
        try:
            await_value(lambda: node.ledger.list_jobs({JobState.COMMITTED}), seconds=40)
        finally:
            embedded.stop()
        assert sorted(committer.stored) == sorted(viewer.uids) == sorted(ds.SOPInstanceUID for ds in objects)
        assert set(committer.answers) == {0x0000}
    [fact] = list_job_facts(node.settings)
    told = {one["name"]: (one["stored"], one["owed"], one["committed"]) for one in fact["destinations"]}
    assert told == {"archive": (3, 3, 3), "viewer": (3, 3, 0)}


def test_a_destination_that_keeps_a_job_waiting_does_not_hold_up_the_jobs_for_others(tmp_path: Path) -> None:
    objects = make_mr_series(Layout(slices=2, rows=8, columns=8))
    arrived, released = threading.Event(), threading.Event()

    def dawdle(_: object) -> None:
        arrived.set()
        released.wait(60)

    with StoragePeer(on_store=dawdle) as slow, StoragePeer() as quick:
        spare = DestinationSettings(ae_title="SPARE", host="127.0.0.1", port=1)
        ports = {"pacs": 1, "slow": slow.port, "quick": quick.port}
        destinations = {name: spare.model_copy(update={"port": port}) for name, port in ports.items()}
        node = open_test_node(tmp_path, destinations=destinations)
        waiting = publish_objects(node, objects, ["slow"], make_job(name="a"))
        served = publish_objects(node, objects, ["quick"], make_job(name="b", minute=1))
        embedded = EmbeddedNode(node)
        embedded.start()
        try:
            assert arrived.wait(40)
            await_value(lambda: node.ledger.find_job(served.id).state is JobState.STORED, seconds=40)
            assert node.ledger.find_job(waiting.id).state is JobState.SENDING
            released.set()
            await_value(lambda: node.ledger.find_job(waiting.id).state is JobState.STORED, seconds=40)
        finally:
            released.set()
            embedded.stop()
