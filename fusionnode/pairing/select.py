"""Which series fit a role of a pipeline, how well, and why the others do not (middle)."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fusionnode.domain.series import InstanceHeader, Series
from fusionnode.domain.terms import MANUFACTURER, ON_MRI_GRID, UNSETTLED, SeriesState
from fusionnode.pairing.layout import count_places
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
        if reason := explain_unfit(rule, one):
            refused.append((one, reason))
        else:
            chosen.append(score_series(rule, one))
    return chosen, refused


def foresee_series(rule: SeriesRule, series: Iterable[Series]) -> list[Chosen]:
    """Return those of ``series`` that are still arriving and, as far as they have arrived, fit ``rule``, by key.

    How many slices they will have is not known yet, so it is not asked.
    """
    ordered = sorted(series, key=lambda one: (one.key.series_instance_uid, one.key.generation))
    return [
        score_series(rule, one)
        for one in ordered
        if one.state in UNSETTLED and one.instances and not _find_misfit(rule, one) and not find_unmet(rule.where, one)
    ]


def explain_unfit(rule: SeriesRule, series: Series) -> str:
    """Return the first reason why ``series`` cannot take the role of ``rule`` now; empty where it can."""
    if series.state is not SeriesState.COMPLETE or not series.instances:
        return f"is {series.state}, not complete"
    if misfit := _find_misfit(rule, series):
        return misfit
    # What kind of series it is tells more than how many slices it has: a mosaic and a planar image have one.
    if unmet := find_unmet(rule.where, series):
        return unmet
    slices = count_places(series.images)
    return f"has {slices} slice(s), fewer than {rule.min_slices}" if slices < rule.min_slices else ""


def find_unmet(conditions: Sequence[Condition], series: Series) -> str:
    """Return why the first of ``conditions`` that does not hold for ``series`` fails; empty where all hold.

    Values are left out of the words: free text of a header may name a patient.
    """
    return next((describe_condition(condition) for condition in list_unmet(conditions, series)), "")


def list_unmet(conditions: Iterable[Condition], series: Series) -> list[Condition]:
    """Return those of ``conditions`` that do not hold for ``series``, in their order."""
    return [condition for condition in conditions if not _holds(condition, series)]


def score_series(rule: SeriesRule, series: Series) -> Chosen:
    """Add up the preferences of ``rule`` that hold for ``series``."""
    met = [preference for preference in rule.prefer if _holds(preference, series)]
    reasons = tuple(preference.because or spell_test(preference) for preference in met)
    return Chosen(series, math.fsum(preference.weight for preference in met), reasons)


def describe_condition(condition: Condition) -> str:
    """Return the condition's own words, or the test that is not met."""
    return condition.because or f"not met: {spell_test(condition)}"


def spell_test(condition: Condition) -> str:
    """Return the attribute and the expressions that it is tested with."""
    tests = [f"matches {condition.matches!r}"] if condition.matches is not None else []
    tests += [f"excludes {condition.excludes!r}"] if condition.excludes is not None else []
    tests += [f"excludes {condition.excludes_if_all!r} in all"] if condition.excludes_if_all is not None else []
    return f"{condition.attribute} {' and '.join(tests)}"


def name_plane(orientation: Sequence[float] | None) -> str:
    """Return AXIAL, CORONAL or SAGITTAL, whichever is nearest to the plane of six direction cosines; empty for none.

    The patient axis that the normal follows most says which (LPS; PS3.3 C.7.6.2.1.1); of two equal ones the later.
    """
    if orientation is None or len(orientation) != 6 or not all(map(math.isfinite, orientation)):
        return ""
    (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
    normal = (abs(b * f - c * e), abs(c * d - a * f), abs(a * e - b * d))
    if not max(normal):
        return ""
    # Rounded, so that a plane halfway between two has one name whatever the last digit.
    return max(zip((round(one, 3) for one in normal), range(3), ("SAGITTAL", "CORONAL", "AXIAL"), strict=True))[2]


def _find_misfit(rule: SeriesRule, series: Series) -> str:
    """Return what is wrong with the kind of objects; empty where they could be slices of the role."""
    modalities = {one.modality for one in series.images}
    if not modalities <= set(rule.modality):
        return f"modality is {', '.join(sorted(modalities))}, not {' or '.join(rule.modality)}"
    foreign = sorted({one.sop_class_uid for one in series.images} - VOLUME_CLASSES.keys())
    if foreign:
        return f"objects of class {', '.join(foreign)} hold no volume"
    return "was made by fusionnode itself" if any(_is_own(one) for one in series.images) else ""


def _is_own(header: InstanceHeader) -> bool:
    """Whatever a pipeline says: a resampled series lies in the frame of the MRI and would be fused with it again."""
    model, image_type = (header.attributes.get(name, "") for name in ("ManufacturerModelName", "ImageType"))
    return model == MANUFACTURER or ON_MRI_GRID in image_type.split("\\")


def _holds(condition: Condition, series: Series) -> bool:
    values = {_read_value(one, condition.attribute) for one in series.images}
    wanted, unwanted, alone = condition.matches, condition.excludes, condition.excludes_if_all
    return (
        (wanted is None or all(_finds(wanted, value) for value in values))
        and (unwanted is None or not any(_finds(unwanted, value) for value in values))
        and (alone is None or not all(_finds(alone, value) for value in values))
    )


def _read_value(header: InstanceHeader, attribute: str) -> str:
    if attribute == "SlicePlane":
        return name_plane(header.orientation)
    if attribute == "Description":
        return header.attributes.get("SeriesDescription") or header.attributes.get("ProtocolName", "")
    return header.attributes.get(attribute, "")


def _finds(expression: str, value: str) -> bool:
    return re.search(expression, value, re.IGNORECASE) is not None
