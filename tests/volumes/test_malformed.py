"""Whatever stands in an attribute, a series becomes a finite volume or is refused by name; nothing else comes out.

Every attribute of one complete object of each kind is spoiled in turn, as bytes that a file may hold.
"""

import copy
import random
import struct
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from fusionnode.errors import Refused
from fusionnode.volumes.assemble import assemble_volume
from tests.support.datasets import Layout, make_mr_series, make_nm_recon, make_pt_series
from tests.support.enhanced import make_enhanced_mr, make_enhanced_pet, wrap

LAYOUT = Layout(slices=2, rows=3, columns=2)
WIDTHS = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "AT": 4, "FL": 4, "FD": 8}
TEXTS = (
    b"",
    b"abc ",
    b"NaN ",
    b"-inf",
    b"1e400 ",
    b"-1",
    b"0 ",
    b"1.5 ",
    b"1E-320",
    b"99999999999999999999",
    b"1\\2\\3\\4\\5\\6\\7\\8 ",
    b"\\ ",
    b"\xff\xfe",
)

Path = tuple[BaseTag, ...]


def _make_mr() -> list[Dataset]:
    series = make_mr_series(LAYOUT)
    for ds in series:
        ds.TemporalPositionIdentifier, ds.AcquisitionNumber, ds.TriggerTime, ds.SequenceName = 1, 1, "3", "*tfl3d"
        ds.RescaleSlope, ds.RescaleIntercept, ds.DiffusionBValue = "1", "0", 0.0
    return series


def _make_pet() -> list[Dataset]:
    series = make_pt_series(LAYOUT)
    for ds in series:
        ds.TimezoneOffsetFromUTC, ds.PixelPaddingValue, ds.PixelPaddingRangeLimit = "+0100", -9, -8
    return series


def _make_enhanced_mr() -> list[Dataset]:
    ds = make_enhanced_mr(make_mr_series(LAYOUT))
    for frame in ds.PerFrameFunctionalGroupsSequence:
        frame.MRDiffusionSequence, frame.MRModifierSequence = wrap(DiffusionBValue=0.0), wrap(InversionTimes=[900.0])
        (content,) = frame.FrameContentSequence
        content.TemporalPositionIndex = content.FrameAcquisitionNumber = 1
        frame.UnassignedPerFrameConvertedAttributesSequence = wrap(TriggerTime="3", EchoTime="2")
    return [ds]


def _make_enhanced_pet() -> list[Dataset]:
    return [make_enhanced_pet(make_pt_series(LAYOUT))]


def _make_nm() -> list[Dataset]:
    ds = make_nm_recon(LAYOUT)
    ds.EnergyWindowVector = ds.DetectorVector = ds.TimeSlotVector = [1, 1]
    ds.EnergyWindowInformationSequence = wrap(EnergyWindowName="Tc99m")
    ds.RescaleSlope, ds.RescaleIntercept, ds.PixelPaddingValue = "1", "0", 0
    return [ds]


KINDS = {
    "classic MR": _make_mr,
    "classic PET": _make_pet,
    "enhanced MR": _make_enhanced_mr,
    "enhanced PET": _make_enhanced_pet,
    "NM": _make_nm,
}


def _list_paths(ds: Dataset, before: Path = ()) -> Iterator[tuple[Path, str]]:
    for element in ds:
        path = (*before, element.tag)
        yield path, str(element.VR)
        if element.VR == "SQ" and element.value:
            yield from _list_paths(element.value[0], path)


def _list_stored(vr: str) -> list[bytes]:
    if vr not in WIDTHS:
        return list(TEXTS) if vr in ("DS", "IS") else [b"", b"abc ", b"-1", b"1\\2\\3\\4 ", b"\xff\xfe"]
    width = WIDTHS[vr]
    odd = [struct.pack("<d", number) for number in (np.nan, np.inf, -1.0, 1e308)] if vr == "FD" else [b"\0\x80" * width]
    return [b"", b"\1" * (width - 1), b"\1" * (width + 1), b"\0" * width, b"\xff" * width, b"\1" * width * 3, *odd]


def _list_spoils(series: list[Dataset]) -> Iterator[tuple[Path, str, Callable[[Dataset, BaseTag], None]]]:
    for path, vr in _list_paths(series[0]):
        stored = _list_stored(vr) if vr not in ("SQ", "OW") else [b""]
        yield path, "absent", Dataset.__delitem__
        for value in stored:
            yield path, f"{vr} {value[:20]!r}", lambda ds, tag, vr=vr, value=value: _store(ds, tag, vr, value)
        if vr == "SQ":
            yield path, "text", lambda ds, tag: _store(ds, tag, "LO", b"text")
            yield path, "an empty item", lambda ds, tag: setattr(ds[tag], "value", [Dataset()])


def _store(ds: Dataset, tag: BaseTag, vr: str, value: bytes) -> None:
    ds[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)


def _spoil(ds: Dataset, path: Path, change: Callable[[Dataset, BaseTag], None]) -> None:
    for tag in path[:-1]:
        ds = ds[tag].value[0]
    change(ds, path[-1])


def _try(series: list[Dataset]) -> str:
    """Empty where a finite volume or a named refusal came out."""
    try:
        volume = assemble_volume(series)
    except Refused as refusal:
        return "" if refusal.remedy else "refused without a remedy"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finite = np.isfinite(volume.voxels).all() and np.isfinite(volume.grid.patient_from_index).all()
    return "" if finite else "not finite"


@pytest.mark.parametrize("kind", KINDS)
def test_a_spoiled_attribute_never_ends_in_a_bare_error(kind: str) -> None:
    series, chance = KINDS[kind](), random.Random(kind)
    assert not _try(copy.deepcopy(series))
    found = []
    for path, what, change in _list_spoils(series):
        # One slice, or all of them alike.
        spoiled = [copy.deepcopy(ds) for ds in series[: chance.choice((1, len(series)))]]
        for ds in spoiled:
            _spoil(ds, path, change)
        if word := _try([*spoiled, *series[len(spoiled) :]]):
            found.append(f"{'.'.join(keyword_for_tag(tag) for tag in path)}, {what}: {word}")
    assert found == []
