"""Philips PET in counts: the factor a viewer makes SUV with goes along, or nobody can make any."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom import Dataset

from fusionnode.capture.build import build_captures
from fusionnode.capture.philips import keep_factors
from fusionnode.capture.registration_object import build_registration
from fusionnode.capture.resampled_pet import build_resampled_pet
from fusionnode.capture.verify import verify_captures
from fusionnode.domain.images import Window
from fusionnode.domain.terms import Unit
from fusionnode.errors import CaptureInvalid
from tests.support.captures import make_request, make_scene_with, with_uptake, write_and_read
from tests.support.tools import validate_object

CREATOR = "Philips PET Private Group"


def state(ds: Dataset, suv: object, activity: object = "12.5", block_number: int = 0x10, vr: str = "DS") -> None:
    """Write the factors as a scanner does, or as a PACS that knows no private VR passes them on."""
    ds.add_new((0x7053, block_number), "LO", CREATOR)
    for offset, value in ((0x00, suv), (0x09, activity)):
        ds.add_new((0x7053, block_number << 8 | offset), vr, value)


def read_factors(ds: Dataset) -> list[float]:
    """As a viewer that knows the group reads them."""
    block = ds.private_block(0x7053, CREATOR)
    return [float(block[offset].value) for offset in (0x00, 0x09)]


def make_counts(suvs: Sequence[object], units: str = "CNTS") -> list[Dataset]:
    scene = make_scene_with("moving", Units=units)
    for index, ds in enumerate(scene.moving):
        suv = suvs[index % len(suvs)]
        state(ds, suv, b"12.5" if isinstance(suv, bytes) else "12.5", vr="UN" if isinstance(suv, bytes) else "DS")
    unit = Unit.CNTS if units == "CNTS" else Unit.BQML
    request = with_uptake(make_request(scene, moving_window=Window(0.0, 8.25, unit)), scale=1.0)
    images = build_resampled_pet(request)
    registration = build_registration(request)
    assert registration is not None
    verify_captures([*build_captures(request), registration, *images], request)
    return images


def test_the_factors_go_along_below_their_creator() -> None:
    for ds in write_and_read(make_counts(["0.000237"])):
        assert read_factors(ds) == [0.000237, 12.5]


@pytest.mark.parametrize("suvs", [["0.000237", "0.000238"], ["0"], ["-1"], [b"nonsense"], ["inf"]])
@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
def test_a_factor_that_is_none_or_not_everywhere_the_same_is_left_out(suvs: list[object]) -> None:
    for ds in make_counts(suvs):
        assert (0x7053, 0x1000) not in ds


@pytest.mark.parametrize("units", ["BQML", "PROPCPS"])
def test_values_in_another_unit_need_no_factor_and_have_none(units: str) -> None:
    scene = make_scene_with("moving", Units=units)
    for header in scene.moving:
        state(header, "0.000237")
    [ds, *_] = build_resampled_pet(with_uptake(make_request(scene)))
    assert not ds.group_dataset(0x7053)


@pytest.mark.parametrize(("block_number", "vr", "value"), [(0x11, "DS", "0.5"), (0x10, "UN", b"0.5 "), (66, "DS", 0.5)])
def test_they_are_found_in_whichever_block_and_without_their_vr(block_number: int, vr: str, value: object) -> None:
    header, ds = Dataset(), Dataset()
    state(header, value, value, block_number, vr)
    keep_factors(ds, [header])
    assert read_factors(ds) == [0.5, 0.5]


def test_the_block_of_another_maker_is_not_theirs() -> None:
    header, ds = Dataset(), Dataset()
    header.add_new((0x7053, 0x0010), "LO", "SOMEBODY ELSE")
    header.add_new((0x7053, 0x1000), "DS", "0.5")
    keep_factors(ds, [header])
    assert not list(ds)


def test_a_wrong_factor_does_not_leave() -> None:
    scene = make_scene_with("moving", Units="CNTS")
    for ds in scene.moving:
        state(ds, "0.000237")
    request = with_uptake(make_request(scene, moving_window=Window(0.0, 8.25, Unit.CNTS)), scale=1.0)
    images = build_resampled_pet(request)
    images[1][0x7053, 0x1000].value = "0.000238"
    registration = build_registration(request)
    assert registration is not None
    with pytest.raises(CaptureInvalid, match="SUV Scale Factor"):
        verify_captures([*build_captures(request), registration, *images], request)


@pytest.mark.system
def test_a_validator_finds_no_error(tmp_path: Path) -> None:
    [ds, *_] = make_counts(["0.000237"])
    assert [line for line in validate_object(ds, tmp_path) if line.startswith("Error")] == []
