"""Finds the studies of a batch in an archive and brings them into the spool, patient by patient."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from fusionnode.batch.earlier import RESULT_MODALITY, EarlierResult, read_result
from fusionnode.batch.folder import BatchFolder
from fusionnode.batch.inbox import SpoolInbox
from fusionnode.errors import ArchiveUnreachable, FusionNodeError, RetrievalIncomplete
from fusionnode.retrieval.archive import Archive
from fusionnode.retrieval.findings import FoundSeries, FoundStudy, unite_studies
from fusionnode.retrieval.retrieve import Perseverance, retrieve_series
from fusionnode.retrieval.wishes import DateRange, Wish, read_day

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_GLANCES = 4
_SILENT_STUDIES = 3
"""After so many studies in a row without an answer the archive is taken for down."""


@dataclass
class Gatherer:
    """Brings what a batch wants from one archive.

    Attributes:
        modalities: of the series to fetch.
        window_days: how far from the studies found those of the same patients are taken along.
        tell: hears, whenever a study was dealt with, of how many.
        stopped: whether the archive went silent, so that not everything was tried.
    """

    archive: Archive
    inbox: SpoolInbox
    folder: BatchFolder
    modalities: Collection[str]
    window_days: float
    tell: Callable[[int, int], None]
    perseverance: Perseverance = field(default_factory=Perseverance)
    stopped: bool = False

    def search(self, wishes: Iterable[Wish]) -> None:
        """Find all studies and note them; what was asked before is not asked again.

        Raises:
            ArchiveUnreachable: the archive did not answer, however often it was asked.
        """
        if self.folder.list_notes("searched"):
            return
        known = {note["study"] for note in self.folder.list_notes("found")}
        asked = {note["row"] for note in self.folder.list_notes("asked")}
        for wish in (one for one in wishes if one.row not in asked):
            studies = self._find(wish)
            for study in [*studies, *self._find_companions(wish, studies)]:
                if study.study_instance_uid not in known:
                    known.add(study.study_instance_uid)
                    patient = self._name(study.patient.patient_id)
                    self.folder.note("found", study=study.study_instance_uid, patient=patient, row=wish.row)
            # Last, so that a kill before it has the whole question asked again.
            self.folder.note("asked", row=wish.row, patient=self._name(wish.patient_id), studies=len(studies))
        self.folder.note("searched")

    def fetch(self) -> Iterator[None]:
        """Bring all studies that are not here yet; yields after each patient, when everything of it is here.

        Patients of whom an earlier run left a part behind come first, and nothing is yielded before they are complete.
        """
        done = {note["study"] for note in self.folder.list_notes("fetched")}
        opened = {note["study"] for note in self.folder.list_notes("begun")} - done
        patients: dict[str, list[str]] = defaultdict(list)
        for note in self.folder.list_notes("found"):
            patients[note["patient"] or note["study"]].append(note["study"])
        total = sum(len(studies) for studies in patients.values())
        self.tell(len(done), total)
        silent = 0
        for studies in sorted(patients.values(), key=opened.isdisjoint):
            for study in (one for one in studies if one not in done):
                answered = self._bring_study(study)
                done.add(study)
                self.tell(len(done), total)
                silent = 0 if answered else silent + 1
                if silent >= _SILENT_STUDIES:
                    logger.error("archive %s went silent; the rest is left for another run", self.archive.name)
                    self.stopped = True
                    return
            opened.difference_update(studies)
            if not opened:
                yield

    def _find(self, wish: Wish) -> list[FoundStudy]:
        return self._persist(f"query {wish.row}", lambda: self._find_wanted(wish))

    def _persist(self, what: str, ask: Callable[[], Answer]) -> Answer:
        """Ask until there is an answer; the last attempt may raise `ArchiveUnreachable`."""
        for attempt in range(1, self.perseverance.attempts):
            try:
                return ask()
            except ArchiveUnreachable as unreachable:
                logger.warning("%s, attempt %d: %s", what, attempt, unreachable)
                self.perseverance.sleep(self.perseverance.pause_seconds * 2 ** (attempt - 1))
        return ask()

    def _find_wanted(self, wish: Wish) -> list[FoundStudy]:
        """Return the studies in which there is something to fetch, as far as the archive says."""
        found = self.archive.find_studies(wish)
        return [one for one in found if not one.modalities or set(one.modalities) & set(self.modalities)]

    def _find_companions(self, wish: Wish, studies: Iterable[FoundStudy]) -> list[FoundStudy]:
        """Return other studies of the same patients near those found: the MRI is often in a study of its own."""
        if wish == Wish(patient_id=wish.patient_id, issuer=wish.issuer, row=wish.row):
            return []
        days: dict[str, list[DateRange]] = defaultdict(list)
        for study in studies:
            if study.patient.patient_id:
                days[study.patient.patient_id].append(read_day(study.date))
        found: list[FoundStudy] = []
        for patient_id, ranges in days.items():
            firsts, lasts = [one.first for one in ranges], [one.last for one in ranges]
            # One study without a date opens the range: nobody knows what lies near it.
            span = DateRange(
                min((one for one in firsts if one), default=None) if all(firsts) else None,
                max((one for one in lasts if one), default=None) if all(lasts) else None,
            )
            found += self._find(Wish(patient_id=patient_id, dates=span.widen(self.window_days), row=wish.row))
        return unite_studies(found)

    def _bring_study(self, study: str) -> bool:
        """Bring one study and note how that ended; returns whether the archive answered."""
        try:
            series = self._persist(f"study {study}", lambda: self.archive.find_series(study))
        except ArchiveUnreachable as unreachable:
            self._note_trouble(study, "", unreachable)
            return False
        self.folder.note("begun", study=study)
        trouble, instances, begun = 0, 0, time.monotonic()
        wanted = [one for one in series if one.modality in self.modalities or not one.modality]
        with self.inbox.carrying():
            for one in wanted:
                try:
                    instances += retrieve_series(self.archive, one, self.inbox, self.perseverance)
                    self.folder.note("whole", series=one.series_instance_uid)
                except (ArchiveUnreachable, RetrievalIncomplete) as lost:
                    trouble += 1
                    self._note_trouble(study, one.series_instance_uid, lost)
        for one in series:
            if one.modality == RESULT_MODALITY and self.folder.owns_node:
                self._look_for_result(one)
        if not trouble:
            uids = [one.series_instance_uid for one in wanted]
            seconds = round(time.monotonic() - begun, 3)
            self.folder.note("fetched", study=study, series=uids, instances=instances, seconds=seconds)
        return trouble < max(len(wanted), 1)

    def _look_for_result(self, series: FoundSeries) -> None:
        """Note a series that fusionnode made. Its slices name what each was made from, so some are looked at."""
        found: EarlierResult | None = None
        try:
            instances = self.archive.find_instances(series)
            for one in instances[:: max(1, len(instances) // _GLANCES)]:
                self.archive.fetch(series, [one], self.inbox, whole=False)
                header = self.inbox.read_header(one.sop_instance_uid)
                result = read_result(header) if header is not None else None
                if result is None:
                    return
                sources = tuple(sorted({*result.sources, *(found.sources if found else ())}))
                found = replace(result, sources=sources)
        except FusionNodeError as trouble:
            logger.warning("series %s cannot be looked at: %s", series.series_instance_uid, trouble)
        if found is not None:
            self.folder.note("earlier", **found.as_facts())

    def _note_trouble(self, study: str, series: str, trouble: FusionNodeError) -> None:
        logger.warning("study %s: %s", study, trouble)
        self.folder.note("torn", study=study, series=series, error=trouble.code, reason=trouble.message)

    def _name(self, patient_id: str) -> str:
        return self.folder.make_pseudonym(patient_id) if patient_id.strip() else ""
