"""Which series belong together, and why the others do not."""

from dataclasses import dataclass, field
from datetime import datetime

from fusionnode.domain.series import SeriesKey


@dataclass(frozen=True)
class Pair:
    """A fixed and a moving series that a pipeline wants fused.

    Attributes:
        score: higher is better; comparable only within one pipeline.
        reasons: what spoke for the pair, in words an operator reads.
        shared_frame: both series have the same, non-empty Frame of Reference UID.
        rivals: other reconstructions of the moving scan, which were worse; in the order of their UIDs.
    """

    pipeline: str
    fixed: SeriesKey
    moving: SeriesKey
    score: float
    shared_frame: bool
    reasons: tuple[str, ...] = ()
    rivals: tuple[SeriesKey, ...] = ()


@dataclass(frozen=True)
class Rejection:
    """Why a series, or two series together, were not taken by a pipeline; ``decided_at``: when that was first said."""

    pipeline: str
    series: tuple[SeriesKey, ...]
    reason: str
    decided_at: datetime | None = field(default=None, compare=False)
