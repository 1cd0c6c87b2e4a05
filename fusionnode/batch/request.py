"""What one call of ``fusionnode batch`` asks for, and whether that makes sense."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from fusionnode.errors import ListInvalid, PipelineInvalid, SettingsInvalid
from fusionnode.fusion.cards import find_card
from fusionnode.pipeline.schema import Pipeline
from fusionnode.retrieval.wishes import DateRange, Wish, read_range, read_wishes

RESULTS = "results"
"""The destination that stands for the folder of that name in the batch folder."""

_MODALITIES = ("MR", "PT", "NM")


class Existing(StrEnum):
    """What to do with a pair that fusionnode has fused before, as the archive or the folder shows."""

    SKIP = "skip"
    SUPERSEDE = "supersede"
    ADD = "add"


@dataclass(frozen=True)
class Progress:
    """How far a batch has come: studies (or files) fetched of those known, pairs ended of those known."""

    fetched: int = 0
    found: int = 0
    ended: int = 0
    pairs: int = 0

    @property
    def expected_pairs(self) -> int:
        """How many pairs there will be if what is still to be fetched holds as many as what was."""
        return round(self.pairs * max(self.found, self.fetched) / self.fetched) if self.fetched else self.pairs


@dataclass(frozen=True)
class BatchRequest:
    """One batch.

    Attributes:
        out: the batch folder.
        archive: by name of the site file; or empty, with ``folders``.
        patients: a patient list (`fusionnode.retrieval.wishes.read_wishes`).
        dates: of the studies; empty for all.
        modalities: one of them must be in a study; what the same patients have besides is fetched as well.
        folders: trees of DICOM files, instead of an archive.
        pipeline: by name; empty: every one of the site.
        network: instead of the pipeline's.
        destinations: by name; empty: a folder.
        into_node: fill the site's own node, which does the work, instead of one in the batch folder.
        workers: how many pairs are worked on at the same time.
    """

    out: Path
    archive: str = ""
    patients: Path | None = None
    dates: str = ""
    modalities: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    pipeline: str = ""
    network: str = ""
    destinations: tuple[str, ...] = ()
    into_node: bool = False
    workers: int = 1
    existing: Existing = Existing.SKIP

    def check(self) -> None:
        """Say what does not go together.

        Raises:
            SettingsInvalid: it does not.
        """
        from_archive = bool(self.patients or self.dates or self.modalities)
        unknown = set(self.modalities) - set(_MODALITIES)
        mistakes = [
            (bool(self.archive) == bool(self.folders), "Give either --archive or --folder."),
            (bool(self.folders) and from_archive, "--patients, --dates and --modality choose from an archive."),
            (
                bool(self.archive) and not (self.patients or self.dates),
                "Give --patients or --dates, not a whole archive.",
            ),
            (bool(unknown), f"--modality is one of {', '.join(_MODALITIES)}."),
            (
                self.into_node and bool(self.pipeline or self.network or self.destinations),
                "With --node the site's own pipelines decide; leave out --pipeline, --network and --to.",
            ),
            (
                self.into_node and self.existing is not Existing.SKIP,
                "With --node the ledger knows what was fused before; leave out --existing.",
            ),
        ]
        found = [words for wrong, words in mistakes if wrong]
        if found:
            raise SettingsInvalid(" ".join(found), remedy="See `fusionnode batch --help`.")

    def read_wishes(self) -> tuple[Wish, ...]:
        """Return what to ask the archive for.

        Raises:
            ListInvalid: the list or the date range is not usable.
        """
        dates = read_range(self.dates) if self.dates else DateRange()
        everywhere = Wish(dates=dates, modalities=self.modalities)
        return read_wishes(self._read_list(), everywhere) if self.patients else (everywhere,)

    def describe(self) -> dict[str, Any]:
        """Return what makes this batch another one than the next, as plain JSON values and without patients."""
        listed = hashlib.sha256(self._read_list().encode()).hexdigest() if self.patients else ""
        return {
            "archive": self.archive,
            "patients_sha256": listed,
            "dates": self.dates,
            "modalities": list(self.modalities),
            "folders": [str(folder.resolve()) for folder in self.folders],
            "pipeline": self.pipeline,
            "network": self.network,
            "destinations": list(self.destinations),
            "node": self.into_node,
            "existing": self.existing.value,
        }

    def _read_list(self) -> str:
        try:
            return self.patients.read_text(encoding="utf-8") if self.patients else ""
        except OSError as error:
            raise ListInvalid(
                f"The patient list {self.patients} cannot be read: {error.strerror}.", remedy="Name it with --patients."
            ) from None
        except UnicodeDecodeError:
            raise ListInvalid(f"The patient list {self.patients} is not UTF-8.", remedy="Save it as UTF-8.") from None


def choose_pipelines(request: BatchRequest, installed: Mapping[str, Pipeline]) -> dict[str, Pipeline]:
    """Return the pipelines of the batch, by name, with the network and the destinations asked for.

    Another network makes another edition (`Pipeline.edition`): what it makes has other UIDs than the pipeline's own.

    Raises:
        PipelineInvalid: there is no such pipeline.
        ModelUnknown: there is no such network.
    """
    if request.pipeline and request.pipeline not in installed:
        raise PipelineInvalid(
            f"There is no pipeline called {request.pipeline!r}.", remedy=f"Known are: {', '.join(sorted(installed))}."
        )
    if request.network:
        find_card(request.network)
    names = [request.pipeline] if request.pipeline else sorted(installed)
    return {name: _adapt(installed[name], request) for name in names}


def _adapt(pipeline: Pipeline, request: BatchRequest) -> Pipeline:
    changes: dict[str, Any] = {"destinations": request.destinations or (RESULTS,)}
    if request.network and request.network != pipeline.fusion.model:
        changes["fusion"] = pipeline.fusion.model_copy(update={"model": request.network})
    return pipeline.model_copy(update=changes)
