"""Which functional series are reconstructions of one acquisition, of which only the best is fused (middle).

Series of one study and frame are one acquisition when all of them began within ten minutes and none certainly shows
another tracer than another. What says nothing of time or tracer contradicts neither; where it might belong to several
acquisitions it counts as one of its own, for taking the place of any of them might lose that one.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from fusionnode.pairing.links import Candidate
from fusionnode.pairing.tracer import are_different

ONE_ACQUISITION = timedelta(minutes=10)
"""How far apart the first and the last reconstruction of one acquisition may begin. Early and late images of one
injection lie further apart; the beds of one scan do not count, only its beginning."""

_UNDATED = datetime.max.replace(tzinfo=UTC)


def split_acquisitions(series: Iterable[Candidate]) -> list[list[Candidate]]:
    """Return the candidates acquisition by acquisition, whatever their order.

    What is still arriving comes last, so that it changes nothing between the others.
    """
    groups: list[list[Candidate]] = []
    for one in sorted(series, key=_rank_certainty):
        homes = [group for group in groups if all(_may_be_one(one, other) for other in group)]
        if len(homes) == 1:
            homes[0].append(one)
        else:
            groups.append([one])
    return groups


def _rank_certainty(one: Candidate) -> tuple[bool, bool, int, datetime, str]:
    """Order by how much is known, then by time, so that the certain ones form the groups that the others join."""
    return one.arriving, one.acquired_at is None, one.tracer.unknown, one.acquired_at or _UNDATED, one.uid


def _may_be_one(one: Candidate, other: Candidate) -> bool:
    if (one.study, one.frame) != (other.study, other.frame) or are_different(one.tracer, other.tracer):
        return False
    if one.acquired_at is None or other.acquired_at is None:
        return True
    return abs(one.acquired_at - other.acquired_at) <= ONE_ACQUISITION
