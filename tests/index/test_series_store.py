"""Series as they stand, and as they stood."""

from dataclasses import replace

import pytest

from fusionnode.domain.series import PatientIdentity, SeriesKey
from fusionnode.domain.terms import SeriesState
from fusionnode.errors import SeriesUnknown
from fusionnode.index.store import SqlLedger
from tests.support.ledgers import LATER, NOW, make_headers


def enter(ledger: SqlLedger, name: str, patient_id: str = "P1") -> SeriesKey:
    headers = [replace(header, patient=PatientIdentity(patient_id)) for header in make_headers(name)]
    for header in headers:
        ledger.record_instance(header, NOW)
    return SeriesKey(headers[0].series_instance_uid, 1)


def test_series_are_listed_by_state_and_in_order_of_uid(ledger: SqlLedger) -> None:
    keys = [enter(ledger, f"series {number}") for number in range(12)]
    ledger.set_series_state(keys[3], SeriesState.COMPLETE, "all slices")
    complete = ledger.list_series([SeriesState.COMPLETE])
    assert [series.key for series in complete] == [keys[3]]
    assert complete[0].reason == "all slices"
    listed = [series.key for series in ledger.list_series(SeriesState)]
    assert listed == sorted(keys, key=lambda key: key.series_instance_uid)
    assert ledger.list_series([]) == []


def test_a_state_is_not_set_on_a_generation_that_is_over(ledger: SqlLedger) -> None:
    *early, late = make_headers()
    for header in early:
        ledger.record_instance(header, NOW)
    first = SeriesKey(late.series_instance_uid, 1)
    assert ledger.set_series_state(first, SeriesState.COMPLETE, "")
    ledger.record_instance(late, LATER)
    assert not ledger.set_series_state(first, SeriesState.QUARANTINED, "decided too late")
    assert not ledger.set_series_state(SeriesKey(first.series_instance_uid, 3), SeriesState.COMPLETE, "")
    assert ledger.find_series(first).state is SeriesState.COMPLETE
    assert [series.state for series in ledger.list_series(SeriesState)] == [SeriesState.REOPENED]


def test_an_unknown_series_has_no_state_to_set(ledger: SqlLedger) -> None:
    assert not ledger.set_series_state(SeriesKey("1.2.3", 1), SeriesState.COMPLETE, "")


@pytest.mark.parametrize("generation", [0, 2])
def test_a_generation_that_never_was_is_unknown(ledger: SqlLedger, generation: int) -> None:
    uid = enter(ledger, "mr").series_instance_uid
    with pytest.raises(SeriesUnknown) as raised:
        ledger.find_series(SeriesKey(uid, generation))
    assert raised.value.facts["key"] == f"{uid}#{generation}"


def test_related_are_all_series_of_the_same_patients_whatever_their_state(ledger: SqlLedger) -> None:
    mr, pt, open_one = (enter(ledger, name, "A") for name in ("mr", "pt", "open"))
    other, second = enter(ledger, "other", "B"), enter(ledger, "second", "C")
    for key in (mr, pt, other, second):
        ledger.set_series_state(key, SeriesState.COMPLETE, "")
    related = {series.key for series in ledger.list_related([open_one])}
    assert related == {mr, pt, open_one}
    assert {series.key for series in ledger.list_related([mr, second])} == {mr, pt, open_one, second}
    assert all(series.instances for series in ledger.list_related([mr]))
    assert ledger.list_related([]) == []
    assert ledger.list_related([SeriesKey("1.2.3", 1)]) == []


def test_a_series_and_a_study_are_found_by_their_uid(ledger: SqlLedger) -> None:
    first, second = enter(ledger, "first"), enter(ledger, "second")
    study = ledger.find_series(first).head.study_instance_uid
    assert [one.key for one in ledger.list_named(first.series_instance_uid)] == [first]
    assert {one.key for one in ledger.list_named(study)} == {first, second}
    assert ledger.list_named("1.2.3") == []


def test_keys_are_those_of_the_listed_series(ledger: SqlLedger) -> None:
    for number in range(5):
        key = enter(ledger, f"series {number}")
    ledger.set_series_state(key, SeriesState.COMPLETE, "")
    for states in (tuple(SeriesState), (SeriesState.COMPLETE,), ()):
        for since in (None, NOW, LATER):
            assert ledger.list_keys(states, since) == [one.key for one in ledger.list_series(states, since)]


def test_many_keys_fit_one_question(ledger: SqlLedger) -> None:
    key = enter(ledger, "mr")
    ledger.set_series_state(key, SeriesState.COMPLETE, "")
    crowd = [SeriesKey(f"1.2.{number}", 1) for number in range(2000)]
    assert [series.key for series in ledger.list_related([*crowd, key])] == [key]


def test_changes_of_state_are_events_and_repetitions_are_not(ledger: SqlLedger) -> None:
    key = enter(ledger, "mr")
    for reason in ("9 of 10 slices", "10 of 10 slices"):
        ledger.set_series_state(key, SeriesState.CANDIDATE, reason)
    assert [event.what for event in ledger.list_events(key.series_instance_uid)] == ["receiving", "candidate"]
    assert ledger.find_series(key).reason == "10 of 10 slices"


def test_series_seen_before_a_moment_can_be_left_out(ledger: SqlLedger) -> None:
    key = enter(ledger, "old")
    assert [one.key for one in ledger.list_series(SeriesState, seen_since=NOW)] == [key]
    assert ledger.list_series(SeriesState, seen_since=LATER) == []
