"""Which series are reconstructions of one acquisition: nothing chains, nothing is taken for what it only might be."""

import random
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.terms import SeriesState
from fusionnode.pairing.acquisitions import ONE_ACQUISITION, split_acquisitions
from fusionnode.pairing.links import Candidate, make_candidate
from fusionnode.pairing.select import Chosen
from fusionnode.pairing.tracer import are_different
from tests.support.series_headers import NOON, Scan, make_series


def candidate(name: str, minutes: float | None = 0, nuclide: str = "", **scan: str) -> Candidate:
    moment = None if minutes is None else NOON + timedelta(minutes=minutes)
    made = make_series(name, "NM", scan=Scan(acquired_at=moment, **scan), attributes={"Radionuclide": nuclide})  # type: ignore[arg-type]
    return make_candidate(Chosen(made, 0.0))


def arriving(one: Candidate) -> Candidate:
    series = replace(one.series, state=SeriesState.RECEIVING)
    return replace(one, chosen=Chosen(series, 0.0))


def split(*series: Candidate) -> list[set[str]]:
    return [{one.uid for one in group} for group in split_acquisitions(series)]


CANDIDATES = st.lists(
    st.builds(
        candidate,
        name=st.integers(0, 99).map(str),
        minutes=st.none() | st.integers(0, 40),
        nuclide=st.sampled_from(["", "99m", "123"]),
        study=st.sampled_from(["s", "s", "s", "t"]),
        frame=st.sampled_from(["f", "f", ""]),
    ),
    max_size=8,
    unique_by=lambda one: one.uid,
)


@given(series=CANDIDATES, seed=st.integers(0, 99))
def test_each_series_is_in_one_acquisition_whatever_the_order(series: list[Candidate], seed: int) -> None:
    groups = split(*series)
    assert sorted(uid for group in groups for uid in group) == sorted(one.uid for one in series)
    shuffled = split(*random.Random(seed).sample(series, len(series)))
    assert sorted(map(sorted, shuffled)) == sorted(map(sorted, groups))


@given(series=CANDIDATES)
def test_no_two_of_one_acquisition_are_certainly_of_two(series: list[Candidate]) -> None:
    for group in split_acquisitions(series):
        moments = [one.acquired_at for one in group if one.acquired_at is not None]
        assert not moments or max(moments) - min(moments) <= ONE_ACQUISITION
        assert len({(one.study, one.frame) for one in group}) == 1
        assert not any(are_different(one.tracer, other.tracer) for one in group for other in group)


@given(series=CANDIDATES, late=CANDIDATES)
def test_what_still_arrives_changes_nothing_between_the_others(series: list[Candidate], late: list[Candidate]) -> None:
    known = {one.uid for one in series}
    coming = [arriving(one) for one in late if one.uid not in known]
    with_them = [group & known for group in split(*series, *coming)]
    assert sorted(sorted(group) for group in with_them if group) == sorted(map(sorted, split(*series)))


def test_a_chain_of_near_beginnings_is_measured_from_its_first() -> None:
    first, second, third = candidate("a", 0), candidate("b", 9), candidate("c", 18)
    assert split(first, second, third) == [{first.uid, second.uid}, {third.uid}]


def test_two_tracers_at_one_time_are_two_acquisitions_each_with_its_own_reconstructions() -> None:
    tc, tc_too, iodine = candidate("a", 0, "99m"), candidate("b", 0, "99m"), candidate("c", 0, "123")
    groups = split(iodine, tc_too, tc)
    assert len(groups) == 2
    assert {iodine.uid} in groups
    assert {tc.uid, tc_too.uid} in groups


def test_what_says_nothing_joins_the_only_acquisition_and_displaces_none_of_two() -> None:
    tc, iodine, silent = candidate("a", 0, "99m"), candidate("b", 0, "123"), candidate("c", None)
    assert len(split(tc, silent)) == 1
    assert {silent.uid} in split(tc, iodine, silent)
    early, late = candidate("d", 0), candidate("e", 60)
    assert {silent.uid} in split(early, late, silent)
