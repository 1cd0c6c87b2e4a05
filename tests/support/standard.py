"""What the Standard asks of each kind of object, from the tables of PS3.3 that come with highdicom."""

import json
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import Any


@cache
def load_standard(name: str) -> dict[str, Any]:
    """Return a table of the Standard as highdicom ships it: which modules an IOD has, which attributes a module."""
    return dict(json.loads(pkgutil.get_data("highdicom", f"_standard/{name}.json") or b""))


def list_modules(sop_class_uid: str) -> list[tuple[str, str]]:
    """Return name and usage (M, C, U) of each module of the IOD of a storage class, in the order of PS3.3 annex A."""
    iod = load_standard("sop_class_iod_map")[sop_class_uid]
    return [(one["key"], one["usage"]) for one in load_standard("iod_module_map")[iod]]


def list_required(sop_class_uid: str) -> Iterator[tuple[str, str, str]]:
    """Yield module, keyword and type (1 or 2) of what the Standard wants at the top of every object of its IOD."""
    for module, usage in list_modules(sop_class_uid):
        for entry in load_standard("module_attribute_map")[module] if usage == "M" else ():
            if not entry["path"] and entry["type"] in {"1", "2"}:
                yield module, entry["keyword"], entry["type"]
