"""The report of an evaluation (middle): for machines as plain JSON values, for people as Markdown tables."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fusionnode.evaluation.compare import Comparison, Goal, PictureScore, Standing, Verdict
from fusionnode.evaluation.metrics import CLASSIC

_GUARDS = ("SD_u8", "CCf", "haze", "saturation", "gain", "ag_ratio", "readback", "paled", "flicker")
_UNMEASURED = "-"


def build_report(comparisons: Sequence[Comparison], scores: Iterable[PictureScore]) -> dict[str, Any]:
    """Everything measured, per set and fuser and per picture; what could not be measured is null, never left to guess.

    The first fuser of each set is the best by mean rank.
    """
    return {
        "sets": {
            comparison.collection: {
                "modality": comparison.modality,
                "cases": list(comparison.cases),
                "pictures": comparison.pictures,
                "fusers": {standing.fuser: _tell_standing(standing) for standing in comparison.standings},
            }
            for comparison in comparisons
        },
        "pictures": [_tell_score(score) for score in scores],
    }


def render_markdown(comparisons: Sequence[Comparison]) -> str:
    """Three tables per set: the classic metrics, the guards, and the balanced goal where there is one."""
    return "\n".join(section for comparison in comparisons for section in _render_comparison(comparison))


def _tell_standing(standing: Standing) -> dict[str, Any]:
    return {
        "means": {figure: standing.means.get(figure) for figure in (*CLASSIC, *_GUARDS)},
        "mean_rank": standing.mean_rank,
        "goal": [_tell_verdict(verdict) for verdict in standing.verdicts],
        "goal_met": standing.balanced,
    }


def _tell_verdict(verdict: Verdict) -> dict[str, Any]:
    goal = verdict.goal
    return {"figure": goal.figure, "low": goal.low, "high": goal.high, "value": verdict.value, "met": verdict.met}


def _tell_score(score: PictureScore) -> dict[str, Any]:
    return {
        "set": score.collection,
        "case": score.case,
        "name": score.name,
        "fuser": score.fuser,
        "figures": dict(score.figures),
    }


def _render_comparison(comparison: Comparison) -> list[str]:
    cases = f"case {comparison.cases[0]}" if len(comparison.cases) == 1 else f"{len(comparison.cases)} cases"
    sections = [
        f"## {comparison.collection}: {comparison.pictures} pairs of {cases}\n",
        _render_table(comparison.standings, ("mean rank", *CLASSIC), _tell_metrics),
        _render_table(comparison.standings, _GUARDS, lambda standing: _format_means(standing, _GUARDS)),
    ]
    verdicts = comparison.standings[0].verdicts
    if verdicts:
        titles = ("goal met", *(_title_goal(verdict.goal) for verdict in verdicts))
        sections.append(_render_table(comparison.standings, titles, _tell_goal))
    return sections


def _render_table(
    standings: Sequence[Standing], titles: Sequence[str], tell: Callable[[Standing], Sequence[str]]
) -> str:
    """Aligned, so that it reads as well in a terminal as in a document."""
    rows = [("fuser", *titles), *((standing.fuser, *tell(standing)) for standing in standings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    lines = [_render_row(row, widths) for row in rows]
    return "\n".join([lines[0], rule, *lines[1:], ""])


def _render_row(row: Sequence[str], widths: Sequence[int]) -> str:
    numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return f"| {' | '.join([row[0].ljust(widths[0]), *numbers])} |"


def _tell_metrics(standing: Standing) -> list[str]:
    return [f"{standing.mean_rank:.2f}", *_format_means(standing, CLASSIC)]


def _tell_goal(standing: Standing) -> list[str]:
    met = sum(verdict.met for verdict in standing.verdicts)
    return [f"{met} of {len(standing.verdicts)}", *map(_format_verdict, standing.verdicts)]


def _format_means(standing: Standing, figures: Sequence[str]) -> list[str]:
    return [_format(standing.means.get(figure)) for figure in figures]


def _format_verdict(verdict: Verdict) -> str:
    # A mean just short of its goal must not be printed as the goal itself and called short.
    digits = 3 if verdict.met else 4
    return f"{_format(verdict.value, digits)} {verdict.shortfall}".strip() if verdict.value is not None else _UNMEASURED


def _title_goal(goal: Goal) -> str:
    if goal.low is None:
        return f"{goal.figure} <= {goal.high:g}"
    return f"{goal.figure} >= {goal.low:g}" if goal.high is None else f"{goal.figure} {goal.low:g} to {goal.high:g}"


def _format(value: float | None, digits: int = 3) -> str:
    if value is None:
        return _UNMEASURED
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.{digits}f}"
