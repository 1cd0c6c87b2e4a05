import math
from dataclasses import replace

import pytest

from fusionnode.domain.motion import MotionEstimate, MotionMethod, RigidMotion
from fusionnode.errors import OverlapInsufficient, RegistrationImplausible
from fusionnode.registration.plausible import require_plausible
from tests.support.phantoms import make_motion

GOOD = MotionEstimate(
    motion=make_motion((3, 4, 5), (300, 0, -500)),
    method=MotionMethod.REGISTERED,
    preset="brain-rigid",
    centre_distance_mm=12.0,
    overlap=0.95,
    information=0.40,
    information_at_start=0.20,
    iterations=50,
)


def _judge(**changes: object) -> MotionEstimate:
    estimate = replace(GOOD, **changes)
    return require_plausible(estimate, max_rotation_deg=45, max_centre_distance_mm=75, min_overlap=0.3)


def test_a_good_estimate_passes_unchanged_however_far_the_scanners_origins_lie_apart() -> None:
    judged = _judge()
    assert judged.warnings == ()
    assert judged.motion is GOOD.motion


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"motion": make_motion((50, 0, 0))}, "limit_deg"),
        ({"centre_distance_mm": 76.0}, "limit_mm"),
        ({"centre_distance_mm": math.nan}, "limit_mm"),
        ({"information": 0.20, "information_at_start": 0.05}, "information"),
        ({"information": math.nan}, "information"),
        ({"information_at_start": math.nan}, "information"),
        ({"information": 0.40, "information_at_start": 0.45}, "information"),
        ({"information": 0.26, "information_at_start": 0.24}, "information"),
    ],
)
def test_what_no_head_does_is_refused_with_facts_and_a_remedy(changes: dict[str, object], fact: str) -> None:
    with pytest.raises(RegistrationImplausible) as refusal:
        _judge(**changes)
    assert fact in refusal.value.facts
    assert refusal.value.remedy


@pytest.mark.parametrize("overlap", [0.0, 0.29, math.nan])
@pytest.mark.parametrize("method", MotionMethod)
def test_too_little_overlap_is_refused_however_the_motion_was_come_by(overlap: float, method: MotionMethod) -> None:
    with pytest.raises(OverlapInsufficient) as refusal:
        _judge(overlap=overlap, method=method)
    assert refusal.value.facts["limit"] == 0.3


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"motion": make_motion((25, 0, 0))}, "25 degrees"),
        ({"centre_distance_mm": 50.0}, "50 mm"),
        ({"overlap": 0.4}, "40%"),
        ({"information": 0.28}, "0.28 nats"),
    ],
)
def test_grey_zones_pass_with_one_warning(changes: dict[str, object], word: str) -> None:
    (warning,) = _judge(**changes).warnings
    assert word in warning


def test_an_aligned_pair_may_gain_nothing() -> None:
    assert _judge(information=0.40, information_at_start=0.40).warnings == ()


def test_a_shared_frame_is_judged_by_overlap_alone() -> None:
    shared = {
        "motion": RigidMotion.identity(),
        "method": MotionMethod.SHARED_FRAME,
        "information": math.nan,
        "information_at_start": math.nan,
    }
    assert _judge(**shared).warnings == ()
    assert len(_judge(**shared, overlap=0.4).warnings) == 1


def test_earlier_warnings_are_kept() -> None:
    assert _judge(warnings=("said before",), overlap=0.4).warnings[0] == "said before"


def test_limits_themselves_are_allowed() -> None:
    assert _judge(centre_distance_mm=75.0, overlap=0.3).centre_distance_mm == 75.0
