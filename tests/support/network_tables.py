"""The tables of the conformance statement about the network: contexts, statuses, limits, requests, settings."""

import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pydantic import BaseModel, SecretStr
from pydicom import Dataset
from pydicom.uid import UID

import fusionnode
from fusionnode.capture.build import build_captures
from fusionnode.capture.encode import choose_syntax
from fusionnode.delivery.destination import Destination
from fusionnode.delivery.offers import Parcel, list_contexts
from fusionnode.delivery.sender import REPORT_SECONDS, AssociationSender
from fusionnode.delivery.stow import StowSender, WebDestination
from fusionnode.dimse.node import Patience
from fusionnode.dimse.sockets import PDU_LIMIT_BYTES
from fusionnode.domain.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from fusionnode.errors import FusionNodeError
from fusionnode.flow.ports import Delivery
from fusionnode.intake.contexts import STORAGE_CLASSES, TRANSFER_SYNTAXES, build_contexts
from fusionnode.intake.limits import ListenerLimits
from fusionnode.intake.statuses import Status
from fusionnode.pipeline.schema import Compression
from fusionnode.retrieval.association import PATIENCE, Peer
from fusionnode.retrieval.dicomweb import WebArchive
from fusionnode.retrieval.dimse import DimseArchive, Method
from fusionnode.retrieval.findings import FoundInstance, FoundSeries
from fusionnode.retrieval.keys import NOBODY, list_study_keys, make_instance_keys, make_series_keys
from fusionnode.retrieval.wishes import Wish, read_range
from fusionnode.settings import (
    ArchiveSettings,
    DestinationSettings,
    ListenerTlsSettings,
    PeerSettings,
    Settings,
    TlsSettings,
    WebArchiveSettings,
    WebDestinationSettings,
    WorkSettings,
)
from fusionnode.wiring import build_tls
from tests.support.captures import make_request
from tests.support.datasets import Layout, make_mr_series
from tests.support.files import write_series
from tests.support.pacs import StoragePeer
from tests.support.proposals import Proposal, WebRequest, noting_associations, noting_requests
from tests.support.written_attributes import KINDS, find_class

Rows = Iterator[Sequence[str]]

_FIND, _MOVE, _GET = (UID(f"1.2.840.10008.5.1.4.1.2.2.{number}") for number in (1, 2, 3))
_PLACES = {"2.25.101": "study", "2.25.102": "series", "2.25.103": "instance", NOBODY["StudyInstanceUID"]: "nobody"}
_ASKED = ("Verification", "storage commitment", "query", "C-MOVE", "C-GET", "Verification of an archive")
_SERIES = FoundSeries("2.25.101", "2.25.102", "MR")
_PROBED = (0x0000, 0x0001, 0x0110, 0x0117, 0x0122, 0x0124, 0x0210, 0x0211, 0xA700, 0xA900, 0xB000, 0xB006, 0xB007)
_PROBED += (0xC000, 0xFE00)
_SAID_WHEN = {
    Status.SUCCESS: "the instance is durable: written, synced, renamed; a C-ECHO or a commitment report likewise",
    Status.PROCESSING_FAILURE: "something unforeseen went wrong; nothing of the instance stays",
    Status.INVALID_ARGUMENT: "N-EVENT-REPORT only: the report is malformed, or lacks its transaction or an instance",
    Status.RESOURCE_LIMITATION: "N-EVENT-REPORT only: hardly any space is left in the spool",
    Status.OUT_OF_RESOURCES: "less than `spool_reserve_mb` is free in the spool, the disk is full, or a quota is met",
    Status.DATASET_DOES_NOT_MATCH: "the data set is of another SOP class or instance than the request says",
    Status.CANNOT_UNDERSTAND: "a UID of the request is none, or the data set is missing or cannot be read",
}
_AGAIN = {False: "not stored: sent again later", True: "not stored: sent `work.max_refusals` times, then given up"}
_WAITING = {
    (ListenerLimits, "max_associations"): ("associations at a time (`max_associations`)", ""),
    (ListenerLimits, "max_associations_per_address"): ("... of one address (`max_associations_per_address`)", ""),
    (ListenerLimits, "max_half_open"): ("connections without an association request at a time", ""),
    (ListenerLimits, "max_half_open_per_address"): ("... of one address", ""),
    (ListenerLimits, "max_pdu_bytes"): ("largest PDU asked for", "bytes"),
    (ListenerLimits, "acse_seconds"): ("for a TLS handshake, and for a whole association request", "s"),
    (ListenerLimits, "network_seconds"): ("without a byte, and for one whole PDU", "s"),
    (ListenerLimits, "least_bytes_per_second"): ("least of a message that has begun, in any 90 s", "bytes/s"),
    (Patience, "connection_seconds"): ("for a connection, and for an association answer", "s"),
    (Patience, "answer_seconds"): ("for one DIMSE answer, or one HTTP answer", "s"),
    (Patience, "network_seconds"): ("without a byte", "s"),
}


def _list_services() -> Rows:
    """Every SOP class of the network, and in which roles."""
    yield "SOP class", "UID", "SCU", "SCP"
    received = {*map(str, STORAGE_CLASSES)}
    made = {*map(str, _list_created())}
    fetched = {sop_class for one in _fetch_proposals().values() for sop_class in one.roles}
    yield UID("1.2.840.10008.1.1").name, "`1.2.840.10008.1.1`", "yes", "yes"
    yield UID("1.2.840.10008.1.20.1").name, "`1.2.840.10008.1.20.1`", "yes", "no"
    for model in (_FIND, _MOVE, _GET):
        yield model.name, f"`{model}`", "yes", "no"
    for one in sorted({*received, *made, *fetched}, key=lambda one: UID(one).name):
        roles = ["yes" if one in received else "no"]
        roles[0] += ", also for C-GET" if one in fetched else ""
        yield UID(one).name, f"`{one}`", "yes" if one in made else "no", roles[0]


def _list_identities() -> Rows:
    yield "where", "Implementation Class UID", "Implementation Version Name"
    yield "association answers of the listener", f"`{IMPLEMENTATION_CLASS_UID}`", f"`{IMPLEMENTATION_VERSION_NAME}`"
    asked = _scu_proposals()["Verification"]
    yield "association requests", f"`{asked.implementation_class_uid}`", f"`{asked.implementation_version}`"
    meta = _make_fused().file_meta
    yield (
        "file meta information of what is made",
        f"`{meta.ImplementationClassUID}`",
        f"`{meta.ImplementationVersionName}`",
    )


def _list_received_contexts() -> Rows:
    yield "SOP classes", "transfer syntaxes", "roles of the caller"
    for one in build_contexts():
        if str(one.abstract_syntax) not in {*map(str, STORAGE_CLASSES)}:
            caller = "SCP" if one.scp_role else "SCU"
            yield UID(one.abstract_syntax).name, _name_all(one.transfer_syntax), caller
    yield f"the {len(STORAGE_CLASSES)} storage classes above", f"the {len(TRANSFER_SYNTAXES)} below", "SCU"


def _list_received_syntaxes() -> Rows:
    yield "preference", "transfer syntax", "UID"
    for number, syntax in enumerate(TRANSFER_SYNTAXES, start=1):
        yield str(number), syntax.name, f"`{syntax}`"


def _list_statuses() -> Rows:
    yield "status", "name", "when"
    for status in Status:
        yield f"{status:04X}", status.name.replace("_", " ").lower(), _SAID_WHEN[status]


def _list_waits() -> Rows:
    yield "who", "what", "value"
    for who, limits in {"listener": ListenerLimits(), "delivery": Patience(), "retrieval": PATIENCE}.items():
        yield who, "largest PDU taken at all", f"{PDU_LIMIT_BYTES} bytes"
        for one in fields(limits):
            what, unit = _WAITING[type(limits), one.name]
            yield who, what, f"{_spell_value(getattr(limits, one.name))} {unit}".strip()
    yield "delivery", "for a commitment report over the asking association", f"{_spell_value(REPORT_SECONDS)} s"


def _list_sent_contexts() -> Rows:
    """What is offered for each class that is made, under every compression that a pipeline may ask for."""
    yield "`output.compression`", "SOP classes", "transfer syntaxes offered, one context each, in order of preference"
    for compression in Compression:
        offered: dict[str, list[str]] = {}
        for sop_class, picture in _list_created().items():
            parcel = Parcel(
                Delivery("", "", sop_class, "", ""), Path(), sop_class, str(choose_syntax(picture, compression))
            )
            syntaxes = _name_all(str(one.transfer_syntax[0]) for one in list_contexts([parcel]))
            offered.setdefault(syntaxes, []).append(sop_class)
        for syntaxes, classes in offered.items():
            yield str(compression), _name_all(classes), syntaxes


def _list_answers() -> Rows:
    """What becomes of an instance by the status it is answered with: asked of a sender that really sends."""
    yield "C-STORE status", "the instance counts as"
    datasets = make_mr_series(Layout(len(_PROBED), 4, 4))
    answers = {str(ds.SOPInstanceUID): status for ds, status in zip(datasets, _PROBED, strict=True)}
    with TemporaryDirectory() as folder, StoragePeer(answers=answers) as peer:
        paths = write_series(Path(folder), datasets)
        owed = [
            Delivery("job", "pacs", str(ds.SOPClassUID), str(ds.SOPInstanceUID), path.name)
            for ds, path in zip(datasets, paths, strict=True)
        ]
        sender = AssociationSender(Path(folder), {"pacs": Destination("pacs", "TESTPACS", "127.0.0.1", peer.port, "X")})
        for outcome in sender.send("pacs", owed):
            yield outcome.status, "stored" if outcome.stored else _AGAIN[outcome.final]


def _list_asked_contexts() -> Rows:
    yield "service", "transfer syntaxes, in one context", "largest PDU asked for", "other negotiation"
    for name, one in _scu_proposals().items():
        sop_class, syntaxes = one.contexts[0]
        yield (
            f"{name}: {UID(sop_class).name}",
            _name_all(syntaxes),
            f"{one.max_pdu_bytes} bytes",
            _list_negotiation(one),
        )


def _list_negotiation(one: Proposal) -> str:
    roles = ["role of an SCP for storage classes"] if one.roles else []
    return ", ".join([*roles, *one.extended]) or "none"


def _list_fetched_classes() -> Rows:
    yield "modality of the series", "storage classes offered with the role of an SCP", "contexts"
    for modality, one in _fetch_proposals().items():
        yield modality or "not told", _name_all(one.roles), str(len(one.contexts))


def _list_fetched_syntaxes() -> Rows:
    yield "transfer syntax", "UID"
    offered = _fetch_proposals()["MR"].contexts[1:]
    for syntax in dict.fromkeys(syntax for _, syntaxes in offered for syntax in syntaxes):
        yield UID(syntax).name, f"`{syntax}`"


def _list_keys() -> Rows:
    yield "level", "matched", "returned"
    wish = Wish("1", "", "1.2", "1", read_range("20240101-20240131"), ("MR",))
    levels = {"STUDY": next(list_study_keys(wish)), "SERIES": make_series_keys("1.2")}
    for level, keys in {**levels, "IMAGE": make_instance_keys(_SERIES)}.items():
        matched = [keyword for keyword, value in keys.items() if value]
        yield level, ", ".join(matched), ", ".join(keyword for keyword in keys if keyword not in matched)


def _list_web_requests() -> Rows:
    yield "service", "request", "query", "Accept", "Content-Type"
    for name, one in _note_web_requests():
        yield (
            name,
            f"`{one.method} {one.path}`",
            _code(_sort_query(one.query)),
            _code(one.accept),
            _code(one.content_type),
        )


def _list_settings() -> Rows:
    yield "setting", "default"
    named = ("ae_title", "host", "port", "max_associations", "max_associations_per_address", "require_called_ae")
    for key in (*named, "spool_reserve_mb", "time_zone"):
        yield f"`{key}`", _spell_value(Settings.model_fields[key].default)
    tables: dict[str, type[BaseModel]] = {
        "`peers.NAME.{}`": PeerSettings,
        "`tls.{}` of the listener": ListenerTlsSettings,
        "`destinations.NAME.{}` of C-STORE": DestinationSettings,
        "`destinations.NAME.{}` of STOW-RS": WebDestinationSettings,
        "`archives.NAME.{}` of C-FIND": ArchiveSettings,
        "`archives.NAME.{}` of QIDO-RS": WebArchiveSettings,
        "`tls.{}` of a destination or an archive": TlsSettings,
        "`work.{}`": WorkSettings,
    }
    for table, model in tables.items():
        for key, one in model.model_fields.items():
            if one.annotation != Literal[False]:  # it only shuts off what a destination has
                yield table.format(key), "required" if one.is_required() else _spell_value(one.default)


def _list_tls() -> Rows:
    yield "what", "value"
    context = build_tls(TlsSettings())
    yield "lowest version", context.minimum_version.name.replace("_", ".").replace("TLSv", "TLS ")
    suites = sorted(one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3")
    yield "suites of TLS 1.2", ", ".join(f"`{suite}`" for suite in suites)
    yield "peer's certificate", "required and verified" if context.verify_mode is ssl.CERT_REQUIRED else "not verified"
    yield "host name in it", "checked, unless `check_host` is false" if context.check_hostname else "not checked"


@cache
def _make_fused() -> Dataset:
    return build_captures(make_request(software_version=fusionnode.__version__))[0]


@cache
def _list_created() -> dict[str, Dataset]:
    """What ``choose_syntax`` needs to know of each class that is made."""
    created = {}
    for kind in KINDS:
        picture = Dataset()
        if kind not in {"registration", "quality sheet as document", "blending presentation state"}:
            picture.Rows = picture.Columns = 256
        created.setdefault(str(find_class(kind)), picture)
    return created


@cache
def _scu_proposals() -> dict[str, Proposal]:
    """What the node proposes as it asks for each service."""
    with noting_associations() as (port, noted):
        peers = {"pacs": Destination("pacs", "PACS", "127.0.0.1", port, Settings().ae_title, commits=True)}
        sender = AssociationSender(Path(), peers)
        get, move = (_make_archive(port, method) for method in Method)
        inbox: Any = None
        for ask in (
            lambda: sender.echo("pacs"),
            lambda: sender.request_commitment("pacs", "2.25.1", []),
            lambda: get.find_studies(Wish()),
            lambda: move.fetch(_SERIES, [], inbox, whole=True),
            lambda: get.fetch(_SERIES, [], inbox, whole=True),
            get.probe,
        ):
            with suppress(FusionNodeError):
                ask()
    return dict(zip(_ASKED, noted, strict=True))


@cache
def _fetch_proposals() -> dict[str, Proposal]:
    """What is offered with a C-GET, by the modality of the series."""
    modalities = ("MR", "PT", "NM", "")
    inbox: Any = None
    with noting_associations() as (port, noted):
        for modality in modalities:
            series = FoundSeries("2.25.101", "2.25.102", modality)
            with suppress(FusionNodeError):
                _make_archive(port, Method.GET).fetch(series, [], inbox, whole=True)
    return dict(zip(modalities, noted, strict=True))


def _make_archive(port: int, method: Method) -> DimseArchive:
    title = Settings().ae_title
    return DimseArchive(Peer("pacs", "PACS", "127.0.0.1", port, title), method, title)


def _note_web_requests() -> list[tuple[str, WebRequest]]:
    instance = FoundInstance("2.25.103")
    with TemporaryDirectory() as folder, noting_requests(_PLACES) as (url, noted):
        archive = WebArchive("web", url)
        sender = StowSender(Path(folder), {"web": WebDestination("web", url)})
        [path] = write_series(Path(folder), make_mr_series(Layout(1, 4, 4)))
        owed = Delivery("job", "web", "", path.stem, path.name)
        inbox: Any = None
        wish = Wish("ID", "", "2.25.101", "NUMBER", read_range("20240101-20240131"), ("MR",))
        asked: dict[str, Callable[[], object]] = {
            "QIDO-RS, studies": lambda: archive.find_studies(wish),
            "QIDO-RS, series": lambda: archive.find_series("2.25.101"),
            "QIDO-RS, instances": lambda: archive.find_instances(_SERIES),
            "WADO-RS, a series": lambda: archive.fetch(_SERIES, [], inbox, whole=True),
            "WADO-RS, an instance": lambda: archive.fetch(_SERIES, [instance], inbox, whole=False),
            "STOW-RS": lambda: list(sender.send("web", [owed])),
            "`fusionnode doctor`, a destination": lambda: sender.echo("web"),
            "`fusionnode doctor`, an archive": archive.probe,
        }
        for ask in asked.values():
            with suppress(FusionNodeError):
                ask()
    return list(zip(asked, noted, strict=True))


def _name_all(uids: Iterable[str]) -> str:
    return ", ".join(UID(str(one)).name for one in uids)


def _sort_query(query: str) -> str:
    # The client asks for the fields of an answer in no particular order.
    return "&".join(sorted(query.split("&")))


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _spell_value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value in ((), "", None) or isinstance(value, SecretStr):
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


NETWORK_TABLES: dict[str, Callable[[], Rows]] = {
    "services": _list_services,
    "implementation": _list_identities,
    "contexts of the listener": _list_received_contexts,
    "transfer syntaxes of the listener": _list_received_syntaxes,
    "statuses of the listener": _list_statuses,
    "limits": _list_waits,
    "contexts of the sender": _list_sent_contexts,
    "answers to the sender": _list_answers,
    "contexts of other requests": _list_asked_contexts,
    "classes fetched": _list_fetched_classes,
    "transfer syntaxes fetched": _list_fetched_syntaxes,
    "query keys": _list_keys,
    "web requests": _list_web_requests,
    "settings": _list_settings,
    "TLS": _list_tls,
}
