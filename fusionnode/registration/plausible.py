"""Judges a motion before anything is fused with it: believed, believed with a warning, or refused (middle)."""

import math
from dataclasses import dataclass, replace

from fusionnode.domain.motion import MotionEstimate, MotionMethod, MotionQuality
from fusionnode.errors import OverlapInsufficient, RegistrationImplausible

# Measured with the brain-rigid preset, on few heads and on the same ones the limits were then set by. Right pairs of
# real FDG PET or perfusion SPECT with MRI gave 0.33, 0.36 and 0.38 nats, simulated ones 0.41 to 0.70, even with much
# noise, a truncated field of view or uptake in the striatum only. Wrong ones: noise 0.00; a ball 0.17 to 0.19; a head
# upside down or back to front 0.16 to 0.23; another patient's head 0.19 to 0.28; the right optimum moved 30 mm aside
# 0.06 to 0.17. So the lower limit refuses what is no head; another patient, and left and right exchanged (0.29 to
# 0.37), are told by the quality.
_LEAST_INFORMATION = 0.21
_USUAL_INFORMATION = 0.30
# Two of five pairs of different patients gained less than this over a rough alignment; right pairs that began below the
# usual information gained 0.09 to 0.17.
_LEAST_GAIN = 0.05
_INFORMATION_NOISE = 0.01
_USUAL_ROTATION_DEG = 20.0
_USUAL_CENTRE_DISTANCE_MM = 40.0
_USUAL_OVERLAP = 0.6
_CHECK_PAIR = "Check that both series show the head of the same patient."
_LOOK = (
    f"{_CHECK_PAIR} Where somebody looks at every pair, `doubt: warn` under `registration` in the pipeline has such "
    "ones fused with a warning."
)


@dataclass(frozen=True)
class _Limit:
    """Below ``least`` (above, where both are negated) a figure is refused, below ``usual`` it is warned of."""

    name: str
    least: float
    usual: float
    sign: int
    sentence: str

    def require(self, quality: MotionQuality) -> None:
        # Written so that what could not be measured is refused too: nothing then speaks for the pair.
        if self._signed(quality) >= self.least or self.least == -math.inf:
            return
        raise RegistrationImplausible(
            self.text(quality), remedy=_LOOK, **{self.name: self._value(quality), "limit": self.sign * self.least}
        )

    def is_usual(self, quality: MotionQuality) -> bool:
        return self._signed(quality) >= self.usual

    def text(self, quality: MotionQuality) -> str:
        value = self._value(quality)
        if math.isnan(value):
            return f"The {self.name.replace('_', ' ')} of the alignment could not be measured."
        return self.sentence.format(value)

    def _signed(self, quality: MotionQuality) -> float:
        return self.sign * self._value(quality)

    def _value(self, quality: MotionQuality) -> float:
        return float(getattr(quality, self.name))


# docs/reference/registration.md has the figures these lie between and the rates of wrong verdicts. How much worse
# alignments 10 mm away fit (sharpness) only warns: in one real right pair they fit better, because there the two
# yardsticks lie 6 mm apart.
_LEAST_MARGIN = 0.06
_LIMITS = (
    _Limit("explained", 0.35, 0.45, 1, "The MRI explains only {:.0%} of the uptake's differences within the head."),
    _Limit(
        "mirror_margin",
        _LEAST_MARGIN,
        0.10,
        1,
        "The functional series fits hardly better than its own mirror image ({:.2f}), as another patient's would.",
    ),
    _Limit("second_opinion_mm", -10.0, -5.0, -1, "A second yardstick would align the two series {:.0f} mm away."),
    _Limit("starts_apart_mm", -8.0, -2.0, -1, "Independent starts end up to {:.0f} mm apart."),
    _Limit("stretch", -0.15, -0.06, -1, "One of the heads would have to be stretched by {:.0%} to fit the other best."),
    _Limit("sharpness", -math.inf, 0.10, 1, "Alignments 10 mm or 10 degrees away fit about as well ({:.2f})."),
)
_UNEXAMINED = "Too little of the head is seen by both series for the alignment to be examined."


def require_plausible(
    estimate: MotionEstimate, *, max_rotation_deg: float, max_centre_distance_mm: float, min_overlap: float
) -> MotionEstimate:
    """Return the estimate, with a warning for every figure in a grey zone.

    A shared frame of reference is judged by its overlap alone: nothing was registered that could have gone astray.

    Args:
        estimate: as `estimate_motion` or `trust_shared_frame` returned it.
        max_rotation_deg: beyond it a head is not believed to have turned.
        max_centre_distance_mm: how far apart the two heads' centres may lie after the motion. The displacement in
            scanner coordinates is not limited: the origins of two frames of reference are arbitrary.
        min_overlap: share of the fixed foreground that the moving series must cover, 0 to 1.

    Raises:
        OverlapInsufficient: the moving series covers too little.
        RegistrationImplausible: the turn or the distance is too large, or the two series agree too little.
    """
    _require_overlap(estimate, min_overlap)
    warnings = list(_warn_of_overlap(estimate))
    if estimate.method is not MotionMethod.SHARED_FRAME:
        _require_limits(estimate, max_rotation_deg, max_centre_distance_mm)
        _require_information(estimate)
        warnings += [*_warn_of_motion(estimate), *_warn_of_information(estimate)]
    return replace(estimate, warnings=(*estimate.warnings, *warnings))


def _require_overlap(estimate: MotionEstimate, min_overlap: float) -> None:
    if estimate.overlap >= min_overlap:
        return
    raise OverlapInsufficient(
        f"The functional series covers {estimate.overlap:.0%} of the anatomy in the MRI; {min_overlap:.0%} are needed.",
        remedy="Pair the MRI with a series of the same body part, or lower min_overlap in the pipeline.",
        found=estimate.overlap,
        limit=min_overlap,
    )


def _require_limits(estimate: MotionEstimate, max_rotation_deg: float, max_centre_distance_mm: float) -> None:
    rotation_deg = estimate.motion.rotation_deg
    if not rotation_deg <= max_rotation_deg:
        raise RegistrationImplausible(
            f"The head would have turned by {rotation_deg:.0f} degrees; at most {max_rotation_deg:.0f} are believed.",
            remedy=_CHECK_PAIR,
            found_deg=rotation_deg,
            limit_deg=max_rotation_deg,
        )
    if not estimate.centre_distance_mm <= max_centre_distance_mm:
        raise RegistrationImplausible(
            f"The heads' centres lie {estimate.centre_distance_mm:.0f} mm apart after registration; "
            f"at most {max_centre_distance_mm:.0f} mm are believed.",
            remedy=_CHECK_PAIR,
            found_mm=estimate.centre_distance_mm,
            limit_mm=max_centre_distance_mm,
        )


def _require_information(estimate: MotionEstimate) -> None:
    """Refuse agreement no better than chance; written so that NaN is refused too."""
    information, gain = estimate.information, estimate.information - estimate.information_at_start
    if not information >= _LEAST_INFORMATION:
        reason = (
            f"The two series agree by {information:.2f} nats only; below {_LEAST_INFORMATION} wrong pairs look alike."
        )
    elif not gain >= -_INFORMATION_NOISE:
        reason = "The two series agree less after registration than before it."
    elif information < _USUAL_INFORMATION and gain < _LEAST_GAIN:
        reason = (
            f"The two series agree by {information:.2f} nats only, and registration gained no more than {gain:.2f}."
        )
    else:
        return
    raise RegistrationImplausible(
        reason, remedy=_CHECK_PAIR, information=information, information_at_start=estimate.information_at_start
    )


def _warn_of_overlap(estimate: MotionEstimate) -> tuple[str, ...]:
    if estimate.overlap >= _USUAL_OVERLAP:
        return ()
    return (f"The functional series covers only {estimate.overlap:.0%} of the anatomy in the MRI.",)


def _warn_of_motion(estimate: MotionEstimate) -> tuple[str, ...]:
    warnings = []
    if estimate.motion.rotation_deg > _USUAL_ROTATION_DEG:
        warnings.append(f"Large rotation between the scans: {estimate.motion.rotation_deg:.0f} degrees.")
    if estimate.centre_distance_mm > _USUAL_CENTRE_DISTANCE_MM:
        warnings.append(f"The heads' centres lie {estimate.centre_distance_mm:.0f} mm apart after registration.")
    return tuple(warnings)


def _warn_of_information(estimate: MotionEstimate) -> tuple[str, ...]:
    if estimate.information >= _USUAL_INFORMATION:
        return ()
    return (f"The two series agree less than usual ({estimate.information:.2f} nats); check the alignment by eye.",)


def require_quality(
    estimate: MotionEstimate, quality: MotionQuality, *, believe_doubtful: bool = False
) -> MotionEstimate:
    """Return the estimate with its quality, and with a warning for every figure in a grey zone.

    Args:
        estimate: as `require_plausible` returned it.
        quality: of its motion.
        believe_doubtful: warn of what is else refused as doubtful; left and right exchanged is refused all the same.

    Raises:
        RegistrationImplausible: another pose, the mirror image or a stretched head fits about as well or better, the
            starts and yardsticks do not agree, or that could not be measured.
    """
    _require_side(quality)
    if not believe_doubtful:
        _require_figures(quality)
    unusual = (_UNEXAMINED,) if math.isnan(quality.explained) else _warn_of_figures(quality)
    return replace(estimate, quality=quality, warnings=(*estimate.warnings, *unusual))


def _require_figures(quality: MotionQuality) -> None:
    if math.isnan(quality.explained):
        raise RegistrationImplausible(_UNEXAMINED, remedy=_LOOK)
    for limit in _LIMITS:
        limit.require(quality)


def _warn_of_figures(quality: MotionQuality) -> tuple[str, ...]:
    return tuple(limit.text(quality) for limit in _LIMITS if not limit.is_usual(quality))


def _require_side(quality: MotionQuality) -> None:
    if not quality.mirror_margin < -_LEAST_MARGIN:
        return
    raise RegistrationImplausible(
        f"The mirror image of the functional series fits better than the series itself ({quality.mirror_margin:.2f}): "
        "left and right seem to be exchanged.",
        remedy="Check the orientation of both series, most of all where one was converted or reconstructed elsewhere.",
        mirror_margin=quality.mirror_margin,
        limit=-_LEAST_MARGIN,
    )
