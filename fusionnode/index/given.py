"""Edge: what was given to the patient and in which energy windows it was seen, from PET and NM headers."""

import re

from pydicom import Dataset

from fusionnode.index.fields import read_decimals, read_items, read_text, read_unsigneds

GIVEN_TAGS = ("RadiopharmaceuticalInformationSequence", "EnergyWindowInformationSequence", "EnergyWindowVector")
"""What the functions here read."""

# The mass number of "^99m^Technetium", "Tc-99m", "F^18^" or "Iodine-123"; an m that begins a name (Mn, Mo) is no state.
_MASS = re.compile(r"\d{1,3}(?:m(?![ano]))?")


def read_radionuclides(ds: Dataset) -> str:
    """Return the mass numbers of the nuclides given, such as ``18`` or ``99m``, each once; empty where none is named.

    Several are joined with a backslash.

    They are read from the Code Meaning (PS3.3 C.8.9.2, C.8.4.10), because the codes of one nuclide differ from scheme
    to scheme and vendors make up their own.
    """
    codes = [code for item in _list_given(ds) for code in read_items(item, "RadionuclideCodeSequence")]
    meanings = [re.sub(r"[^0-9A-Za-z]", "", read_text(code, "CodeMeaning")) for code in codes]
    return "\\".join(sorted({found[0] for meaning in meanings if (found := _MASS.search(meaning))}))


def read_radiopharmaceuticals(ds: Dataset) -> str:
    """Return the names of what was given: Radiopharmaceutical (0018,0031), or else the meaning of its code."""
    names = [read_text(item, "Radiopharmaceutical") or _read_meaning(item) for item in _list_given(ds)]
    return "\\".join(dict.fromkeys(name for name in names if name))


def read_energy_windows(ds: Dataset) -> str:
    """Return the windows that the frames were acquired in, such as ``126-154``, in whole keV, ascending and each once.

    Where Energy Window Vector (PS3.3 C.8.4.8) is there only those it points at count: an object may describe all of
    its examination.
    """
    items = read_items(ds, "EnergyWindowInformationSequence")
    used = {number for number in read_unsigneds(ds, "EnergyWindowVector") if 0 < number <= len(items)}
    windows = [item for number, item in enumerate(items, 1) if number in used or not used]
    ranges = [one for window in windows for one in read_items(window, "EnergyWindowRangeSequence")]
    limits = {limit for one in ranges if (limit := _read_limits(one))}
    return "\\".join(f"{low}-{high}" for low, high in sorted(limits))


def _list_given(ds: Dataset) -> list[Dataset]:
    return read_items(ds, "RadiopharmaceuticalInformationSequence")


def _read_meaning(item: Dataset) -> str:
    meanings = (read_text(code, "CodeMeaning") for code in read_items(item, "RadiopharmaceuticalCodeSequence"))
    return next(filter(None, meanings), "")


def _read_limits(one: Dataset) -> tuple[int, int] | None:
    low, high = (read_decimals(one, f"EnergyWindow{end}Limit", 1) for end in ("Lower", "Upper"))
    return (round(low[0]), round(high[0])) if low and high else None
