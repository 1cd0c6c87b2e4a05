"""An archive that tells what it is asked for and hands over, and leaves everything else to another one (edge)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fusionnode.errors import FusionNodeError
from fusionnode.flow.observing import UNOBSERVED, ExchangeObserver, RemotePeer, Subject, Transfer
from fusionnode.retrieval.archive import Archive, Inbox
from fusionnode.retrieval.findings import FoundInstance, FoundSeries, FoundStudy
from fusionnode.retrieval.wishes import Wish


class ObservedArchive:
    """Fulfils `fusionnode.retrieval.archive.Archive` by another one.

    Attributes:
        archive: does the work.
        observer: is told of every question, and of every series that came.
    """

    def __init__(self, archive: Archive, peer: RemotePeer, observer: ExchangeObserver = UNOBSERVED) -> None:
        self.observer = observer
        self.archive, self._peer = archive, peer

    @property
    def name(self) -> str:
        """What the site file calls it."""
        return self.archive.name

    def probe(self) -> str:
        """Return in a few words what it answered to a greeting."""
        return self.archive.probe()

    def find_studies(self, wish: Wish) -> list[FoundStudy]:
        """Return the studies that fit the wish, each once."""
        with self._telling("study", wish.patient_id):
            return self.archive.find_studies(wish)

    def find_series(self, study_instance_uid: str) -> list[FoundSeries]:
        """Return the series of a study."""
        with self._telling("series", ""):
            return self.archive.find_series(study_instance_uid)

    def find_instances(self, series: FoundSeries) -> list[FoundInstance]:
        """Return the instances of a series."""
        with self._telling("instance", ""):
            return self.archive.find_instances(series)

    def fetch(self, series: FoundSeries, part: Sequence[FoundInstance], inbox: Inbox, *, whole: bool) -> int:
        """Bring ``part`` of a series into the inbox; returns how many instances came, as far as that is known."""
        subject = Subject(series.study_instance_uid, series.series_instance_uid)
        classes = {one.sop_class_uid or "unknown": 0 for one in part}
        for one in part:
            classes[one.sop_class_uid or "unknown"] += 1
        try:
            came = self.archive.fetch(series, part, inbox, whole=whole)
        except FusionNodeError as error:
            self.observer.instances_fetched(self._peer, Transfer(subject, {}, error.code))
            raise
        trouble = f"{came} of {len(part)} instances came" if came < len(part) else ""
        self.observer.instances_fetched(self._peer, Transfer(subject, classes, trouble))
        return came

    @contextmanager
    def _telling(self, what: str, patient_id: str) -> Iterator[None]:
        trouble = ""
        try:
            yield
        except FusionNodeError as error:
            trouble = error.code
            raise
        finally:
            self.observer.archive_queried(self._peer, what, patient_id, trouble)
