"""Carries instances to a PACS by C-STORE and tells exactly what became of each of them (edge)."""

import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID
from pynetdicom import _config
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.events import EVT_CONN_OPEN, Event, EventHandlerType
from pynetdicom.presentation import PresentationContext, build_context

from fusionnode.delivery.offers import Parcel, choose_syntax, group_parcels, list_contexts
from fusionnode.errors import DestinationUnreachable, SettingsInvalid
from fusionnode.flow.ports import Delivery, DeliveryOutcome

logger = logging.getLogger(__name__)

FILE_MISSING = "file-missing"
FILE_MISTAKEN = "file-holds-another-instance"
FILE_UNREADABLE = "file-unreadable"
NO_PRESENTATION_CONTEXT = "no-presentation-context"
NOT_ENCODABLE = "not-encodable"

_VERIFICATION = UID("1.2.840.10008.1.1")


@dataclass(frozen=True)
class Destination:
    """A DICOM node that takes C-STORE, under the name the site file gives it."""

    name: str
    ae_title: str
    host: str
    port: int


@dataclass(frozen=True)
class Patience:
    """How long to wait for a destination, in seconds: for the connection, for one answer, for any sign of life."""

    connection_seconds: float = 15.0
    answer_seconds: float = 60.0
    network_seconds: float = 90.0


class AssociationSender:
    """Sends over one association at a time; fulfils `fusionnode.flow.ports.Sender`.

    Args:
        spool_root: what the paths of deliveries are relative to.
        destinations: by the name that deliveries use.
        ae_title: what this node calls itself.
    """

    def __init__(
        self,
        spool_root: Path,
        destinations: Mapping[str, Destination],
        ae_title: str,
        patience: Patience = Patience(),
    ) -> None:
        self._spool_root = spool_root
        self._destinations = destinations
        self._ae_title = ae_title
        self._patience = patience
        # Files then go out byte for byte as they are stored, without being decoded.
        _config.STORE_SEND_CHUNKED_DATASET = True

    def send(self, destination: str, deliveries: Sequence[Delivery]) -> Iterator[DeliveryOutcome]:
        """Send each instance over one association and yield what became of it.

        Success (0000) and the warnings (Bxxx, PS3.4 B.2.3) mean that the destination stored the instance. A
        refusal, a missing file or a kind of object the destination does not take costs that instance only.

        Raises:
            SettingsInvalid: the site file names no such destination.
            DestinationUnreachable: no association could be had, or it broke; what was yielded before stands, and
                what was not yielded is unknown and must be sent again.
        """
        return self._send_to(self._find(destination), deliveries)

    def echo(self, destination: str) -> str:
        """Ask whether the destination answers; returns the status of its C-ECHO, ``0000``.

        Raises:
            SettingsInvalid: the site file names no such destination.
            DestinationUnreachable: it does not answer, or not with success.
        """
        peer = self._find(destination)
        with self._associate(peer, [build_context(_VERIFICATION)]) as assoc:
            answer = assoc.send_c_echo() if assoc.is_established else None
            status = f"{answer.Status:04X}" if answer is not None and "Status" in answer else "no answer"
        if status != "0000":
            raise _unreachable(peer, f"C-ECHO: {status}")
        return status

    def _find(self, destination: str) -> Destination:
        try:
            return self._destinations[destination]
        except KeyError:
            raise SettingsInvalid(
                f"There is no destination {destination!r}.",
                remedy="Add it to `destinations` in the site file, or take it out of the pipeline.",
                destination=destination,
                known=sorted(self._destinations),
            ) from None

    def _send_to(self, peer: Destination, deliveries: Sequence[Delivery]) -> Iterator[DeliveryOutcome]:
        opened = [_open_parcel(self._spool_root, delivery) for delivery in deliveries]
        yield from (found for found in opened if isinstance(found, DeliveryOutcome))
        for group in group_parcels(found for found in opened if isinstance(found, Parcel)):
            with self._associate(peer, list_contexts(group)) as assoc:
                for number, parcel in enumerate(group, start=1):
                    yield _store(assoc, peer, parcel, message_id=number % 0xFFFF + 1)

    @contextmanager
    def _associate(self, peer: Destination, contexts: list[PresentationContext]) -> Iterator[Association]:
        """An association, released at the end. When the peer takes none of the contexts it is not established."""
        entity = ApplicationEntity(self._ae_title)
        entity.connection_timeout = entity.acse_timeout = self._patience.connection_seconds
        entity.dimse_timeout = self._patience.answer_seconds
        entity.network_timeout = self._patience.network_seconds
        handlers: list[EventHandlerType] = [(EVT_CONN_OPEN, _hasten)]
        assoc = entity.associate(peer.host, peer.port, contexts, peer.ae_title, evt_handlers=handlers)
        if not assoc.is_established and not assoc.rejected_contexts:
            raise _unreachable(peer, _explain_refusal(assoc))
        _keep_answers(assoc)
        try:
            yield assoc
        finally:
            if assoc.is_established:
                assoc.release()


def _open_parcel(root: Path, delivery: Delivery) -> Parcel | DeliveryOutcome:
    path = root / delivery.path
    try:
        meta = read_file_meta_info(path)
        if meta.MediaStorageSOPInstanceUID != delivery.sop_instance_uid:
            return DeliveryOutcome(delivery, stored=False, status=FILE_MISTAKEN)
        return Parcel(delivery, path, str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
    except FileNotFoundError:
        return DeliveryOutcome(delivery, stored=False, status=FILE_MISSING)
    except (InvalidDicomError, AttributeError, OSError):
        return DeliveryOutcome(delivery, stored=False, status=FILE_UNREADABLE)


def _hasten(event: Event) -> None:
    """Switch Nagle's algorithm off: with it every small instance waits 40 ms for the peer's acknowledgement."""
    provider = event.assoc.dul
    if provider.socket is not None and provider.socket.socket is not None:
        provider.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _keep_answers(assoc: Association) -> None:
    """Leave every answer to the caller that waits for it.

    The association's own loop looks for requests of the peer in the same queue and, under load, now and then takes an
    answer out of it and drops it; a storage peer never sends requests.
    """
    take = assoc.dimse.get_msg
    assoc.dimse.get_msg = lambda block=False: take(True) if block else (None, None)  # type: ignore[method-assign]


def _store(assoc: Association, peer: Destination, parcel: Parcel, message_id: int) -> DeliveryOutcome:
    """Send one instance and return what the peer answered."""
    syntax = choose_syntax(parcel, assoc.accepted_contexts)
    if not syntax:
        return DeliveryOutcome(parcel.delivery, stored=False, status=NO_PRESENTATION_CONTEXT)
    as_stored = syntax == parcel.transfer_syntax_uid
    try:
        answer = assoc.send_c_store(parcel.path if as_stored else dcmread(parcel.path), msg_id=message_id)
    except FileNotFoundError:
        # pynetdicom opens the file in the middle of the message, so this association cannot be used any further.
        assoc.abort()
        raise _unreachable(peer, "aborted, because a file vanished from the spool while it was sent") from None
    except ValueError:
        return DeliveryOutcome(parcel.delivery, stored=False, status=NOT_ENCODABLE)
    except RuntimeError:
        raise _unreachable(peer, "the association broke") from None
    if "Status" not in answer:
        assoc.abort()
        raise _unreachable(peer, "the association broke, or no answer came in time")
    return _judge(parcel.delivery, answer.Status)


def _judge(delivery: Delivery, status: int) -> DeliveryOutcome:
    word = f"{status:04X}"
    stored = word == "0000" or word.startswith("B")
    if word != "0000":
        logger.warning("%s: %s answered %s", delivery.sop_instance_uid, delivery.destination, word)
    return DeliveryOutcome(delivery, stored=stored, status=word)


def _explain_refusal(assoc: Association) -> str:
    answer = assoc.acceptor.primitive
    if assoc.is_rejected and answer is not None:
        return f"association rejected: {answer.reason_str}"
    return "aborted" if assoc.is_aborted and answer is not None else "no connection, or no answer"


def _unreachable(peer: Destination, why: str) -> DestinationUnreachable:
    return DestinationUnreachable(
        f"Destination {peer.name} ({peer.ae_title} at {peer.host}:{peer.port}): {why}.",
        remedy="Check its address and AE titles with `fusionnode doctor`; it will be tried again.",
        destination=peer.name,
        why=why,
    )
