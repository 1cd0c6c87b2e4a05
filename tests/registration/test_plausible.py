import math
from dataclasses import replace

import pytest

from fusionnode.domain.motion import MotionEstimate, MotionMethod, MotionQuality, RigidMotion
from fusionnode.errors import OverlapInsufficient, RegistrationImplausible
from fusionnode.registration.plausible import require_plausible, require_quality
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


FINE = MotionQuality(
    explained=0.8, sharpness=0.6, mirror_margin=0.3, second_opinion_mm=1.5, starts_apart_mm=0.1, stretch=0.02
)


def _examine(**changes: float) -> MotionEstimate:
    return require_quality(GOOD, replace(FINE, **changes))


def test_good_figures_pass_without_a_warning_and_are_kept() -> None:
    judged = _examine()
    assert judged.quality == FINE
    assert replace(judged, quality=None) == GOOD


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"mirror_margin": 0.059}, "as another patient's would"),
        ({"mirror_margin": -0.059}, "as another patient's would"),
        ({"mirror_margin": -0.061}, "left and right seem to be exchanged"),
        ({"explained": 0.34}, "only 34%"),
        ({"second_opinion_mm": 10.1}, "10 mm away"),
        ({"starts_apart_mm": 8.1}, "8 mm apart"),
        ({"stretch": 0.16}, "stretched by 16%"),
        ({"mirror_margin": math.nan}, "mirror margin of the alignment could not be measured"),
    ],
)
def test_what_no_right_pair_shows_is_refused_with_facts_and_a_remedy(changes: dict[str, float], word: str) -> None:
    with pytest.raises(RegistrationImplausible, match=word) as refusal:
        _examine(**changes)
    (name,) = changes
    assert refusal.value.facts[name] == pytest.approx(changes[name], nan_ok=True)
    assert math.copysign(1, refusal.value.facts["limit"]) == math.copysign(1, -1 if "exchanged" in word else 1)
    assert refusal.value.remedy


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"mirror_margin": 0.08}, "mirror image (0.08)"),
        ({"explained": 0.4}, "only 40%"),
        ({"second_opinion_mm": 6.0}, "6 mm away"),
        ({"starts_apart_mm": 3.0}, "3 mm apart"),
        ({"stretch": 0.1}, "10%"),
        ({"sharpness": -0.2}, "-0.20"),
    ],
)
def test_what_few_right_pairs_show_is_warned_of_once(changes: dict[str, float], word: str) -> None:
    (warning,) = _examine(**changes).warnings
    assert word in warning
    assert "nan" not in warning


UNSEEN = dict.fromkeys(vars(FINE), math.nan)


def test_what_could_not_be_examined_is_refused() -> None:
    with pytest.raises(RegistrationImplausible, match="Too little of the head"):
        _examine(**UNSEEN)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"mirror_margin": 0.01}, "as another patient's would"),
        ({"mirror_margin": math.nan}, "could not be measured"),
        ({"starts_apart_mm": 8.1}, "8 mm apart"),
        (UNSEEN, "Too little of the head"),
    ],
)
def test_where_somebody_looks_doubt_is_warned_of_once(changes: dict[str, float], word: str) -> None:
    (warning,) = require_quality(GOOD, replace(FINE, **changes), believe_doubtful=True).warnings
    assert word in warning


def test_left_and_right_exchanged_is_refused_even_where_somebody_looks() -> None:
    with pytest.raises(RegistrationImplausible, match="exchanged"):
        require_quality(GOOD, replace(FINE, mirror_margin=-0.2), believe_doubtful=True)


def test_the_quality_adds_to_the_warnings_of_the_motion() -> None:
    judged = require_quality(replace(GOOD, warnings=("said before",)), replace(FINE, stretch=0.1))
    assert judged.warnings[0] == "said before"
    assert len(judged.warnings) == 2
