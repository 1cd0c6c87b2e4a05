"""Entering instances: idempotent, and a contradiction is kept and told, never resolved in silence."""

import logging
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.series import SECOND_CONTENT, Conflict, InstanceHeader, PatientIdentity, SeriesKey
from fusionnode.domain.terms import SeriesState
from fusionnode.flow.ports import Arrival
from fusionnode.index.arrival_store import describe_difference
from fusionnode.index.store import SqlLedger
from tests.support.ledgers import LATER, NOW, change_bytes, make_headers

CLOSED = [SeriesState.COMPLETE, SeriesState.QUARANTINED, SeriesState.IGNORED]
OPEN = [SeriesState.RECEIVING, SeriesState.CANDIDATE]
WORDS = st.text(alphabet="AB", max_size=2)
IDENTITIES = st.builds(PatientIdentity, WORDS, WORDS, WORDS, WORDS, WORDS.map(lambda text: text and f"ISO:{text}"))


def enter(ledger: SqlLedger, headers: list[InstanceHeader]) -> SeriesKey:
    for header in headers:
        assert ledger.record_instance(header, NOW) is Arrival.NEW
    return SeriesKey(headers[0].series_instance_uid, 1)


def present(ledger: SqlLedger) -> SeriesKey:
    (series,) = ledger.list_series(SeriesState)
    return series.key


def test_a_series_begins_receiving_in_generation_one(ledger: SqlLedger) -> None:
    headers = make_headers()
    key = enter(ledger, headers)
    (series,) = ledger.list_series([SeriesState.RECEIVING])
    assert series.key == key
    assert list(series.instances) == _sorted(headers)
    assert (series.conflicts, series.reason, series.first_seen_at) == ((), "", NOW)


def test_the_same_bytes_again_change_nothing_even_when_the_series_is_closed(ledger: SqlLedger) -> None:
    headers = make_headers()
    key = enter(ledger, headers)
    ledger.set_series_state(key, SeriesState.COMPLETE, "all there")
    before = ledger.find_series(key)
    for header in headers:
        assert ledger.record_instance(replace(header, path="elsewhere"), LATER) is Arrival.DUPLICATE
    assert ledger.find_series(key) == before
    assert present(ledger) == key


@pytest.mark.parametrize("state", CLOSED)
def test_a_late_instance_reopens_a_closed_series(ledger: SqlLedger, state: SeriesState) -> None:
    *early, late = make_headers()
    key = enter(ledger, early)
    assert ledger.set_series_state(key, state, "closed")
    assert ledger.record_instance(late, LATER) is Arrival.NEW
    (reopened,) = ledger.list_series([SeriesState.REOPENED])
    assert reopened.key == SeriesKey(key.series_instance_uid, 2)
    assert list(reopened.instances) == _sorted([*early, late])
    assert late.sop_instance_uid in reopened.reason
    # The generation that jobs were made from stays what it was.
    closed = ledger.find_series(key)
    assert (closed.state, closed.reason, list(closed.instances)) == (state, "closed", _sorted(early))


@pytest.mark.parametrize("state", OPEN)
def test_an_instance_of_an_open_series_joins_its_generation(ledger: SqlLedger, state: SeriesState) -> None:
    first, second, third = make_headers()
    key = enter(ledger, [first])
    ledger.set_series_state(key, state, "")
    ledger.record_instance(second, NOW)
    assert present(ledger) == key
    ledger.set_series_state(key, SeriesState.COMPLETE, "")
    ledger.record_instance(third, NOW)
    assert present(ledger).generation == 2


def test_all_that_comes_late_comes_into_one_generation(ledger: SqlLedger) -> None:
    first, *late = make_headers(slices=6)
    key = enter(ledger, [first])
    ledger.set_series_state(key, SeriesState.COMPLETE, "")
    for header in late:
        ledger.record_instance(header, LATER)
    assert present(ledger).generation == 2


@pytest.mark.parametrize("state", CLOSED)
def test_other_bytes_under_a_known_uid_are_a_conflict_and_reopen(
    ledger: SqlLedger, state: SeriesState, caplog: pytest.LogCaptureFixture
) -> None:
    headers = make_headers()
    key = enter(ledger, headers)
    ledger.set_series_state(key, state, "")
    with caplog.at_level(logging.WARNING, logger="fusionnode.index"):
        assert ledger.record_instance(change_bytes(headers[1]), LATER) is Arrival.CONFLICT
    assert headers[1].sop_instance_uid in caplog.text
    (series,) = ledger.list_series([SeriesState.REOPENED])
    assert series.key.generation == 2
    assert series.conflicts == (Conflict(headers[1].sop_instance_uid, SECOND_CONTENT),)
    assert list(series.instances) == _sorted(headers), "the first arrival stays the one that is used"
    assert ledger.find_series(key).conflicts == ()


def test_a_conflict_that_is_shown_again_is_the_same_conflict(ledger: SqlLedger) -> None:
    headers = make_headers()
    key = enter(ledger, headers)
    assert ledger.record_instance(change_bytes(headers[0]), NOW) is Arrival.CONFLICT
    ledger.set_series_state(key, SeriesState.QUARANTINED, "conflict")
    assert ledger.record_instance(change_bytes(headers[0]), LATER) is Arrival.CONFLICT
    assert present(ledger) == key, "a crash between ledger and spool must not reopen for ever"


@pytest.mark.parametrize(
    "change",
    [
        {"study_instance_uid": "1.2.3.4"},
        {"patient": PatientIdentity("SOMEBODY-ELSE")},
        {"patient": PatientIdentity("")},
    ],
    ids=["other study", "other patient", "no patient"],
)
def test_an_instance_of_another_patient_or_study_never_joins_a_series(
    ledger: SqlLedger, change: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    *own, stranger = make_headers()
    key = enter(ledger, own)
    ledger.set_series_state(key, SeriesState.COMPLETE, "")
    strange = replace(stranger, **change)  # type: ignore[arg-type]
    assert ledger.record_instance(strange, LATER) is Arrival.CONFLICT
    (series,) = ledger.list_series([SeriesState.REOPENED])
    assert list(series.instances) == _sorted(own)
    ((uid, reason),) = [(one.sop_instance_uid, one.reason) for one in series.conflicts]
    assert uid == stranger.sop_instance_uid
    assert reason.startswith("claims another ")
    assert reason.endswith(" than the series began with")
    events = ledger.list_events(key.series_instance_uid)
    assert any("claims another" in event.detail for event in events if event.what == "conflict")
    for text in (caplog.text, *(event.detail for event in events)):
        assert "SOMEBODY" not in text
        assert own[0].patient.patient_id not in text.split()


def test_a_uid_used_in_two_series_spoils_both(ledger: SqlLedger) -> None:
    first, second = make_headers("one"), make_headers("two")
    one, two = enter(ledger, first), enter(ledger, second)
    stolen = replace(second[0], sop_instance_uid=first[0].sop_instance_uid, sha256="e" * 64)
    assert ledger.record_instance(stolen, LATER) is Arrival.CONFLICT
    assert set(ledger.list_contradicted(first[0].sop_instance_uid)) == {
        first[0].series_instance_uid,
        two.series_instance_uid,
    }
    assert ledger.list_contradicted(first[1].sop_instance_uid) == []
    for key in (one, two):
        assert ledger.find_series(key).conflicts == (Conflict(first[0].sop_instance_uid, SECOND_CONTENT),)


def test_a_conflict_waits_for_the_series_it_claims(ledger: SqlLedger) -> None:
    first, second = make_headers("one"), make_headers("two")
    enter(ledger, first)
    stolen = replace(second[0], sop_instance_uid=first[0].sop_instance_uid, sha256="e" * 64)
    assert ledger.record_instance(stolen, NOW) is Arrival.CONFLICT
    assert len(ledger.list_series(SeriesState)) == 1, "no series without instances"
    assert ledger.find_series(enter(ledger, second[1:])).conflicts == (
        Conflict(first[0].sop_instance_uid, SECOND_CONTENT),
    )


@given(IDENTITIES)
def test_nobody_differs_from_himself(identity: PatientIdentity) -> None:
    assert describe_difference(identity, identity) == ""


@given(IDENTITIES, IDENTITIES)
def test_difference_is_symmetric_and_never_overlooks_a_patient_id(one: PatientIdentity, two: PatientIdentity) -> None:
    assert describe_difference(one, two) == describe_difference(two, one)
    assert (one.patient_id == two.patient_id) or describe_difference(one, two)


def test_what_only_one_side_knows_is_no_difference() -> None:
    known = PatientIdentity("7", "hospital", "19700101", "F")
    assert describe_difference(known, PatientIdentity("7")) == ""
    assert describe_difference(known, PatientIdentity("7", "other", "19700102", "M")) == (
        "issuer of the patient ID, birth date, sex"
    )


def _sorted(headers: list[InstanceHeader]) -> list[InstanceHeader]:
    return sorted(headers, key=lambda header: header.sop_instance_uid)
