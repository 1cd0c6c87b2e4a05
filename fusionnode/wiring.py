"""Who fulfils which port: the one place that knows the edges by name."""

import os
import socket
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fusionnode.delivery.outbox import SpoolOutbox
from fusionnode.delivery.sender import AssociationSender, Destination
from fusionnode.errors import PipelineInvalid
from fusionnode.flow.ports import Ledger, Outbox, PreparedStore, Sender, SeriesSource
from fusionnode.flow.sweep import Sweeper
from fusionnode.fusion.cards import CARDS, find_card
from fusionnode.index.header import read_header
from fusionnode.index.source import SpoolSeriesSource
from fusionnode.index.store import migrate, open_ledger
from fusionnode.intake.listener import Listener
from fusionnode.intake.spool import Spool
from fusionnode.pairing.settle import SettleTimes
from fusionnode.pipeline.parse import parse_pipelines
from fusionnode.pipeline.schema import Pipeline
from fusionnode.settings import Settings
from fusionnode.workbench.prepared import PreparedFolder

if TYPE_CHECKING:
    from fusionnode.fusion.fuse import Fuser


@dataclass(frozen=True)
class Node:
    """The open edges of one process of one node."""

    settings: Settings
    pipelines: Mapping[str, Pipeline]
    spool: Spool
    ledger: Ledger
    source: SeriesSource
    prepared: PreparedStore
    outbox: Outbox
    sender: Sender


def open_node(settings: Settings) -> Node:
    """Open spool and ledger, read the pipelines, and put the edges together.

    Raises:
        Misconfigured: a pipeline, the spool or the database schema is wrong.
        Unavailable: the database does not answer.
    """
    pipelines = load_pipelines(settings, known_destinations=settings.destinations)
    spool = open_spool(settings)
    migrate(settings.ledger_url)
    ledger = open_ledger(settings.ledger_url)
    return Node(
        settings=settings,
        pipelines=pipelines,
        spool=spool,
        ledger=ledger,
        source=SpoolSeriesSource(ledger, settings.spool),
        prepared=PreparedFolder(settings.spool),
        outbox=SpoolOutbox(settings.spool),
        sender=build_sender(settings),
    )


def open_fuser(name: str, device: str = "cpu") -> "Fuser":
    """Find a fuser by its card's name, with its weights from the package, on ``device`` as the site file names it.

    Raises:
        SettingsInvalid: a GPU is wanted and none is visible.
        ModelUnknown: nothing is called that.
        ModelUnavailable: it is a network whose weights are missing, altered or another network's.
    """
    from fusionnode.fusion.fuse import choose_device, load_fuser
    from fusionnode.weights.store import load_weights

    card = find_card(name)
    return load_fuser(card, load_weights(card), choose_device(device))


def open_spool(settings: Settings) -> Spool:
    """Open the spool, making its folders."""
    spool = Spool(settings.spool, reserve_bytes=settings.spool_reserve_mb * 1024 * 1024)
    spool.prepare()
    return spool


def build_sender(settings: Settings) -> AssociationSender:
    """Return the sender that knows the site's destinations."""
    destinations = {
        name: Destination(name, one.ae_title, one.host, one.port) for name, one in settings.destinations.items()
    }
    return AssociationSender(settings.spool, destinations, settings.ae_title)


def build_listener(settings: Settings) -> Listener:
    """Return the listener of the site, not yet started. It needs the spool and nothing else."""
    spool = open_spool(settings)
    return Listener(settings.ae_title, settings.host, settings.port, spool, max_associations=settings.max_associations)


def build_sweeper(node: Node) -> Sweeper:
    """Return the sweeper of the site."""
    settle = node.settings.settle
    times = SettleTimes(settle.idle_seconds, settle.slow_seconds, settle.gap_seconds)
    return Sweeper(node.ledger, node.spool, read_header, node.prepared, node.pipelines, times)


def load_pipelines(settings: Settings, known_destinations: Collection[str] | None) -> dict[str, Pipeline]:
    """Read every pipeline file of the site, by name. Without ``known_destinations`` any destination will do.

    Raises:
        PipelineInvalid: every mistake of every file at once; or there is no file.
    """
    folder = settings.pipelines or find_shared("pipelines")
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.y*ml"))}
    if not texts:
        raise PipelineInvalid(f"{folder} holds no pipeline file.", remedy="Set `pipelines` in the site file.")
    parsed = parse_pipelines(texts, known_models=CARDS, known_destinations=known_destinations)
    return {pipeline.name: pipeline for pipeline in parsed}


def find_shared(name: str) -> Path:
    """Return a folder that comes with fusionnode: beside the package in a checkout, else in the environment."""
    checkout = Path(__file__).resolve().parent.parent / name
    return checkout if checkout.is_dir() else Path(sys.prefix) / "share" / "fusionnode" / name


def name_worker(role: str) -> str:
    """Return a name for leases and logs that no other running worker has."""
    return f"{role}-{socket.gethostname()}-{os.getpid()}"
