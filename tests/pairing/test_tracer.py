"""Two tracers are told apart by what contradicts, never by what is absent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.pairing.tracer import Tracer, are_different, read_tracer
from tests.support.series_headers import add_raw_data, alter_instances, make_series

TRACERS = st.builds(
    Tracer,
    nuclides=st.frozensets(st.sampled_from(["18", "99m", "123"]), max_size=2),
    names=st.frozensets(st.sampled_from(["fdg", "f18fdg", "hmpao", "ioflupane"]), max_size=2),
    windows=st.frozensets(st.sampled_from(["126-154", "143-175", "90-120"]), max_size=2),
)


@given(one=TRACERS, other=TRACERS)
def test_being_different_is_symmetric_and_nothing_differs_from_itself_or_from_silence(
    one: Tracer, other: Tracer
) -> None:
    assert are_different(one, other) == are_different(other, one)
    assert not are_different(one, one)
    assert not are_different(one, Tracer())


def tracer(**attributes: str) -> Tracer:
    return read_tracer(make_series("one", "NM", attributes=attributes).images)


TC, I123 = {"Radionuclide": "99m"}, {"Radionuclide": "123"}


@pytest.mark.parametrize(
    ("one", "other", "different"),
    [
        (TC, I123, True),
        (TC, {"Radionuclide": "123\\99m"}, False),
        ({"EnergyWindow": "126-154"}, {"EnergyWindow": "143-175"}, True),
        ({"EnergyWindow": "126-154"}, {"EnergyWindow": "126-154\\143-175"}, False),
        (TC | {"EnergyWindow": "126-154"}, TC | {"EnergyWindow": "90-120"}, False),
        (
            {"Radionuclide": "123\\99m", "EnergyWindow": "126-154"},
            {"Radionuclide": "123\\99m", "EnergyWindow": "143-175"},
            True,
        ),
        ({"Radiopharmaceutical": "FDG"}, {"Radiopharmaceutical": "F-18 FDG"}, False),
        ({"Radiopharmaceutical": "FDG"}, {"Radiopharmaceutical": "Florbetapir"}, True),
        ({"Radiopharmaceutical": "HMPAO"}, {"EnergyWindow": "143-175"}, False),
        (TC, {"Radiopharmaceutical": "Ioflupane"}, False),
    ],
)
def test_what_tells_tracers_apart(one: dict[str, str], other: dict[str, str], different: bool) -> None:
    assert are_different(tracer(**one), tracer(**other)) == different


def test_instances_that_disagree_or_say_nothing_tell_nothing() -> None:
    series = make_series("one", "NM", attributes=TC)
    assert read_tracer(add_raw_data(series).images) == Tracer(nuclides=frozenset({"99m"}))
    mixed = (*series.images, *alter_instances(series, attributes=I123).images)
    assert read_tracer(mixed) == Tracer()
    assert Tracer().unknown == 3
