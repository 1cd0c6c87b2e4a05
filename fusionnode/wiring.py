"""Who fulfils which port: the one place that knows the edges by name."""

import hashlib
import os
import socket
import ssl
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from fusionnode import __version__
from fusionnode.delivery.destination import Destination
from fusionnode.delivery.observed import ObservedSender
from fusionnode.delivery.outbox import SpoolOutbox
from fusionnode.delivery.router import Router
from fusionnode.delivery.sender import AssociationSender
from fusionnode.delivery.stow import StowSender, WebDestination
from fusionnode.domain.retention import RetentionLimits
from fusionnode.errors import PipelineInvalid, SettingsInvalid
from fusionnode.exposure import refuse_as_root, refuse_changeable, refuse_exposed
from fusionnode.flow.housekeeping import Holdings, Housekeeper
from fusionnode.flow.observing import UNOBSERVED, ExchangeObserver, RemotePeer
from fusionnode.flow.ports import Ledger, Outbox, PreparedStore, Reports, Sender, SeriesSource
from fusionnode.flow.silence import Silence
from fusionnode.flow.sweep import Sweeper
from fusionnode.fusion.cards import CARDS, find_card
from fusionnode.index.header import read_header
from fusionnode.index.source import SpoolSeriesSource
from fusionnode.index.store import migrate, open_ledger
from fusionnode.intake.access import AllowedPeer, AllowList, parse_network
from fusionnode.intake.door import Entrance
from fusionnode.intake.limits import ListenerLimits
from fusionnode.intake.listener import Listener
from fusionnode.intake.quota import Quota
from fusionnode.intake.reports import ReportFolder
from fusionnode.intake.spool import Spool
from fusionnode.intake.tls import FreshContext
from fusionnode.pairing.settle import SettleTimes
from fusionnode.pipeline.parse import parse_pipelines
from fusionnode.pipeline.schema import Pipeline
from fusionnode.retrieval.archive import Archive
from fusionnode.retrieval.association import Peer
from fusionnode.retrieval.dicomweb import WebArchive
from fusionnode.retrieval.dimse import DimseArchive, Method
from fusionnode.retrieval.observed import ObservedArchive
from fusionnode.settings import (
    ArchiveSettings,
    DestinationSettings,
    ListenerTlsSettings,
    Settings,
    TlsSettings,
    WebDestinationSettings,
)
from fusionnode.traces.people import AuditKey, Naming
from fusionnode.traces.trail import AuditTrail
from fusionnode.traces.watcher import Watcher
from fusionnode.workbench.clock import ClockFile
from fusionnode.workbench.prepared import PreparedFolder
from fusionnode.workbench.trash import TrashFolder

if TYPE_CHECKING:
    from fusionnode.fusion.fuse import Fuser

# The suites of TLS 1.2 that BCP 195 recommends (RFC 9325 section 4.2); those of TLS 1.3 are all good.
_SUITES = ":".join(
    f"ECDHE-{signature}-{cipher}"
    for cipher in ("AES256-GCM-SHA384", "AES128-GCM-SHA256")
    for signature in ("ECDSA", "RSA")
)


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
    holdings: Holdings
    observer: ExchangeObserver = UNOBSERVED


def open_node(
    settings: Settings, pipelines: Mapping[str, Pipeline] | None = None, observer: ExchangeObserver = UNOBSERVED
) -> Node:
    """Open spool and ledger, read the pipelines, unless others are given, and put the edges together.

    ``observer`` is told what is sent and deleted.

    Raises:
        Misconfigured: a pipeline, the spool or the database schema is wrong.
        Unavailable: the database does not answer.
    """
    if pipelines is None:
        pipelines = load_pipelines(settings, known_destinations=settings.destinations)
    check_secrets(settings)
    sender = ObservedSender(build_sender(settings), settings.spool, name_destinations(settings), observer)
    spool = open_spool(settings)
    reports = ReportFolder(settings.spool)
    reports.prepare()
    migrate(settings.ledger_url)
    refuse_exposed(settings.list_ledger_files(), "The database")
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
        holdings=ledger,
        observer=observer,
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
    """Open the spool, making its folders.

    Raises:
        SettingsInvalid: it cannot be used, other users of this host can read it, or it is not root's, who asks.
    """
    refuse_as_root(settings.spool)
    asked = settings.quota
    quota = Quota(int(asked.spool_gb * 1e9), asked.waiting_jobs)
    spool = Spool(settings.spool, settings.spool_reserve_mb * 1024 * 1024, quota)
    spool.prepare()
    refuse_exposed([settings.spool], "The spool")
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
            place = (name, one.ae_title, one.host, one.port)
            nodes[name] = Destination(*place, settings.ae_title, tls, one.commitment)
        else:
            password = _read_password(f"destination {name}", one)
            servers[name] = WebDestination(name, one.url, build_tls(one.tls), one.user, password)
    reports = ReportFolder(settings.spool)
    to_nodes = AssociationSender(settings.spool, nodes, keep_report=reports.keep_report)
    to_servers = StowSender(settings.spool, servers)
    return Router(dict.fromkeys(nodes, to_nodes) | dict.fromkeys(servers, to_servers))


def name_destinations(settings: Settings) -> dict[str, RemotePeer]:
    """Return who stands behind the name of each destination."""
    return {name: _describe_peer(one) for name, one in settings.destinations.items()}


def _describe_peer(one: DestinationSettings | WebDestinationSettings) -> RemotePeer:
    if isinstance(one, WebDestinationSettings):
        return RemotePeer(address=one.url)
    return RemotePeer(ae_title=one.ae_title, address=one.host)


def build_archive(settings: Settings, name: str) -> ObservedArchive:
    """Return the archive that the site file calls ``name``; nobody observes it yet.

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
        archive: Archive = DimseArchive(peer, Method(one.retrieve), one.move_to or settings.ae_title)
    else:
        access = (one.user, _read_password(f"archive {name}", one)) if one.user else None
        archive = WebArchive(name, one.url, build_tls(one.tls), access)
    return ObservedArchive(archive, _describe_peer(one))


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
        raise _translate_unusable(problem, tls) from None
    _restrict(context)
    context.check_hostname = tls.check_host
    return context


def build_listener_tls(tls: ListenerTlsSettings) -> ssl.SSLContext:
    """Return how the listener secures connections: as `build_tls`, and with a certificate of those who send.

    Raises:
        SettingsInvalid: a file is missing, or holds no certificate or not the right key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.certificate, tls.key, password="")
        if tls.ca:
            context.load_verify_locations(tls.ca)
            context.verify_mode = ssl.CERT_REQUIRED if tls.require_certificate else ssl.CERT_OPTIONAL
    except OSError as problem:
        raise _translate_unusable(problem, tls) from None
    _restrict(context)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def _restrict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)


def _translate_unusable(problem: OSError, tls: TlsSettings | ListenerTlsSettings) -> SettingsInvalid:
    files = ", ".join(str(path) for path in (tls.ca, tls.certificate, tls.key) if path)
    return SettingsInvalid(
        f"TLS cannot be set up from {files}: {getattr(problem, 'reason', '') or problem.strerror}.",
        remedy="Name PEM files that this process may read, and a key without passphrase that fits its certificate.",
    )


def _read_password(whose: str, server: WebDestinationSettings) -> str:
    if server.password_file is None:
        return server.password.get_secret_value()
    try:
        return server.password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsInvalid(
            f"The password of {whose} cannot be read from {server.password_file}.",
            remedy="Let this process read that file.",
        ) from problem


def check_secrets(settings: Settings) -> int:
    """Check that no other user of this host can read a key or a password, or change a certificate.

    Returns how many files of keys and passwords there are.

    Raises:
        SettingsInvalid: one can be read or changed.
    """
    files = list(settings.list_secret_files())
    refuse_exposed(files, "The key or password in")
    refuse_changeable(settings.list_certificate_files(), "The certificate in")
    return len(files)


def build_listener(settings: Settings) -> Listener:
    """Return the listener of the site, not yet started. It needs the spool and nothing else.

    Raises:
        SettingsInvalid: anybody could send, a certificate or a key cannot be used, or others can read the spool or a
            key.
    """
    settings.check_reach()
    check_secrets(settings)
    entrance = build_entrance(settings)
    return Listener(settings.ae_title, settings.host, settings.port, open_spool(settings), entrance)


def build_entrance(settings: Settings) -> Entrance:
    """Return who may come in to the listener of the site.

    Raises:
        SettingsInvalid: a certificate or a key cannot be used.
    """
    peers = tuple(AllowedPeer(one.ae_title, tuple(map(parse_network, one.networks))) for one in settings.peers.values())
    allowed = AllowList(peers, settings.ae_title if settings.require_called_ae else "")
    limits = ListenerLimits(settings.max_associations, settings.max_associations_per_address)
    tls = settings.tls
    if tls is None:
        return Entrance(allowed, limits)
    files = [path for path in (tls.certificate, tls.key, tls.ca) if path]
    return Entrance(allowed, limits, FreshContext(lambda: build_listener_tls(tls), files))


def build_watcher(settings: Settings, role: str) -> Watcher:
    """Return what keeps the audit trail and the metrics of a process that does the work of ``role``.

    Raises:
        SettingsInvalid: the key of the trail cannot be read, others can read the trail, or the spool cannot be used.
    """
    audit, key = settings.audit, AuditKey(settings.audit.read_key())
    # The spool first, where the trail lies in it: its folder must be closed to others from the beginning.
    folder = audit.folder or open_spool(settings).root / "audit"
    refuse_exposed([folder], "The audit trail")
    trail = AuditTrail(folder, role, settings.ae_title, key.of_seals, audit.max_mb << 20)
    own = RemotePeer(ae_title=settings.ae_title, address=socket.gethostname())
    return Watcher(role, own, trail, Naming(audit.patients), key, _describe_configuration(settings))


def _describe_configuration(settings: Settings) -> dict[str, str]:
    """Return what tells one configuration from another; the secrets in it are stars."""
    digest = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()
    folder = settings.pipelines or find_shared("pipelines")
    facts = {"version": __version__, "site SHA-256": digest}
    for path in sorted(folder.glob("*.y*ml")):
        facts[f"{path.name} SHA-256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return facts


def build_sweeper(node: Node) -> Sweeper:
    """Return the sweeper of the site."""
    settle = node.settings.settle
    times = SettleTimes(settle.idle_seconds, settle.slow_seconds, settle.gap_seconds)
    return Sweeper(
        node.ledger,
        node.spool,
        read_header,
        node.prepared,
        node.pipelines,
        times,
        Silence(node.settings.work.lease_seconds),
    )


def build_housekeeper(settings: Settings, pipelines: Mapping[str, Pipeline], holdings: Holdings) -> Housekeeper:
    """Return what deletes by age as the site wants it. No series goes while a pipeline may still find it a partner."""
    asked = settings.retention
    days = max((pipeline.pairing.window_days for pipeline in pipelines.values()), default=0)
    limits = RetentionLimits(
        delivered=timedelta(days=asked.delivered_days),
        unpaired=timedelta(days=asked.unpaired_days),
        failed=timedelta(days=asked.failed_days),
        window=timedelta(days=days + 1),
    )
    trash, memory = TrashFolder(settings.spool), ClockFile(settings.spool)
    return Housekeeper(holdings, trash, memory, limits if asked.enabled else None)


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
