"""The tables of the conformance statement about the objects that are made: attributes by module, sources of values."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

from pydicom import Dataset
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_description, tag_for_keyword

from fusionnode.capture.inherit import inherit_character_set
from tests.support.standard import list_modules, load_standard
from tests.support.written_attributes import KINDS, Written, find_class, measure

_BEYOND = "beyond the IOD"
_WORDS = {"sc": "SC", "pet": "PET", "nm": "NM", "icc": "ICC", "sop": "SOP", "voi": "VOI", "lut": "LUT", "tomo": "TOMO"}
_SMALL = {"of", "and"}
_NAMES = {
    "nm-pet-patient-orientation": "NM/PET Patient Orientation",
    "multi-frame": "Multi-frame",
    "multi-frame-dimension": "Multi-frame Dimension",
    "multi-frame-true-color-secondary-capture-image-multi-frame-functional-groups": "Multi-frame Functional Groups",
    "nm-multi-frame": "NM Multi-frame",
    _BEYOND: "Beyond the IOD",
}
_HEADING = ("Attribute", "Tag", "Presence", "Source", "Value")


def _list_objects() -> Iterator[Sequence[str]]:
    """What is made, in which class, and how many modules it fills."""
    yield "object", "SOP class", "UID", "modules filled"
    for kind in KINDS:
        modules = dict.fromkeys(_find_module(kind, one) for one in measure(kind))
        filled = [_spell(name) for name, _ in list_modules(find_class(kind)) if name in modules]
        yield kind, find_class(kind).name, f"`{find_class(kind)}`", ", ".join(filled)


def _list_common() -> Iterator[Sequence[str]]:
    yield _HEADING
    yield from _render(sorted(_find_common(), key=_order), lambda one: _find_module(KINDS[0], one), KINDS[0])


def _list_own(kind: str) -> Iterator[Sequence[str]]:
    yield _HEADING
    common = _find_common()
    yield from _render([one for one in measure(kind) if one not in common], partial(_find_module, kind), kind)


def _list_character_sets() -> Iterator[Sequence[str]]:
    """Which terms an object takes over from its MRI."""
    yield "Specific Character Set of the MRI", "that of the objects"
    kept: dict[bool, list[str]] = {True: [], False: []}
    for term in sorted(filter(None, python_encoding)):
        source, target = Dataset(), Dataset()
        source.SpecificCharacterSet = ["", term] if term.startswith("ISO 2022") else term
        inherit_character_set(target, source)
        kept["SpecificCharacterSet" in target].append(f"`{term}`")
    yield ", ".join(kept[True]), "the same"
    yield f"{', '.join(kept[False])}, and whatever else", "none: the default repertoire"


def _list_beyond() -> Iterator[Sequence[str]]:
    """What makes an object a Standard Extended one."""
    yield "object", "attributes beyond its IOD"
    for kind in KINDS:
        extra = [one for one in measure(kind) if len(one.path) == 1 and _find_module(kind, one) == _BEYOND]
        yield kind, ", ".join(f"{dictionary_description(one.path[0])} {_tag(one)}" for one in extra) or "none"


@cache
def _find_common() -> frozenset[Written]:
    """What every object carries alike, sequences with all that is in them."""
    counts = Counter(one for kind in KINDS for one in set(measure(kind)))
    alike = {one for one, count in counts.items() if count == len(KINDS)}
    apart = {one.path[0] for kind in KINDS for one in measure(kind) if one not in alike}
    return frozenset(one for one in alike if one.path[0] not in apart)


def _render(rows: list[Written], find_module: Callable[[Written], str], kind: str) -> Iterator[Sequence[str]]:
    order = [name for name, _ in list_modules(find_class(kind))]
    rank = {name: place for place, name in enumerate([*order, _BEYOND])}
    module = ""
    for one in sorted(rows, key=lambda one: (rank[find_module(one)], _order(one))):
        if find_module(one) != module:
            module = find_module(one)
            yield f"**{_spell(module)}**", "", "", "", ""
        depth = "&gt;" * (len(one.path) - 1)
        value = f"`{one.value}`" if one.value else ""
        yield f"{depth}{dictionary_description(one.path[-1])}", _tag(one), one.presence, ", ".join(one.sources), value


def _find_module(kind: str, one: Written) -> str:
    """The first module of the IOD that has the attribute at the top of the path."""
    return _map_modules(kind).get(one.path[0], _BEYOND)


@cache
def _map_modules(kind: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, _ in list_modules(find_class(kind)):
        for entry in load_standard("module_attribute_map")[name]:
            if not entry["path"]:
                found.setdefault(entry["keyword"], name)
    return found


def _order(one: Written) -> list[int]:
    return [tag_for_keyword(keyword) or 0 for keyword in one.path]


def _tag(one: Written) -> str:
    tag = tag_for_keyword(one.path[-1]) or 0
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _spell(module: str) -> str:
    if module in _NAMES:
        return _NAMES[module]
    return " ".join(_WORDS.get(word, word if word in _SMALL else word.capitalize()) for word in module.split("-"))


OBJECT_TABLES: dict[str, Callable[[], Iterator[Sequence[str]]]] = {
    "objects": _list_objects,
    "every object": _list_common,
    **{kind: partial(_list_own, kind) for kind in KINDS},
    "beyond the IOD": _list_beyond,
    "character sets": _list_character_sets,
}
