"""Fusers side by side (middle): means over pictures, mean rank, and a verdict on every figure of the balanced goal."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fusionnode.evaluation.guards import Brightness, measure_flicker
from fusionnode.evaluation.metrics import CLASSIC


@dataclass(frozen=True)
class PictureScore:
    """One fused picture.

    Attributes:
        collection: the set of pairs it belongs to, e.g. PET-MRI.
        modality: of the functional pictures of the set, PET or SPECT.
        case: the slices of one case come from one subject in one plane.
        slice_number: place in the case; None when unknown, and then it takes no part in flicker.
        figures: by name, 8-bit luminance of the displayed picture. One that could not be measured is missing.
    """

    collection: str
    modality: str
    case: str
    name: str
    slice_number: int | None
    fuser: str
    figures: Mapping[str, float]
    brightness: Brightness


@dataclass(frozen=True)
class Goal:
    """The range a mean has to be in; None leaves that end open."""

    figure: str
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Verdict:
    """What became of a goal. ``value`` is None where the figure could not be measured, and then it is not met."""

    goal: Goal
    value: float | None

    @property
    def shortfall(self) -> str:
        """``low``, ``high``, ``unmeasured``, or nothing where the goal is met."""
        if self.value is None:
            return "unmeasured"
        if self.goal.low is not None and self.value < self.goal.low:
            return "low"
        return "high" if self.goal.high is not None and self.value > self.goal.high else ""

    @property
    def met(self) -> bool:
        """Whether the mean is in the range."""
        return not self.shortfall


@dataclass(frozen=True)
class Standing:
    """One fuser on one set of pairs.

    Attributes:
        means: by figure, over the pictures in which it could be measured; flicker is over the cases' runs of slices.
        mean_rank: over the ten classic metrics among the fusers of the table, 1 the best; ties share.
        verdicts: one per figure of the balanced goal; none where the set's modality has no goal.
    """

    fuser: str
    means: Mapping[str, float]
    mean_rank: float
    verdicts: tuple[Verdict, ...]

    @property
    def balanced(self) -> bool:
        """Whether the whole goal is met."""
        return bool(self.verdicts) and all(verdict.met for verdict in self.verdicts)


@dataclass(frozen=True)
class Comparison:
    """All fusers on one set of pairs, best mean rank first."""

    collection: str
    modality: str
    cases: tuple[str, ...]
    pictures: int
    standings: tuple[Standing, ...]


_GUARDED = (Goal("haze", None, 1.0), Goal("saturation", None, 0.02), Goal("readback", 0.97, None))

GOALS: Mapping[str, tuple[Goal, ...]] = {
    "PET": (
        Goal("Qabf", 0.74, None),
        Goal("VIF", 0.72, None),
        Goal("SSIM", 0.70, None),
        Goal("SCD", 1.5, None),
        Goal("CC", 0.83, None),
        Goal("CCf", 0.70, None),
        Goal("ag_ratio", 0.86, 1.05),
        *_GUARDED,
    ),
    "SPECT": (
        Goal("Qabf", 0.72, None),
        Goal("VIF", 0.72, None),
        Goal("SSIM", 0.72, None),
        Goal("SCD", 1.45, None),
        Goal("CC", 0.88, None),
        Goal("CCf", 0.78, None),
        Goal("ag_ratio", 0.85, 1.05),
        *_GUARDED,
    ),
}
"""Functional modality → the balanced goal: all of it at once, on cases that no network was trained on.

A picture that meets one of these figures and not the others has traded away what the others measure.
"""


def compare_fusers(scores: Iterable[PictureScore]) -> tuple[Comparison, ...]:
    """Set every fuser beside every other, set by set, in the order the sets come.

    Raises:
        ValueError: the fusers of a set were not measured on the same pictures.
    """
    grouped: dict[str, dict[str, list[PictureScore]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        grouped[score.collection][score.fuser].append(score)
    return tuple(_compare_collection(name, by_fuser) for name, by_fuser in grouped.items())


def rank_means(means: Mapping[str, Mapping[str, float]], figures: Sequence[str] = CLASSIC) -> dict[str, float]:
    """Mean rank of each fuser over the figures, more being better; 1 is the best, and ties share the mean place.

    Args:
        means: fuser → figure → value.
        figures: those to rank by; each fuser has all of them.
    """
    return {
        fuser: sum(_rank(own[figure], [other[figure] for other in means.values()]) for figure in figures) / len(figures)
        for fuser, own in means.items()
    }


def judge(means: Mapping[str, float], modality: str) -> tuple[Verdict, ...]:
    """One verdict for every figure of the modality's goal; none for a modality without one."""
    return tuple(Verdict(goal, means.get(goal.figure)) for goal in GOALS.get(modality, ()))


def _compare_collection(name: str, by_fuser: Mapping[str, Sequence[PictureScore]]) -> Comparison:
    pictures = {fuser: sorted(score.name for score in scores) for fuser, scores in by_fuser.items()}
    measured = next(iter(pictures.values()))
    if any(other != measured for other in pictures.values()):
        raise ValueError(f"the fusers of {name} were not measured on the same pictures")
    means = {fuser: _average(scores) for fuser, scores in by_fuser.items()}
    ranks = rank_means(means)
    scores = next(iter(by_fuser.values()))
    modality = scores[0].modality
    standings = [Standing(fuser, own, ranks[fuser], judge(own, modality)) for fuser, own in means.items()]
    return Comparison(
        collection=name,
        modality=modality,
        cases=tuple(dict.fromkeys(score.case for score in scores)),
        pictures=len(scores),
        standings=tuple(sorted(standings, key=lambda standing: (standing.mean_rank, standing.fuser))),
    )


def _average(scores: Sequence[PictureScore]) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        for figure, value in score.figures.items():
            values[figure].append(value)
    means = {figure: sum(own) / len(own) for figure, own in values.items()}
    flicker = measure_flicker(_find_runs(scores))
    return means if flicker is None else {**means, "flicker": flicker}


def _find_runs(scores: Sequence[PictureScore]) -> list[list[Brightness]]:
    """Slices of one case that follow each other without a gap."""
    numbered = [
        (score.case, score.slice_number, score.brightness) for score in scores if score.slice_number is not None
    ]
    runs: list[list[Brightness]] = []
    previous: tuple[str, int] | None = None
    for case, number, brightness in sorted(numbered, key=lambda entry: entry[:2]):
        if previous != (case, number - 1):
            runs.append([])
        runs[-1].append(brightness)
        previous = (case, number)
    return runs


def _rank(value: float, values: Sequence[float]) -> float:
    better = sum(other > value for other in values)
    level = sum(other == value for other in values)
    return better + (level + 1) / 2
