"""An archive that speaks DIMSE: C-FIND, and C-GET or C-MOVE, in the Study Root model (PS3.4 annex C) (edge)."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from io import BytesIO
from typing import TypeVar, cast

from pydicom import Dataset, uid
from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import EVT_C_STORE, Event
from pynetdicom.presentation import PresentationContext, build_context, build_role

from fusionnode.dimse.node import Patience
from fusionnode.errors import Refused, SettingsInvalid, SpoolFull
from fusionnode.malformed import MALFORMED
from fusionnode.retrieval.archive import Inbox, Received, name_cut
from fusionnode.retrieval.association import PATIENCE, PENDING, Peer, Roles, associate, has_context, require_status
from fusionnode.retrieval.findings import (
    FoundInstance,
    FoundSeries,
    FoundStudy,
    fits,
    read_instance,
    read_series,
    read_study,
    unite_studies,
)
from fusionnode.retrieval.keys import (
    NOBODY,
    Keys,
    list_study_keys,
    make_identifier,
    make_instance_keys,
    make_series_keys,
)
from fusionnode.retrieval.wishes import Wish

logger = logging.getLogger(__name__)

_ECHO = UID("1.2.840.10008.1.1")
_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
_MOVE = UID("1.2.840.10008.5.1.4.1.2.2.2")
_GET = UID("1.2.840.10008.5.1.4.1.2.2.3")
_PLAIN = [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian]
_SYNTAXES = (
    *_PLAIN,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    *uid.JPEGTransferSyntaxes,
    *uid.JPEGLSTransferSyntaxes,
    *uid.JPEG2000TransferSyntaxes,
    *uid.RLETransferSyntaxes,
)
_CLASSES: dict[str, tuple[UID, ...]] = {
    "MR": (uid.MRImageStorage, uid.EnhancedMRImageStorage, uid.LegacyConvertedEnhancedMRImageStorage),
    "PT": (
        uid.PositronEmissionTomographyImageStorage,
        uid.EnhancedPETImageStorage,
        uid.LegacyConvertedEnhancedPETImageStorage,
    ),
    "NM": (uid.NuclearMedicineImageStorage,),
}
_MAX_CONTEXTS = 128
_UIDS_AT_ONCE = 200
_UNKNOWN_DESTINATION = 0xA801
_FAILURES = (0xA, 0xC)
"""How the statuses begin that end a retrieval as refused or failed (PS3.4 C.4.2.1.5 and C.4.3.1.4)."""

_ALL_FAILED = 0xA702
_CUT = 0xFE00
"""Nobody cancels here, so an archive that says so stopped at a limit of its own."""

Value = TypeVar("Value")


class Method(StrEnum):
    """How instances travel: over our association, or over one that the archive opens to our listener."""

    GET = "get"
    MOVE = "move"


@dataclass(frozen=True)
class DimseArchive:
    """Asks over one association per question; fulfils `fusionnode.retrieval.archive.Archive`.

    Attributes:
        move_to: for C-MOVE: the AE title under which the archive knows the listener that feeds the inbox.
    """

    peer: Peer
    method: Method = Method.GET
    move_to: str = ""
    patience: Patience = PATIENCE

    @property
    def name(self) -> str:
        """The archive's name in the site file."""
        return self.peer.name

    def probe(self) -> str:
        """Greet it by C-ECHO, ask for a study that nobody has, and return what it takes.

        Raises:
            ArchiveUnreachable: no association could be had, or it takes no query or no retrieval from this node.
        """
        seconds = self.patience.connection_seconds
        hasty = replace(self, patience=Patience(seconds, seconds, seconds))
        fetching = _MOVE if self.method is Method.MOVE else _GET
        contexts = [build_context(one, list(_PLAIN)) for one in (_ECHO, fetching)]
        with associate(self.peer, contexts, hasty.patience) as assoc:
            for sop_class, what in ((_ECHO, "C-ECHO"), (fetching, f"C-{self.method.upper()}")):
                if not has_context(assoc, sop_class):
                    raise self.peer.describe_trouble(f"it does not take {what}")
            code = require_status(self.peer, assoc.send_c_echo(), "C-ECHO")
        if code != 0:
            raise self.peer.describe_trouble(f"C-ECHO ended with status {code:04X}")
        hasty._find("STUDY", NOBODY, read_study)
        return f"C-ECHO and C-FIND, takes C-{self.method.upper()}"

    def find_studies(self, wish: Wish) -> list[FoundStudy]:
        """Return the studies that fit the wish, each once.

        Raises:
            ArchiveUnreachable: no association could be had, or the query ended with a failure.
        """
        found = [study for keys in list_study_keys(wish) for study in self._find("STUDY", keys, read_study)]
        return unite_studies(study for study in found if fits(wish, study))

    def find_series(self, study_instance_uid: str) -> list[FoundSeries]:
        """Return the series of a study; raises as `find_studies` does."""
        keys = make_series_keys(study_instance_uid)
        return list(dict.fromkeys(self._find("SERIES", keys, lambda one: read_series(one, study_instance_uid))))

    def find_instances(self, series: FoundSeries) -> list[FoundInstance]:
        """Return the instances of a series; raises as `find_studies` does."""
        uid_of_series = series.series_instance_uid
        # A list that was cut is found to be short, where the archive counts the instances.
        counted = series.instances is not None
        keys = make_instance_keys(series)
        found = self._find("IMAGE", keys, lambda one: read_instance(one, uid_of_series), may_be_cut=counted)
        return list({one.sop_instance_uid: one for one in found}.values())

    def fetch(self, series: FoundSeries, part: Sequence[FoundInstance], inbox: Inbox, *, whole: bool) -> int:
        """Bring ``part`` of a series, or all of it, into the inbox; returns how many instances came.

        Raises:
            ArchiveUnreachable: no association could be had, or it broke.
            SettingsInvalid: the archive does not know where to move to.
            SpoolFull: there is no room.
        """
        if whole:
            keys = {"StudyInstanceUID": series.study_instance_uid, "SeriesInstanceUID": series.series_instance_uid}
            return self._bring(make_identifier("SERIES", keys), _list_classes(series, part), inbox)
        came = 0
        for start in range(0, len(part), _UIDS_AT_ONCE):
            chunk = part[start : start + _UIDS_AT_ONCE]
            came += self._bring(_name_instances(series, chunk), _list_classes(series, chunk), inbox)
        return came

    def _find(
        self, level: str, keys: Keys, read: Callable[[Dataset], Value | None], *, may_be_cut: bool = False
    ) -> list[Value]:
        found: list[Value] = []
        with associate(self.peer, [build_context(_FIND, list(_PLAIN))], self.patience) as assoc:
            for status, answer in assoc.send_c_find(make_identifier(level, keys), _FIND):
                code = require_status(self.peer, status, f"C-FIND at {level} level")
                if code == _CUT and may_be_cut:
                    break
                if code == _CUT:
                    raise name_cut(self.name, self.peer.place, f"C-FIND at {level} level", len(found))
                if code not in PENDING and code != 0:
                    raise self.peer.describe_trouble(f"C-FIND at {level} level ended with status {code:04X}")
                if code in PENDING:
                    value = self._read_answer(level, answer, read)
                    found += [] if value is None else [value]
        return found

    def _read_answer(self, level: str, answer: Dataset | None, read: Callable[[Dataset], Value | None]) -> Value | None:
        """Return what an answer says. One that cannot be read may be the very one that is looked for."""
        # Some values are only decoded when they are asked for.
        with suppress(*MALFORMED):
            if answer is not None:
                return read(answer)
        raise self.peer.describe_trouble(f"an answer to C-FIND at {level} level cannot be read")

    def _bring(self, identifier: Dataset, classes: Sequence[UID], inbox: Inbox) -> int:
        if self.method is Method.MOVE:
            with associate(self.peer, [build_context(_MOVE, list(_PLAIN))], self.patience) as assoc:
                completed, code = self._follow(assoc.send_c_move(identifier, self.move_to, _MOVE), "C-MOVE")
            return self._require_some(completed, f"C-MOVE to {self.move_to}", code)
        reception = _Reception(inbox, self.peer.ae_title)
        roles = Roles([build_role(one, scp_role=True) for one in classes], [(EVT_C_STORE, reception.answer_store)])
        contexts = [build_context(_GET, list(_PLAIN)), *_offer(classes)]
        with associate(self.peer, contexts, self.patience, roles) as assoc:
            _, code = self._follow(assoc.send_c_get(identifier, _GET), "C-GET")
        reception.require_room()
        # Where it tried and every one failed, they are found missing like a part of them.
        return reception.kept if code == _ALL_FAILED else self._require_some(reception.kept, "C-GET", code)

    def _require_some(self, came: int, what: str, code: int) -> int:
        """Return how many came, unless the archive refused altogether. A part that failed is found missing later."""
        if not came and code >> 12 in _FAILURES:
            raise self.peer.describe_trouble(f"{what} ended with status {code:04X}, and nothing came")
        return came

    def _follow(self, answers: Iterator[tuple[Dataset, Dataset | None]], what: str) -> tuple[int, int]:
        """Hear all answers; return how many sub-operations were completed, and the last status."""
        completed, code = 0, 0
        for status, _ in answers:
            code = require_status(self.peer, status, what)
            completed = max(completed, int(status.get("NumberOfCompletedSuboperations") or 0))
            if code == _UNKNOWN_DESTINATION:
                raise SettingsInvalid(
                    f"Archive {self.name} does not know the AE title {self.move_to!r} that it is to send to.",
                    remedy='Enter it there with this node\'s host and port, or set `retrieve = "get"`.',
                )
            if code not in PENDING and code != 0:
                logger.warning("archive %s: %s ended with status %04X", self.name, what, code)
        return completed, code


@dataclass
class _Reception:
    """Takes the instances of one C-GET, and remembers why the last one could not be kept."""

    inbox: Inbox
    sender: str
    kept: int = 0
    full: SpoolFull | None = None

    def answer_store(self, event: Event) -> int:
        """Answer Success if and only if the instance is durable (statuses of PS3.4 B.2.3)."""
        request = cast("C_STORE", event.request)
        dataset = request.DataSet or BytesIO()
        dataset.seek(0)
        uids = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
        try:
            self.inbox.keep(Received(*uids, str(event.context.transfer_syntax), self.sender, dataset))
        except SpoolFull as full:
            self.full = full
            return 0xA700
        except Refused as refusal:
            logger.warning("an instance that was fetched cannot be kept: %s", refusal)
            return 0xC000
        self.kept += 1
        return 0x0000

    def require_room(self) -> None:
        if self.full is not None:
            raise self.full


def _name_instances(series: FoundSeries, part: Sequence[FoundInstance]) -> Dataset:
    identifier = make_identifier("IMAGE", {"StudyInstanceUID": series.study_instance_uid})
    identifier.SeriesInstanceUID = series.series_instance_uid
    identifier.SOPInstanceUID = [one.sop_instance_uid for one in part]
    return identifier


def _list_classes(series: FoundSeries, part: Sequence[FoundInstance]) -> list[UID]:
    """Return the storage classes that may come: those known, else those of the modality, else all of the modalities."""
    known = sorted({one.sop_class_uid for one in part if one.sop_class_uid})
    if known and all(one.sop_class_uid for one in part):
        return [UID(one) for one in known]
    everything = tuple(one for classes in _CLASSES.values() for one in classes)
    return list(_CLASSES.get(series.modality, everything))


def _offer(classes: Sequence[UID]) -> list[PresentationContext]:
    """One context per class and syntax, so that each instance can come as it is stored, as far as there is room."""
    single = [build_context(one, syntax) for one in classes for syntax in _SYNTAXES]
    if len(single) < _MAX_CONTEXTS:
        return single
    return [build_context(one, list(_SYNTAXES)) for one in classes[: _MAX_CONTEXTS - 1]]
