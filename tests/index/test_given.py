"""What was given to the patient, as scanners write it."""

import pytest
from pydicom import Dataset

from fusionnode.index.given import read_energy_windows, read_radionuclides, read_radiopharmaceuticals
from tests.support.raw import make_raw


def nest(ds: Dataset, keyword: str, items: list[Dataset]) -> Dataset:
    ds.add_new(keyword, "SQ", items)
    return ds


def give(meaning: str = "", name: str = "", code: str = "") -> Dataset:
    item = make_raw({"Radiopharmaceutical": name}) if name else Dataset()
    if meaning:
        nest(item, "RadionuclideCodeSequence", [make_raw({"CodeMeaning": meaning})])
    return nest(item, "RadiopharmaceuticalCodeSequence", [make_raw({"CodeMeaning": code})]) if code else item


def make_given(*items: Dataset) -> Dataset:
    return nest(Dataset(), "RadiopharmaceuticalInformationSequence", list(items))


@pytest.mark.parametrize(
    ("meaning", "mass"),
    [
        ("^18^Fluorine", "18"),
        ("18F", "18"),
        ("F-18", "18"),
        ("F^18^", "18"),
        ("^99m^Technetium", "99m"),
        ("Technetium Tc 99m", "99m"),
        ("Tc-99m", "99m"),
        ("99mTc", "99m"),
        ("Iodine-123", "123"),
        ("^68^Germanium", "68"),
        ("99Molybdenum", "99"),
        ("Fluorine", ""),
    ],
)
def test_a_nuclide_is_known_by_its_mass_number(meaning: str, mass: str) -> None:
    assert read_radionuclides(make_given(give(meaning))) == mass


def test_everything_given_counts_once() -> None:
    both = make_given(give("Tc-99m", "HMPAO"), give("^123^Iodine", code="Ioflupane"), give("99mTc", "HMPAO"))
    assert read_radionuclides(both) == "123\\99m"
    assert read_radiopharmaceuticals(both) == "HMPAO\\Ioflupane"


@pytest.mark.parametrize("ds", [Dataset(), make_given(), make_given(Dataset(), give())])
def test_where_nothing_is_told_nothing_is_known(ds: Dataset) -> None:
    assert (read_radionuclides(ds), read_radiopharmaceuticals(ds), read_energy_windows(ds)) == ("", "", "")


def window(*limits: tuple[str, str]) -> Dataset:
    ranges = [make_raw({"EnergyWindowLowerLimit": low, "EnergyWindowUpperLimit": high}) for low, high in limits]
    return nest(Dataset(), "EnergyWindowRangeSequence", ranges)


def test_windows_are_those_that_the_frames_were_acquired_in() -> None:
    windows = [window(("126.4", "153.6")), window(("143", "175"), ("90", "120.0")), window(("bad", "1"))]
    ds = nest(Dataset(), "EnergyWindowInformationSequence", windows)
    assert read_energy_windows(ds) == "90-120\\126-154\\143-175"
    for number, expected in ((1, "126-154"), (2, "90-120\\143-175"), (3, ""), (7, "90-120\\126-154\\143-175")):
        vector = make_raw({"EnergyWindowVector": number.to_bytes(2, "little") * 4})
        assert read_energy_windows(nest(vector, "EnergyWindowInformationSequence", windows)) == expected
