"""What joins two series: the most trusted link wins, and doubt joins nothing."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.series import PatientIdentity
from fusionnode.domain.terms import SeriesState
from fusionnode.pairing.links import (
    LINK_SCORE,
    Bond,
    Candidate,
    Link,
    Obstacle,
    in_utc,
    join_candidates,
    make_candidate,
)
from fusionnode.pairing.select import Chosen
from fusionnode.pipeline.parse import parse_pipeline
from tests.support.series_headers import NOON, Scan, add_raw_data, make_series

PIPELINE = parse_pipeline(
    """
    name: mr-pt
    version: "1.0"
    fixed: {modality: [MR]}
    moving: {modality: [PT]}
    pairing: {window_days: 30}
    registration:
      where: [{attribute: BodyPartExamined, excludes: KNEE, because: shows no head}]
    output: {series_description: Fused}
    """,
    "test.yaml",
)
HERE = Scan()
APART = Scan(study="other", frame="other")


def candidate(modality: str, scan: Scan = HERE, **attributes: str) -> Candidate:
    return make_candidate(Chosen(make_series(modality, modality, scan=scan, attributes=attributes), 0.0))


def join(fixed: Candidate, moving: Candidate, *crowd: PatientIdentity) -> Bond | Obstacle:
    return join_candidates(PIPELINE, fixed, moving, (fixed.identity, moving.identity, *crowd))


def test_a_shared_frame_is_trusted_before_all_else() -> None:
    moving = candidate("PT", Scan(study="other", acquired_at=NOON + timedelta(hours=2)), BodyPartExamined="KNEE")
    assert isinstance(bond := join(candidate("MR"), moving), Bond)
    assert bond.link is Link.FRAME


@pytest.mark.parametrize(
    ("days", "study", "joined"),
    [(1, "other", True), (1.01, "other", False), (5, "other", False), (31, "study-1", True)],
)
def test_a_frame_that_spans_more_than_a_day_is_no_hybrid_scan(days: float, study: str, joined: bool) -> None:
    moving = candidate("PT", Scan(study=study, acquired_at=NOON + timedelta(days=days)))
    joint = join(candidate("MR"), moving)
    assert isinstance(joint, Bond) == joined
    if isinstance(joint, Bond):
        assert (joint.link, joint.days) == (Link.FRAME, days)
    else:
        assert "the frame of reference is shared across studies" in joint.words


@pytest.mark.parametrize(("study", "joined"), [("other", False), ("study-1", True)])
@pytest.mark.parametrize("undated", ["MR", "PT"])
def test_an_undated_frame_is_trusted_within_one_study_only(undated: str, study: str, joined: bool) -> None:
    moments = {name: None if name == undated else NOON for name in ("MR", "PT")}
    fixed = candidate("MR", Scan(acquired_at=moments["MR"]))
    joint = join(fixed, candidate("PT", Scan(study=study, acquired_at=moments["PT"])))
    assert isinstance(joint, Bond) == joined
    if isinstance(joint, Obstacle):
        assert "states no date" in joint.words


def test_days_cost_and_never_more_than_the_link_is_worth() -> None:
    here = join(candidate("MR"), candidate("PT", Scan(frame="other")))
    apart = join(candidate("MR"), candidate("PT", replace(APART, acquired_at=NOON + timedelta(days=20))))
    assert isinstance(here, Bond)
    assert isinstance(apart, Bond)
    assert (here.score, apart.score) == (2 * LINK_SCORE, LINK_SCORE - 2)
    most = 2 * 32 * 10 + 3660
    assert most < LINK_SCORE, "the most that the schema lets preferences and days add up to"


def test_what_is_on_its_way_is_known_as_such() -> None:
    series = replace(make_series("late"), state=SeriesState.REOPENED)
    arriving = make_candidate(Chosen(series, 0.0))
    bond = join(arriving, candidate("PT"))
    assert isinstance(bond, Bond)
    assert arriving.arriving
    assert bond.arriving


def test_two_empty_frames_are_not_shared() -> None:
    assert isinstance(bond := join(candidate("MR", Scan(frame="")), candidate("PT", Scan(frame=""))), Bond)
    assert bond.link is Link.STUDY


def test_a_series_with_several_frames_has_none() -> None:
    series = make_series("MR")
    first, *rest = series.instances
    mixed = replace(series, instances=(replace(first, frame_of_reference_uid="1.2"), *rest))
    assert make_candidate(Chosen(mixed, 0.0)).frame == ""


@given(days=st.floats(-60, 60))
def test_the_window_is_symmetric_and_sharp(days: float) -> None:
    later = replace(APART, acquired_at=NOON + timedelta(days=days))
    joint = join(candidate("MR"), candidate("PT", later))
    assert isinstance(joint, Bond) == (abs(timedelta(days=days)) <= timedelta(days=30))


def test_without_a_date_the_window_joins_nothing() -> None:
    assert isinstance(join(candidate("MR"), candidate("PT", replace(APART, acquired_at=None))), Obstacle)


@pytest.mark.parametrize("knee", ["MR", "PT"])
def test_a_motion_is_not_estimated_for_other_anatomy(knee: str) -> None:
    parts = {name: {"BodyPartExamined": "KNEE"} if name == knee else {} for name in ("MR", "PT")}
    joint = join(candidate("MR", **parts["MR"]), candidate("PT", replace(APART, study="study-1"), **parts["PT"]))
    assert isinstance(joint, Obstacle)
    assert "shows no head" in joint.words


def test_contradicting_demographics_join_nothing_even_in_one_frame_and_are_not_shown() -> None:
    fixed = candidate("MR", Scan(PatientIdentity("SECRET-1", "", "19700101")))
    moving = candidate("PT", Scan(PatientIdentity("SECRET-1", "", "19800101")))
    assert isinstance(joint := join(fixed, moving), Obstacle)
    assert "birth date" in joint.words
    assert not any(secret in joint.words for secret in ("SECRET", "1970", "1980"))


@pytest.mark.parametrize(("scan", "joined"), [(APART, False), (replace(APART, study="study-1"), True)])
def test_an_ambiguous_patient_is_not_joined_by_dates_alone(scan: Scan, joined: bool) -> None:
    fixed = candidate("MR", Scan(PatientIdentity("P1", issuer="A")))
    moving = candidate("PT", replace(scan, patient=PatientIdentity("P1")))
    stranger = PatientIdentity("P1", issuer="B")
    assert isinstance(join(fixed, moving), Bond)
    assert isinstance(join(fixed, moving, stranger), Bond) == joined


@pytest.mark.parametrize(("scan", "joined"), [(APART, False), (replace(APART, study="study-1"), True)])
def test_a_placeholder_id_is_not_joined_by_dates_alone(scan: Scan, joined: bool) -> None:
    unknown = PatientIdentity("UNKNOWN")
    joint = join(candidate("MR", Scan(unknown)), candidate("PT", replace(scan, patient=unknown)))
    assert isinstance(joint, Bond) == joined


def test_moments_with_and_without_a_zone_compare() -> None:
    assert in_utc(datetime(2024, 3, 5, 12)) == NOON  # noqa: DTZ001
    assert in_utc(datetime(2024, 3, 5, 13, tzinfo=timezone(timedelta(hours=1)))) == NOON


def test_raw_data_without_a_frame_does_not_take_the_frame_from_its_series() -> None:
    series = make_series("philips")
    plain, beside = (make_candidate(Chosen(one, 0.0)) for one in (series, add_raw_data(series)))
    assert (beside.frame, beside.study, beside.acquired_at) == (plain.frame, plain.study, plain.acquired_at)
    assert beside.frame
