"""Asks the pairing rules about two series that came as files: by hand nothing is fused that a node would not fuse."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset

from fusionnode.domain.series import Series, SeriesKey
from fusionnode.domain.terms import SeriesState
from fusionnode.errors import PairingRefused
from fusionnode.flow.ports import StoredFile
from fusionnode.index.header import read_header
from fusionnode.pairing.match import match_pairs
from fusionnode.pipeline.schema import Pipeline


def require_pair(pipeline: Pipeline, fixed: Sequence[Dataset], moving: Sequence[Dataset]) -> None:
    """Make sure that ``pipeline`` would pair the two series: same patient, the right kinds, near enough in time.

    The data sets must have been read from files, which are read once more for their headers.

    Raises:
        PairingRefused: with the rules' own reasons.
    """
    series = [_make_series(fixed), _make_series(moving)]
    matching = match_pairs(pipeline, series, datetime.now(UTC))
    wanted = (series[0].key, series[1].key)
    if any((pair.fixed, pair.moving) == wanted for pair in matching.pairs):
        return
    reasons = sorted({rejection.reason for rejection in matching.rejections})
    raise PairingRefused(
        f"{pipeline.identifier} does not pair these series: {'; '.join(reasons) or 'they do not fit its roles'}.",
        remedy="If they do belong together, give --unpaired; the outputs will say so.",
        reasons=reasons,
    )


def _make_series(datasets: Sequence[Dataset]) -> Series:
    paths = [Path(str(ds.filename)) for ds in datasets]
    instances = tuple(read_header(StoredFile(path, place=str(path), sha256="")) for path in paths)
    return Series(SeriesKey(instances[0].series_instance_uid, 1), SeriesState.COMPLETE, instances)
