"""Asks a node's own rules about series that came as files: by hand nothing is fused that a node would not fuse."""

import itertools
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset

from fusionnode.domain.pair import Pair
from fusionnode.domain.series import SECOND_CONTENT, Conflict, Series, SeriesKey
from fusionnode.domain.terms import SeriesState
from fusionnode.errors import GeometryIrregular, PairingRefused, SeriesUnsupported
from fusionnode.flow.ports import StoredFile
from fusionnode.index.header import read_header
from fusionnode.pairing.links import Bond, Link, join_candidates, make_candidate
from fusionnode.pairing.match import match_pairs
from fusionnode.pairing.patient import find_contradictions, is_same_patient
from fusionnode.pairing.select import Chosen
from fusionnode.pairing.settle import explain_conflicts, explain_incomplete, explain_unfusable
from fusionnode.pipeline.schema import Pipeline


def index_series(datasets: Sequence[Dataset]) -> Series:
    """Return what a node's ledger would hold of a series, taken for complete.

    The data sets must have been read from files, which are read once more for their headers. Of several with one SOP
    Instance UID the first is an instance and the others are conflicts.

    Raises:
        DatasetUnreadable, UidMalformed: a node would set one of the files aside.
    """
    paths = [Path(str(ds.filename)) for ds in datasets]
    headers = [read_header(StoredFile(path, place=str(path), sha256="")) for path in paths]
    instances = {header.sop_instance_uid: header for header in reversed(headers)}
    counts = Counter(header.sop_instance_uid for header in headers)
    conflicts = tuple(Conflict(uid, SECOND_CONTENT) for uid, count in counts.items() if count > 1)
    key = SeriesKey(headers[0].series_instance_uid, 1)
    return Series(key, SeriesState.COMPLETE, tuple(instances.values()), conflicts)


def require_whole(series: Series, folder: Path) -> None:
    """Make sure that a node would take the series for complete instead of ignoring or quarantining it.

    Raises:
        SeriesUnsupported: nothing in it could ever be fused; what it holds is named.
        GeometryIrregular: instances contradict each other, or slices are missing.
    """
    if reason := explain_conflicts(series):
        raise GeometryIrregular(
            f"Instances in {folder} are duplicated ({reason}).",
            remedy="Find out which copy is right and take the other out.",
        )
    if reason := explain_unfusable(series):
        raise SeriesUnsupported(
            f"The series in {folder} {reason}.", remedy="Name the folders of an MRI and of a PET or SPECT series."
        )
    if reason := explain_incomplete(series):
        raise GeometryIrregular(f"The series in {folder} is not whole: {reason}.", remedy="Fetch the missing slices.")


def require_one_patient(series: Series, folder: Path) -> None:
    """Make sure that no two instances contradict each other about whose they are; an absent value contradicts nothing.

    Raises:
        PairingRefused: they do; nobody is named.
    """
    identities = {one.patient for one in series.instances}
    patients = {one.patient_id.strip() for one in identities} - {""}
    if len(patients) > 1 or any(find_contradictions(a, b) for a, b in itertools.combinations(identities, 2)):
        raise PairingRefused(
            f"The series in {folder} is of nobody: its instances name different patients.",
            remedy="Find out whose slices these are; --unpaired does not help.",
        )


def require_pair(pipeline: Pipeline, fixed: Series, moving: Series) -> Pair:
    """Return the pair ``pipeline`` makes of the two series: same patient, the right kinds, near enough in time.

    Raises:
        PairingRefused: it makes none; with the rules' own reasons.
    """
    matching = match_pairs(pipeline, [fixed, moving], datetime.now(UTC))
    for pair in matching.pairs:
        if (pair.fixed, pair.moving) == (fixed.key, moving.key):
            return pair
    reasons = sorted({rejection.reason for rejection in matching.rejections})
    raise PairingRefused(
        f"{pipeline.identifier} does not pair these series: {'; '.join(reasons) or 'they do not fit its roles'}.",
        remedy="If they do belong together, give --unpaired; the outputs will say so.",
        reasons=reasons,
    )


def trusts_frame(pipeline: Pipeline, fixed: Series, moving: Series) -> bool:
    """Whether a node would take the two series as they lie: one patient, one frame of reference, and it is trusted.

    For series that the rules need not pair. Each must be of one patient (`require_one_patient`).
    """
    one, other = (make_candidate(Chosen(series, 0.0)) for series in (fixed, moving))
    if not is_same_patient(one.identity, other.identity):
        return False
    joint = join_candidates(pipeline, one, other, ())
    return isinstance(joint, Bond) and joint.link is Link.FRAME
