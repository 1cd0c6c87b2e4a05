"""The table: fair means, fair ranks, and verdicts that follow from the figures."""

from collections.abc import Mapping

import pytest

from fusionnode.evaluation.compare import GOALS, Goal, PictureScore, Verdict, compare_fusers, judge, rank_means
from fusionnode.evaluation.guards import Brightness
from fusionnode.evaluation.metrics import CLASSIC


def _score(fuser: str, name: str, figures: Mapping[str, float], fused: float = 0.0) -> PictureScore:
    number = int(name[-3:])
    brightness = Brightness(10.0 * number, 10.0 * number, fused)
    return PictureScore("PET-MRI", "PET", name[:-3], name, number, fuser, figures, brightness)


def _flat(value: float) -> dict[str, float]:
    return dict.fromkeys(CLASSIC, value)


def test_means_are_over_pictures_and_only_where_measured() -> None:
    scores = [_score("one", "41001", {**_flat(1), "readback": 0.9}), _score("one", "41005", _flat(4))]
    [comparison] = compare_fusers(scores)
    [standing] = comparison.standings
    assert standing.means["AG"] == 2.5
    assert standing.means["readback"] == 0.9
    assert "flicker" not in standing.means
    assert (comparison.cases, comparison.pictures, comparison.modality) == (("41",), 2, "PET")


def test_the_best_stands_first_and_ties_share_their_ranks() -> None:
    means = {"best": _flat(3), "tied": _flat(2), "level": _flat(2), "worst": _flat(1)}
    assert rank_means(means) == {"best": 1, "tied": 2.5, "level": 2.5, "worst": 4}
    [comparison] = compare_fusers(_score(fuser, "41001", own) for fuser, own in reversed(means.items()))
    assert [standing.fuser for standing in comparison.standings] == ["best", "level", "tied", "worst"]


def test_the_mean_rank_weighs_every_classic_metric_alike() -> None:
    ahead_in_one = {**_flat(1), "SCD": 9.0}
    ranks = rank_means({"steady": _flat(2), "one-sided": ahead_in_one})
    assert ranks == {"steady": pytest.approx(1.1), "one-sided": pytest.approx(1.9)}


def test_fusers_measured_on_different_pictures_are_not_compared() -> None:
    with pytest.raises(ValueError, match="not measured on the same pictures"):
        compare_fusers([_score("one", "41001", _flat(1)), _score("two", "41002", _flat(1))])


def test_flicker_joins_only_slices_that_follow_each_other_in_one_case() -> None:
    names = ("41001", "41002", "41004", "42005")
    scores = [_score("one", name, _flat(1), fused) for name, fused in zip(names, (0.0, 5.0, 99.0, 0.0), strict=True)]
    [comparison] = compare_fusers(scores)
    assert comparison.standings[0].means["flicker"] == pytest.approx(0.5)


def test_slices_without_numbers_take_no_part_in_flicker() -> None:
    brightness = Brightness(1, 2, 3)
    scores = [PictureScore("S", "PET", name, name, None, "one", _flat(1), brightness) for name in ("a", "b")]
    [comparison] = compare_fusers(scores)
    assert "flicker" not in comparison.standings[0].means


@pytest.mark.parametrize(
    ("value", "shortfall"),
    [(0.86, ""), (1.05, ""), (0.8599, "low"), (1.0501, "high"), (None, "unmeasured")],
)
def test_a_verdict_names_the_end_that_is_missed(value: float | None, shortfall: str) -> None:
    verdict = Verdict(Goal("ag_ratio", 0.86, 1.05), value)
    assert verdict.shortfall == shortfall
    assert verdict.met == (not shortfall)


def test_every_goal_must_be_met_at_once() -> None:
    good = {"Qabf": 0.75, "VIF": 0.73, "SSIM": 0.71, "SCD": 1.55, "CC": 0.84, "CCf": 0.71, "ag_ratio": 0.9}
    good |= {"haze": 0.5, "saturation": 0.0, "readback": 0.98}
    [comparison] = compare_fusers([_score("one", "41001", {**_flat(1), **good})])
    assert comparison.standings[0].balanced
    for figure in good:
        spoilt = {**_flat(1), **good, figure: 9.0 if figure in {"haze", "saturation"} else 0.1}
        [comparison] = compare_fusers([_score("one", "41001", spoilt)])
        assert not comparison.standings[0].balanced, figure
    del good["readback"]
    assert [verdict.goal.figure for verdict in judge(good, "PET") if not verdict.met] == ["readback"]


def test_a_modality_without_a_goal_is_never_balanced() -> None:
    assert judge({"AG": 1.0}, "CT") == ()
    score = PictureScore("CT-MRI", "CT", "1", "1001", 1, "one", _flat(1), Brightness(1, 1, 1))
    assert not compare_fusers([score])[0].standings[0].balanced


def test_both_modalities_are_judged_by_the_same_figures() -> None:
    figures = [[goal.figure for goal in goals] for goals in GOALS.values()]
    assert figures[0] == figures[1]
    assert len(figures[0]) == 10
