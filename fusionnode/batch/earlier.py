"""Fused series that are there already: which pair each one shows, and whether a pair is to be fused once more."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pydicom import Dataset

from fusionnode.batch.request import Existing
from fusionnode.capture.identity import FusedIdentity
from fusionnode.domain.pair import Pair
from fusionnode.domain.terms import MANUFACTURER
from fusionnode.flow.sweep import PairJudgement
from fusionnode.malformed import MALFORMED

RESULT_MODALITY = "OT"
"""What the series of fused pictures have for a modality."""


@dataclass(frozen=True)
class EarlierResult:
    """A fused series, as one of its instances tells of itself.

    Attributes:
        sources: UIDs of the series that it was made from.
        software: what made it: version, network, pipeline.
        made_at: date and time of its content (DA and TM text), for the order.
    """

    series_instance_uid: str
    sources: tuple[str, ...]
    software: tuple[str, ...] = ()
    made_at: str = ""

    def as_facts(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        facts = asdict(self)
        return facts | {"sources": list(self.sources), "software": list(self.software)}


def read_facts(facts: dict[str, Any]) -> EarlierResult:
    """Return what `EarlierResult.as_facts` was made of."""
    return EarlierResult(
        facts["series_instance_uid"], tuple(facts["sources"]), tuple(facts["software"]), facts["made_at"]
    )


def read_result(header: Dataset) -> EarlierResult | None:
    """Return which fused series of fusionnode an instance belongs to; None where it is none of them, or spoilt."""
    try:
        return _read_result(header)
    except MALFORMED:
        return None


def _read_result(header: Dataset) -> EarlierResult | None:
    if header.get("Modality") != RESULT_MODALITY or header.get("Manufacturer") != MANUFACTURER:
        return None
    studies = [header, *header.get("StudiesContainingOtherReferencedInstancesSequence", ())]
    series = [item for study in studies for item in study.get("ReferencedSeriesSequence", ())]
    sources = tuple(sorted({str(item.SeriesInstanceUID) for item in series}))
    equipment = [item.get("SoftwareVersions") or () for item in header.get("ContributingEquipmentSequence", ())]
    own = [versions for versions in equipment if not isinstance(versions, str) and len(versions) > 1]
    made_at = f"{header.get('ContentDate', '')}{header.get('ContentTime', '')}"
    return EarlierResult(str(header.SeriesInstanceUID), sources, tuple(map(str, own[-1] if own else ())), made_at)


@dataclass
class Judge:
    """Decides for each pair; a `fusionnode.flow.sweep.PairJudge`.

    Attributes:
        list_results: the fused series known so far.
        is_whole: whether all of a series (UID) came; nothing is fused from one that is still on its way, or broke off.
        tell_skipped: hears of each pair passed over, and of the fused series that is there.
    """

    existing: Existing
    list_results: Callable[[], Iterable[EarlierResult]]
    is_whole: Callable[[str], bool]
    tell_skipped: Callable[[Pair, EarlierResult], None]

    def __call__(self, pair: Pair, job_id: str) -> PairJudgement:
        """Return whether the pair is to be fused, and what the new series supersedes.

        The very series that would come of it is never made a second time.
        """
        wanted = {pair.fixed.series_instance_uid, pair.moving.series_instance_uid}
        if not all(map(self.is_whole, wanted)):
            return PairJudgement(wanted=False)
        found = sorted((one for one in self.list_results() if wanted <= set(one.sources)), key=lambda one: one.made_at)
        same = [one for one in found if one.series_instance_uid == FusedIdentity(job_id).series_uid]
        if same or (found and self.existing is Existing.SKIP):
            self.tell_skipped(pair, (same or found)[-1])
            return PairJudgement(wanted=False)
        supersede = found and self.existing is Existing.SUPERSEDE
        return PairJudgement(wanted=True, supersedes=found[-1].series_instance_uid if supersede else "")
