"""Who fulfils which port: the one place that knows the edges by name."""

import os
import socket
import ssl
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fusionnode.delivery.association import Destination
from fusionnode.delivery.outbox import SpoolOutbox
from fusionnode.delivery.router import Router
from fusionnode.delivery.sender import AssociationSender
from fusionnode.delivery.stow import StowSender, WebDestination
from fusionnode.errors import PipelineInvalid, SettingsInvalid
from fusionnode.flow.ports import Ledger, Outbox, PreparedStore, Reports, Sender, SeriesSource
from fusionnode.flow.sweep import Sweeper
from fusionnode.fusion.cards import CARDS, find_card
from fusionnode.index.header import read_header
from fusionnode.index.source import SpoolSeriesSource
from fusionnode.index.store import migrate, open_ledger
from fusionnode.intake.listener import Listener
from fusionnode.intake.reports import ReportFolder
from fusionnode.intake.spool import Spool
from fusionnode.pairing.settle import SettleTimes
from fusionnode.pipeline.parse import parse_pipelines
from fusionnode.pipeline.schema import Pipeline
from fusionnode.retrieval.archive import Archive
from fusionnode.retrieval.association import Peer
from fusionnode.retrieval.dicomweb import WebArchive
from fusionnode.retrieval.dimse import DimseArchive, Method
from fusionnode.settings import ArchiveSettings, DestinationSettings, Settings, TlsSettings, WebDestinationSettings
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
    reports: Reports


def open_node(settings: Settings, pipelines: Mapping[str, Pipeline] | None = None) -> Node:
    """Open spool and ledger, read the pipelines, unless others are given, and put the edges together.

    Raises:
        Misconfigured: a pipeline, the spool or the database schema is wrong.
        Unavailable: the database does not answer.
    """
    if pipelines is None:
        pipelines = load_pipelines(settings, known_destinations=settings.destinations)
    sender = build_sender(settings)
    spool = open_spool(settings)
    reports = ReportFolder(settings.spool)
    reports.prepare()
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
        sender=sender,
        reports=reports,
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


def build_sender(settings: Settings) -> Router:
    """Return the sender that knows the site's destinations.

    Raises:
        SettingsInvalid: a certificate, a key or a password cannot be read.
    """
    nodes, servers = {}, {}
    for name, one in settings.destinations.items():
        if isinstance(one, DestinationSettings):
            tls = build_tls(one.tls) if one.tls else None
            nodes[name] = Destination(name, one.ae_title, one.host, one.port, tls, one.commitment)
        else:
            servers[name] = WebDestination(name, one.url, build_tls(one.tls), one.user, _read_password(name, one))
    reports = ReportFolder(settings.spool)
    to_nodes = AssociationSender(settings.spool, nodes, settings.ae_title, keep_report=reports.keep_report)
    to_servers = StowSender(settings.spool, servers)
    return Router(dict.fromkeys(nodes, to_nodes) | dict.fromkeys(servers, to_servers))


def build_archive(settings: Settings, name: str) -> Archive:
    """Return the archive that the site file calls ``name``.

    Raises:
        SettingsInvalid: there is none, or a certificate, a key or a password cannot be read.
    """
    one = settings.archives.get(name)
    if one is None:
        known = ", ".join(sorted(settings.archives)) or "none"
        raise SettingsInvalid(
            f"There is no archive {name!r}; known are: {known}.", remedy="Add it to `archives` in the site file."
        )
    if isinstance(one, ArchiveSettings):
        tls = build_tls(one.tls) if one.tls else None
        peer = Peer(name, one.ae_title, one.host, one.port, settings.ae_title, tls)
        return DimseArchive(peer, Method(one.retrieve), one.move_to or settings.ae_title)
    access = (one.user, _read_password(name, one)) if one.user else None
    return WebArchive(name, one.url, build_tls(one.tls), access)


def build_tls(tls: TlsSettings | None) -> ssl.SSLContext:
    """Return how to secure connections to a peer and verify it: TLS 1.2 or later, as BCP 195 asks.

    Without settings the host's own authorities are trusted and nothing is shown.

    Raises:
        SettingsInvalid: a file is missing, or holds no certificate or not the right key.
    """
    tls = tls or TlsSettings()
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca)
        if tls.certificate:
            # A key under a passphrase would have the service wait for somebody to type it.
            context.load_cert_chain(tls.certificate, tls.key, password="")
    except OSError as problem:
        files = ", ".join(str(path) for path in (tls.ca, tls.certificate, tls.key) if path)
        raise SettingsInvalid(
            f"TLS cannot be set up from {files}: {getattr(problem, 'reason', '') or problem.strerror}.",
            remedy="Name PEM files that this process may read, and a key without passphrase that fits its certificate.",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.check_host
    return context


def _read_password(name: str, destination: WebDestinationSettings) -> str:
    if destination.password_file is None:
        return destination.password.get_secret_value()
    try:
        return destination.password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsInvalid(
            f"The password of destination {name} cannot be read from {destination.password_file}.",
            remedy="Let this process read that file.",
        ) from problem


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
