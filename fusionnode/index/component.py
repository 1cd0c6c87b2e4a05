"""Edge: which part of the complex MR signal an image shows, from wherever its vendor says so."""

import re

from pydicom import Dataset

from fusionnode.index.fields import read_text, read_unsigned

GE_CREATOR = 0x00430010
GE_IMAGE_KIND = 0x0043102F
COMPONENT_TAGS: tuple[str | int, ...] = ("ComplexImageComponent", "ImageType", "Modality", GE_CREATOR, GE_IMAGE_KIND)
"""What `read_component` reads."""

_GE_CREATOR_NAME = "GEMS_PARM_01"
_GE_KINDS = {0: "MAGNITUDE", 1: "PHASE", 2: "REAL", 3: "IMAGINARY"}
_WORDS = {
    "MAGNITUDE": re.compile(r"M|M_\w+|MAGNITUDE"),
    "PHASE": re.compile(r"P|PH?_\w+|PHASE|PHASE[ _]MAP"),
    "REAL": re.compile(r"R|R_\w+|REAL"),
    "IMAGINARY": re.compile(r"I|I_\w+|IMAGINARY"),
}


def read_component(ds: Dataset) -> str:
    """Return MAGNITUDE, PHASE, REAL, IMAGINARY or MIXED of an MR image; empty where nothing says.

    Complex Image Component (PS3.3 C.8.13.3.1.1) is asked first, then the third and later values of Image Type, where
    Siemens writes M or P and Philips M_FFE, PHASE MAP and the like, then the private element of GE, whose Image Type
    is the same for all of them.
    """
    if stated := read_text(ds, "ComplexImageComponent").upper():
        return stated
    if read_text(ds, "Modality") != "MR":
        return ""
    words = read_text(ds, "ImageType").upper().split("\\")[2:]
    found = {component for component, spelling in _WORDS.items() if any(map(spelling.fullmatch, words))}
    if found:
        return found.pop() if len(found) == 1 else "MIXED"
    if GE_IMAGE_KIND in ds and read_text(ds, GE_CREATOR) == _GE_CREATOR_NAME:
        return _GE_KINDS.get(read_unsigned(ds, GE_IMAGE_KIND), "")
    return ""
