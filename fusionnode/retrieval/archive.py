"""What the archives of every kind have in common: questions, and copies that go straight into an inbox."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from fusionnode.errors import ArchiveUnreachable
from fusionnode.retrieval.findings import FoundInstance, FoundSeries, FoundStudy
from fusionnode.retrieval.wishes import Wish


@dataclass(frozen=True)
class Received:
    """One instance that came over an association; ``dataset`` is encoded as ``transfer_syntax_uid`` says."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    sender: str
    dataset: BinaryIO


class Inbox(Protocol):
    """Where fetched instances become durable; the spool, under the rules of what is sent to it."""

    def keep(self, received: Received) -> None:
        """Make an instance durable.

        Raises:
            SpoolFull, DatasetUnreadable, UidMalformed
        """

    def keep_file(self, file: BinaryIO, sender: str) -> None:
        """Make the instance in a DICOM file durable; raises as `keep` does."""

    def list_missing(self, sop_instance_uids: Iterable[str]) -> list[str]:
        """Return those that are not here, in their order."""


class Archive(Protocol):
    """A PACS that can be asked and copied from. Every method raises `ArchiveUnreachable` where it gets no answer."""

    @property
    def name(self) -> str:
        """What the site file calls it."""

    def probe(self) -> str:
        """Return in a few words what it answered to a greeting and to a query that finds nobody."""

    def find_studies(self, wish: Wish) -> list[FoundStudy]:
        """Return the studies that fit the wish, each once."""

    def find_series(self, study_instance_uid: str) -> list[FoundSeries]:
        """Return the series of a study."""

    def find_instances(self, series: FoundSeries) -> list[FoundInstance]:
        """Return the instances of a series."""

    def fetch(self, series: FoundSeries, part: Sequence[FoundInstance], inbox: Inbox, *, whole: bool) -> int:
        """Bring ``part`` of a series into the inbox; where ``whole``, everything, whether it was listed or not.

        Returns how many instances came, as far as that is known. Whether all came is for `retrieve_series` to find out.
        """


def name_cut(name: str, place: str, what: str, count: int) -> ArchiveUnreachable:
    """Return the error of an archive that has more answers than it gives."""
    why = f"{what} was answered with the first {count} only"
    return ArchiveUnreachable(
        f"Archive {place}: {why}.",
        remedy="Raise its limit of answers to a query, or ask for fewer days at once.",
        archive=name,
        why=why,
    )
