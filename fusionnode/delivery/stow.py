"""Carries instances to a DICOMweb server by STOW-RS (PS3.18 section 10.5) and accounts for each of them (edge)."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext
from typing import Any
from xml.etree.ElementTree import ParseError

from dicomweb_client import DICOMwebClient
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from requests import RequestException, Response, Session

from fusionnode.delivery.directory import find_destination
from fusionnode.delivery.offers import Parcel
from fusionnode.delivery.parcels import open_parcels
from fusionnode.delivery.statuses import FILE_MISSING, FILE_UNREADABLE, NOT_ACCOUNTED_FOR, judge_status
from fusionnode.delivery.transcode import read_plain
from fusionnode.dicomweb import name_trouble, open_session
from fusionnode.dimse.node import Patience
from fusionnode.errors import CaptureInvalid, CommitmentRefused, DestinationUnreachable
from fusionnode.flow.ports import Delivery, DeliveryOutcome
from fusionnode.malformed import MALFORMED, NOT_CODABLE

logger = logging.getLogger(__name__)

_PATIENCE = Patience()
_REQUEST_BYTES = 32 << 20
"""About as much as one request carries; a server keeps it in memory, and so do we."""

_UNSUPPORTED_SYNTAX = "C122"
"""Failure Reason: Referenced Transfer Syntax not supported (PS3.18 table I.2-2)."""

_NOT_ALLOWED = 405
_NO_ANSWER_AT_ALL = (401, 403, 404, _NOT_ALLOWED, 406, 407, 408, 429)
"""Client errors that speak of us, or of the URL, and not of the instances; so do all server errors."""


@dataclass(frozen=True)
class WebDestination:
    """A DICOMweb server under the name the site file gives it.

    Attributes:
        url: below it lies ``/studies``.
        tls: whom to trust, for https.
        user, password: for HTTP Basic authentication; empty for none. Never in a log line or an error.
    """

    name: str
    url: str
    tls: SSLContext | None = None
    user: str = ""
    password: str = field(default="", repr=False)


class StowSender:
    """Sends to DICOMweb servers; fulfils `fusionnode.flow.ports.Sender`.

    Args:
        spool_root: what the paths of deliveries are relative to.
        destinations: by the name that deliveries use.
    """

    def __init__(
        self, spool_root: Path, destinations: Mapping[str, WebDestination], patience: Patience = _PATIENCE
    ) -> None:
        self._spool_root = spool_root
        self._destinations = destinations
        self._patience = patience

    def send(self, destination: str, deliveries: Sequence[Delivery]) -> Iterator[DeliveryOutcome]:
        """Store the instances, some megabytes per request, and yield what became of each by the server's own account.

        An instance that the answer does not name as stored is not stored. One that spoils its request costs only
        itself: the others are sent again without it.

        Raises:
            SettingsInvalid: the site file names no such destination.
            DestinationUnreachable: no answer, or one that says nothing of the instances; what was yielded stands.
        """
        return self._send_to(find_destination(self._destinations, destination), deliveries)

    def offers_commitment(self, destination: str) -> bool:
        """Return False: DICOMweb has no storage commitment that is in wide use."""
        return False

    def request_commitment(self, destination: str, transaction_uid: str, deliveries: Sequence[Delivery]) -> None:
        """Refuse: see `offers_commitment`.

        Raises:
            CommitmentRefused: always.
        """
        peer = find_destination(self._destinations, destination)
        raise CommitmentRefused(
            f"Storage commitment cannot be asked of {peer.name} over DICOMweb.",
            remedy="Set `commitment` for DICOM nodes only.",
            destination=peer.name,
        )

    def echo(self, destination: str) -> str:
        """Ask for one study and return the HTTP status; a server that only stores answers that it may not be asked.

        Raises:
            SettingsInvalid: the site file names no such destination.
            DestinationUnreachable: it does not answer, or does not let us in.
        """
        peer = find_destination(self._destinations, destination)
        try:
            with _open_session(peer) as session:
                answer = session.get(f"{peer.url}/studies", params={"limit": "1"}, timeout=self._timeout)
        except RequestException as problem:
            raise _name_unreachable(peer, _explain(problem)) from None
        if answer.status_code != _NOT_ALLOWED and _says_nothing(answer.status_code):
            raise _name_unreachable(peer, f"HTTP {answer.status_code}")
        return f"HTTP {answer.status_code}"

    @property
    def _timeout(self) -> tuple[float, float]:
        return self._patience.connection_seconds, self._patience.answer_seconds

    def _send_to(self, peer: WebDestination, deliveries: Sequence[Delivery]) -> Iterator[DeliveryOutcome]:
        parcels, unusable = open_parcels(self._spool_root, deliveries)
        yield from unusable
        with _open_session(peer) as session:
            for batch in _split(parcels):
                yield from self._store(peer, session, batch)

    def _store(self, peer: WebDestination, session: Session, batch: list[Parcel]) -> Iterator[DeliveryOutcome]:
        datasets, account = _read_parcels(batch)
        answered = self._post(peer, session, datasets) if datasets else {}
        if not answered and len(datasets) > 1:
            for parcel in batch:
                yield from self._store(peer, session, [parcel])
            return
        account |= answered
        for parcel in batch:
            status = account.get(parcel.delivery.sop_instance_uid, NOT_ACCOUNTED_FOR)
            if status == _UNSUPPORTED_SYNTAX:
                status = self._store_plain(peer, session, parcel)
            if status != "0000":
                logger.warning("%s: %s answered %s", parcel.delivery.sop_instance_uid, peer.name, status)
            yield judge_status(parcel.delivery, status)

    def _store_plain(self, peer: WebDestination, session: Session, parcel: Parcel) -> str:
        try:
            plain = read_plain(parcel.path)
        except CaptureInvalid:
            return _UNSUPPORTED_SYNTAX
        logger.info("%s does not take %s; sent decoded", peer.name, parcel.delivery.sop_instance_uid)
        return self._post(peer, session, [plain]).get(parcel.delivery.sop_instance_uid, NOT_ACCOUNTED_FOR)

    def _post(self, peer: WebDestination, session: Session, datasets: list[Dataset]) -> dict[str, str]:
        """Return the status by SOP Instance UID of every instance that the answer speaks of."""
        seen: list[int] = []

        def soften(answer: Response, *_: Any, **__: Any) -> None:
            seen.append(answer.status_code)
            # The client raises at 409 (nothing was stored) without reading the account of why, and reads no account
            # whose media type has parameters.
            if answer.status_code == 409:
                answer.status_code = 202
            answer.headers["Content-Type"] = answer.headers.get("Content-Type", "").partition(";")[0].strip()

        # One body with its length told: not every server takes chunks.
        client = DICOMwebClient(
            peer.url, session, callback=soften, chunk_size=4 * _REQUEST_BYTES, timeout=self._timeout,
            headers={"Accept": "application/dicom+json"},
        )  # fmt: skip
        client.set_http_retry_params(retry=False)
        try:
            return _read_account(client.store_instances(datasets))
        except RequestException as problem:
            if not seen or _says_nothing(seen[-1]):
                raise _name_unreachable(peer, f"HTTP {seen[-1]}" if seen else _explain(problem)) from None
        except (ParseError, *NOT_CODABLE) as problem:
            what = "the answer to a store request cannot be read" if seen else "a store request cannot be written"
            logger.warning("%s: %s (%s)", peer.name, what, type(problem).__name__)
        return {}


def _open_session(peer: WebDestination) -> Session:
    return open_session(peer.tls, (peer.user, peer.password) if peer.user else None)


def _read_parcels(batch: Sequence[Parcel]) -> tuple[list[Dataset], dict[str, str]]:
    """Return what can be sent, and the status by SOP Instance UID of what vanished or was spoilt meanwhile."""
    datasets: list[Dataset] = []
    trouble: dict[str, str] = {}
    for parcel in batch:
        try:
            datasets.append(dcmread(parcel.path))
        except FileNotFoundError:
            trouble[parcel.delivery.sop_instance_uid] = FILE_MISSING
        except (InvalidDicomError, *MALFORMED):
            trouble[parcel.delivery.sop_instance_uid] = FILE_UNREADABLE
    return datasets, trouble


def _split(parcels: Sequence[Parcel]) -> Iterator[list[Parcel]]:
    batch: list[Parcel] = []
    size = 0
    for parcel in parcels:
        more = parcel.path.stat().st_size if parcel.path.exists() else 0
        if batch and size + more > _REQUEST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(parcel)
        size += more
    if batch:
        yield batch


def _read_account(answer: Dataset) -> dict[str, str]:
    """Read a Store Instances Response (PS3.18 section I.2): a status like C-STORE's by SOP Instance UID."""
    stored = {
        str(item.ReferencedSOPInstanceUID): f"{int(item.get('WarningReason') or 0):04X}"
        for item in answer.get("ReferencedSOPSequence") or ()
    }
    failed = {
        str(item.ReferencedSOPInstanceUID): f"{int(item.get('FailureReason') or 0x0110):04X}"
        for item in answer.get("FailedSOPSequence") or ()
    }
    return stored | failed


def _says_nothing(http_status: int) -> bool:
    return http_status >= 500 or http_status in _NO_ANSWER_AT_ALL or 300 <= http_status < 400


def _explain(problem: RequestException) -> str:
    return f"no answer ({name_trouble(problem)})"


def _name_unreachable(peer: WebDestination, why: str) -> DestinationUnreachable:
    return DestinationUnreachable(
        f"Destination {peer.name} ({peer.url}): {why}.",
        remedy="Check its address and credentials with `fusionnode doctor`; it will be tried again.",
        destination=peer.name,
        why=why,
    )
