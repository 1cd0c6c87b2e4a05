"""Makes real nodes on SQLite with a real storage SCP as their PACS, and puts series into them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydicom import Dataset

from fusionnode.demo.pacs import StoragePacs
from fusionnode.domain.job import Job, JobEvent
from fusionnode.domain.terms import Step
from fusionnode.flow.ports import Delivery
from fusionnode.settings import DestinationSettings, Settings, SettleSettings, WorkSettings
from fusionnode.wiring import Node, build_sender, build_sweeper, open_node
from fusionnode.workbench.clock import ClockFile
from tests.support.datasets import Identity, Layout, make_mr_series, make_pt_series
from tests.support.files import write_series
from tests.support.ledgers import make_job

FRAME = "1.2.826.0.1.3680043.8.498.1"
MOMENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that moves only when told."""

    now: datetime = MOMENT

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def make_settings(folder: Path, pacs: StoragePacs | None = None, **changes: object) -> Settings:
    """Return settings of an impatient node below ``folder`` on a free port."""
    port = pacs.port if pacs else 1
    destinations = {"pacs": DestinationSettings(ae_title="DEMOPACS", host="127.0.0.1", port=port)}
    facts: dict[str, object] = {
        "port": 0,
        "spool": folder / "spool",
        "spool_reserve_mb": 0,
        "destinations": destinations,
        "settle": SettleSettings(idle_seconds=0.3, slow_seconds=1, gap_seconds=2, sweep_seconds=0.1),
        "work": WorkSettings(lease_seconds=30, retry_seconds=1, retry_cap_seconds=4, max_attempts=3),
    }
    return Settings(**{**facts, **changes})  # type: ignore[arg-type]


@contextmanager
def storage_pacs(folder: Path) -> Iterator[StoragePacs]:
    """Run our own storage SCP in the part of the PACS."""
    pacs = StoragePacs(folder / "pacs")
    try:
        yield pacs
    finally:
        pacs.stop()


def make_pair() -> tuple[list[Dataset], list[Dataset]]:
    """Return a small MR and PET series of one patient that share their frame of reference."""
    layout = Layout(slices=10, rows=24, columns=20)
    fixed = make_mr_series(layout, Identity(frame_of_reference_uid=FRAME))
    moving = make_pt_series(layout, Identity(frame_of_reference_uid=FRAME, series_number=2))
    return fixed, moving


def put_in_spool(node: Node, datasets: Sequence[Dataset], scratch: Path) -> None:
    """Let the spool accept data sets as if the listener had received them."""
    for ds, path in zip(datasets, write_series(scratch, datasets), strict=True):
        incoming = node.spool.incoming / path.name
        incoming.write_bytes(path.read_bytes())
        node.spool.accept(incoming, ds.SOPInstanceUID)


def queue_job(node: Node, folder: Path, now: datetime = MOMENT) -> Job:
    """Put a pair into the node and sweep until its job is queued."""
    fixed, moving = make_pair()
    put_in_spool(node, [*fixed, *moving], folder / "scratch")
    sweeper = build_sweeper(node)
    for monotonic in range(4):
        report = sweeper.sweep(now, 100.0 * monotonic)
        if report.queued:
            return report.queued[0]
    raise AssertionError("no job came of the pair")


def trust_clock(node: Node, now: datetime) -> None:
    """Have a node remember that its clock has gone evenly for ages, until ``now``."""
    ClockFile(node.spool.root).keep(datetime(2000, 1, 1, tzinfo=UTC), now)


def publish_objects(
    node: Node, datasets: Sequence[Dataset], destinations: Sequence[str] = ("pacs",), job: Job | None = None
) -> Job:
    """Put a job into the ledger that has got as far as FUSED with ``datasets`` as its outputs; nothing is computed."""
    made = job or make_job()
    node.ledger.add_job(made)
    for step in (Step.PREPARE, Step.FUSE):
        claimed = node.ledger.claim_job(step, MOMENT, 30, "nobody", made.id)
        assert claimed is not None
        if step is Step.FUSE:
            owed = [
                Delivery(made.id, destination, ds.SOPClassUID, ds.SOPInstanceUID, path)
                for ds, path in node.outbox.publish(claimed, datasets)
                for destination in destinations
            ]
            node.ledger.add_deliveries(owed)
        node.ledger.advance_job(claimed, JobEvent.FINISHED, MOMENT)
    return node.ledger.find_job(made.id)


def open_test_node(folder: Path, pacs: StoragePacs | None = None, **changes: object) -> Node:
    """Open a node on SQLite below ``folder``."""
    return open_node(make_settings(folder, pacs, **changes))


def send_series(settings: Settings, port: int, datasets: Sequence[Dataset], scratch: Path) -> list[str]:
    """Send data sets to a node by C-STORE and return the statuses."""
    target = {"node": DestinationSettings(ae_title=settings.ae_title, host="127.0.0.1", port=port)}
    paths = write_series(scratch, datasets)
    sender = build_sender(settings.model_copy(update={"destinations": target, "spool": scratch}))
    deliveries = [
        Delivery("test", "node", ds.SOPClassUID, ds.SOPInstanceUID, path.name)
        for ds, path in zip(datasets, paths, strict=True)
    ]
    return [outcome.status for outcome in sender.send("node", deliveries)]
