"""Which series fit a role of a pipeline, how well, and why the others do not (middle)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fusionnode.domain.series import Series
from fusionnode.domain.terms import SeriesState
from fusionnode.pairing.settle import VOLUME_CLASSES
from fusionnode.pipeline.schema import Condition, SeriesRule


@dataclass(frozen=True)
class Chosen:
    """A series that fits a role.

    Attributes:
        preference_score: sum of the weights of the preferences that hold; comparable only within one rule.
        reasons: one line for each preference that holds.
    """

    series: Series
    preference_score: float
    reasons: tuple[str, ...] = ()


def select_series(rule: SeriesRule, series: Iterable[Series]) -> tuple[list[Chosen], list[tuple[Series, str]]]:
    """Split ``series`` into those that fit ``rule`` and the others, each with the first reason against it.

    Both lists are ordered by series key, whatever the order of ``series``. Only complete series of a class that can
    become a volume ever fit, so that a fused series never is the source of another.
    """
    chosen: list[Chosen] = []
    refused: list[tuple[Series, str]] = []
    for one in sorted(series, key=lambda one: (one.key.series_instance_uid, one.key.generation)):
        if reason := _find_obstacle(rule, one):
            refused.append((one, reason))
        else:
            chosen.append(_score_series(rule, one))
    return chosen, refused


def find_unmet(conditions: Sequence[Condition], series: Series) -> str:
    """Return why the first of ``conditions`` that does not hold for ``series`` fails; empty where all hold.

    Values are left out of the words: free text of a header may name a patient.
    """
    return next((_describe(condition) for condition in conditions if not _holds(condition, series)), "")


def _find_obstacle(rule: SeriesRule, series: Series) -> str:
    if series.state is not SeriesState.COMPLETE or not series.instances:
        return f"is {series.state}, not complete"
    modalities = {one.modality for one in series.instances}
    if not modalities <= set(rule.modality):
        return f"modality is {', '.join(sorted(modalities))}, not {' or '.join(rule.modality)}"
    foreign = sorted({one.sop_class_uid for one in series.instances} - VOLUME_CLASSES.keys())
    if foreign:
        return f"objects of class {', '.join(foreign)} hold no volume"
    if series.frames < rule.min_slices:
        return f"has {series.frames} slice(s), fewer than {rule.min_slices}"
    return find_unmet(rule.where, series)


def _score_series(rule: SeriesRule, series: Series) -> Chosen:
    met = [preference for preference in rule.prefer if _holds(preference, series)]
    reasons = tuple(preference.because or _spell_test(preference) for preference in met)
    return Chosen(series, sum(preference.weight for preference in met), reasons)


def _holds(condition: Condition, series: Series) -> bool:
    values = {one.attributes.get(condition.attribute, "") for one in series.instances}
    wanted, unwanted = condition.matches, condition.excludes
    return (wanted is None or all(_finds(wanted, value) for value in values)) and (
        unwanted is None or not any(_finds(unwanted, value) for value in values)
    )


def _finds(expression: str, value: str) -> bool:
    return re.search(expression, value, re.IGNORECASE) is not None


def _describe(condition: Condition) -> str:
    return condition.because or f"not met: {_spell_test(condition)}"


def _spell_test(condition: Condition) -> str:
    tests = [f"matches {condition.matches!r}"] if condition.matches is not None else []
    tests += [f"excludes {condition.excludes!r}"] if condition.excludes is not None else []
    return f"{condition.attribute} {' and '.join(tests)}"
