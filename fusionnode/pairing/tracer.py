"""What was given to the patient, and whether two series certainly show different tracers (middle)."""

from collections.abc import Iterable
from dataclasses import dataclass

from fusionnode.domain.series import InstanceHeader


@dataclass(frozen=True)
class Tracer:
    """What the headers of one series say of its tracer; each set is empty where they say nothing, or several things.

    Attributes:
        nuclides: mass numbers, such as 18 or 99m.
        names: of the radiopharmaceuticals, lower-case letters and digits only.
        windows: energy windows (keV) of an NM object.
    """

    nuclides: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    windows: frozenset[str] = frozenset()

    @property
    def unknown(self) -> int:
        """How many of the three are not known."""
        return sum(not known for known in (self.nuclides, self.names, self.windows))


def read_tracer(images: Iterable[InstanceHeader]) -> Tracer:
    """Return the tracer of a series; instances that disagree tell nothing."""
    known = list(images)
    names = _find_only(known, "Radiopharmaceutical")
    return Tracer(
        nuclides=_find_only(known, "Radionuclide"),
        names=frozenset(filter(None, map(_simplify, names))),
        windows=_find_only(known, "EnergyWindow"),
    )


def are_different(one: Tracer, other: Tracer) -> bool:
    """Whether two series certainly show different tracers; what is absent contradicts nothing.

    They do where they have no nuclide, no name or no energy window in common. A name that is part of the other is the
    same, as in ``FDG`` and ``F-18 FDG``. Of one and the same single nuclide the windows tell nothing: a scatter window
    beside the peak is still the same tracer.
    """
    if _are_apart(one.nuclides, other.nuclides):
        return True
    if one.names and other.names and not any(a in b or b in a for a in one.names for b in other.names):
        return True
    same_nuclide = len(one.nuclides) == 1 and one.nuclides == other.nuclides
    return not same_nuclide and _are_apart(one.windows, other.windows)


def _are_apart(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one) and bool(other) and one.isdisjoint(other)


def _find_only(images: Iterable[InstanceHeader], attribute: str) -> frozenset[str]:
    stated = {value for image in images if (value := image.attributes.get(attribute, ""))}
    return frozenset(stated.pop().split("\\")) if len(stated) == 1 else frozenset()


def _simplify(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
