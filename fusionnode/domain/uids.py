"""DICOM unique identifiers as distinct types, checked at the door and derived, never drawn."""

import re
import uuid
from typing import NewType

from fusionnode import __version__
from fusionnode.domain.terms import MANUFACTURER
from fusionnode.errors import UidMalformed

SeriesInstanceUID = NewType("SeriesInstanceUID", str)
SopInstanceUID = NewType("SopInstanceUID", str)

_COMPONENTS = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_OTHERS = re.compile(r"[^0-9.]")
_NAMESPACE = uuid.UUID("6f1c3d1e-53a5-4d0f-9a7e-0e6d2f6b9c51")


def parse_uid(text: str) -> str:
    """Return ``text`` if it is a valid UID (PS3.5 section 9.1): digits and dots, at most 64 characters.

    Raises:
        UidMalformed: otherwise. Of the offending text only digits and dots are told, for some put a name there.
    """
    if len(text) > 64 or not _COMPONENTS.fullmatch(text):
        shown = _OTHERS.sub("?", text[:80])
        raise UidMalformed(
            f"{shown!r} is not a DICOM UID.",
            remedy="Ask the sender to follow PS3.5 section 9.1.",
            uid=shown,
        )
    return text


def derive_uid(*parts: str) -> str:
    """Return the same UID for the same ``parts``, always: a name-based UUID under 2.25 (PS3.5 B.2)."""
    name = "\x1f".join(parts)
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"


IMPLEMENTATION_CLASS_UID = derive_uid("fusionnode", "implementation")
"""What this program calls itself in associations and in the files it writes (PS3.7 section D.3.3.2)."""


def name_implementation(software_version: str = __version__) -> str:
    """Return the Implementation Version Name that goes with it: at most 16 characters (PS3.7 section D.3.3.2.4)."""
    return f"{MANUFACTURER.upper()} {software_version}"[:16]


IMPLEMENTATION_VERSION_NAME = name_implementation()


IMPLEMENTATION_VERSION_NAME = name_implementation()
