"""The tree of errors: what the docstring shows is what there is, and every error says what to do."""

import inspect
import re

import pytest

from fusionnode import errors
from fusionnode.errors import FusionNodeError, Misconfigured, Refused, Unavailable

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]
KINDS = (Refused, Unavailable, Misconfigured)


def read_tree() -> dict[str, set[str]]:
    """Return the class names under each kind, as the module's docstring draws them."""
    tree: dict[str, set[str]] = {}
    kind = ""
    assert errors.__doc__ is not None
    for line in errors.__doc__.splitlines():
        if kind and not line.strip():
            break
        if heading := re.match(r" {4}[├└]── (\w+)", line):
            kind = heading[1]
            tree[kind] = set()
        elif kind and (branch := re.match(r"[\s│├└─]+(\w.*)", line)):
            tree[kind] |= set(re.findall(r"\w+", branch[1]))
    return tree


def test_the_docstring_draws_exactly_the_classes_there_are() -> None:
    drawn = read_tree()
    assert drawn.keys() == {kind.__name__ for kind in KINDS}
    for kind in KINDS:
        assert drawn[kind.__name__] == {cls.__name__ for cls in CLASSES if issubclass(cls, kind) and cls is not kind}


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls is not FusionNodeError])
def test_every_error_is_of_exactly_one_kind_and_explains_itself(cls: type[FusionNodeError]) -> None:
    assert sum(issubclass(cls, kind) for kind in KINDS) == 1
    assert cls.__doc__
    assert cls("x").code == cls.__name__


def test_facts_and_remedy_travel_with_the_error() -> None:
    error = errors.SeriesMixed("Two echoes.", remedy="Choose one.", series="1.2.3", echoes=2)
    assert str(error) == "Two echoes. Choose one."
    assert error.facts == {"series": "1.2.3", "echoes": 2}
    assert str(errors.SpoolFull("Full.")) == "Full."
