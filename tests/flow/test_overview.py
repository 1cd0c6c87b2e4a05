"""The ledger at a glance: whoever is the ledger can tell it, and nothing of it could name a person."""

import dataclasses
import inspect

from fusionnode.flow import overview
from fusionnode.flow.overview import Overview
from fusionnode.flow.ports import Ledger


def test_every_ledger_tells_it() -> None:
    asked = {name for name, _ in inspect.getmembers(Overview, inspect.isfunction) if not name.startswith("_")}
    assert asked <= set(dir(Ledger))
    assert asked


def test_no_field_is_for_a_person() -> None:
    values = [one for _, one in inspect.getmembers(overview, dataclasses.is_dataclass)]
    fields = {field.name for one in values for field in dataclasses.fields(one)}
    assert not {name for name in fields if "patient" in name or "birth" in name or "uid" in name}
