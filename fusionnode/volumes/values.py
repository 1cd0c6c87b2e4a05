"""Values of attributes as a file may really hold them: absent, empty, of another kind, or no value at all (middle).

pydicom converts a value when it is first asked for, so malformed bytes raise there, with many kinds of error.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items

from fusionnode.errors import DatasetUnreadable
from fusionnode.malformed import MALFORMED


def read_value(ds: Dataset, keyword: str) -> Any:
    """Return a value as pydicom converts it, None where it is absent.

    Raises:
        DatasetUnreadable: it cannot be converted.
    """
    try:
        return ds.get(keyword)
    except MALFORMED as cause:
        raise _make_unreadable(keyword, "a value of its kind") from cause


def read_text(ds: Dataset, keyword: str) -> str:
    """Return a value as text, empty where it is absent; of several values, all.

    Raises:
        DatasetUnreadable: it is a sequence, whose items may be anything, or cannot be converted.
    """
    value = read_value(ds, keyword)
    if isinstance(value, Items):
        raise _make_unreadable(keyword, "text")
    return "" if value is None else str(value)


def read_items(ds: Dataset, keyword: str) -> Sequence[Dataset]:
    """Return the items of a sequence, none where it is absent.

    Raises:
        DatasetUnreadable: it is no sequence.
    """
    value = read_value(ds, keyword)
    if value is None or value == "":
        return []
    if not isinstance(value, Items):
        raise _make_unreadable(keyword, "a sequence")
    return value


def read_numbers(ds: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return the ``count`` finite numbers of an attribute, or None where it is absent or empty.

    Raises:
        DatasetUnreadable: it holds something else.
    """
    try:
        numbers = tuple(float(item) for item in _list_values(ds, keyword))
    except MALFORMED as cause:
        raise _make_unreadable(keyword, "the numbers the Standard asks for") from cause
    if not numbers:
        return None
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise _make_unreadable(keyword, "the numbers the Standard asks for")
    return numbers


def read_integers(ds: Dataset, keyword: str) -> list[int]:
    """Return all whole numbers of an attribute, none where it is absent or empty.

    Raises:
        DatasetUnreadable: it holds something else.
    """
    try:
        numbers = [(int(item), float(item)) for item in _list_values(ds, keyword)]
    except MALFORMED as cause:
        raise _make_unreadable(keyword, "whole numbers") from cause
    if any(whole != number for whole, number in numbers):
        raise _make_unreadable(keyword, "whole numbers")
    return [whole for whole, _ in numbers]


def spell_value(ds: Dataset, keyword: str) -> str:
    """Return a value as text, several ones joined with a backslash; empty where it is absent.

    Raises:
        DatasetUnreadable: it cannot be converted.
    """
    return "\\".join(str(item) for item in _list_values(ds, keyword))


def _list_values(ds: Dataset, keyword: str) -> list[Any]:
    value = read_value(ds, keyword)
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple | MultiValue) else [value]


def _make_unreadable(keyword: str, wanted: str) -> DatasetUnreadable:
    return DatasetUnreadable(f"{keyword} does not hold {wanted}.", remedy="Ask the sender.", keyword=keyword)
