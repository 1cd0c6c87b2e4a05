"""Finds a destination by the name that pipelines use (edge)."""

from collections.abc import Mapping
from typing import TypeVar

from fusionnode.errors import SettingsInvalid

Found = TypeVar("Found")


def find_destination(known: Mapping[str, Found], name: str) -> Found:
    """Return what ``known`` has under ``name``.

    Raises:
        SettingsInvalid: the site file names no such destination.
    """
    try:
        return known[name]
    except KeyError:
        raise SettingsInvalid(
            f"There is no destination {name!r}.",
            remedy="Add it to `destinations` in the site file, or take it out of the pipeline.",
            destination=name,
            known=sorted(known),
        ) from None
