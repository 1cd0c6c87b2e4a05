"""Faults: nothing happens unless a test arms one, and every point is one that the product really passes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusionnode import faults
from fusionnode.faults import FaultPoint, arm, reach

PACKAGE = Path(faults.__file__).parent


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm(None)


def test_a_point_that_nobody_armed_does_nothing() -> None:
    for point in FaultPoint:
        reach(point)


def test_whoever_armed_it_hears_of_every_point() -> None:
    heard: list[FaultPoint] = []
    arm(heard.append)
    reach(FaultPoint.JOB_ENTERED)
    reach(FaultPoint.RESULT_WRITTEN)
    arm(None)
    reach(FaultPoint.RESULT_WRITTEN)
    assert heard == [FaultPoint.JOB_ENTERED, FaultPoint.RESULT_WRITTEN]


def test_every_point_is_reached_in_one_place_and_nothing_in_the_product_arms_one() -> None:
    text = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "faults.py")
    assert sorted(re.findall(r"reach\(FaultPoint\.(\w+)\)", text)) == sorted(point.name for point in FaultPoint)
    assert not re.search(r"\barm\(", text)
