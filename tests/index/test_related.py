"""Which series may bear on others: all of a patient, but of UNKNOWN only what is linked."""

from dataclasses import replace

import pytest

from fusionnode.domain.series import PatientIdentity, SeriesKey
from fusionnode.index.store import SqlLedger
from tests.support.ledgers import NOW
from tests.support.series_headers import Scan, Stack, make_series


def enter(ledger: SqlLedger, name: str, patient_id: str, study: str, frame: str) -> SeriesKey:
    series = make_series(name, stack=Stack(slices=2), scan=Scan(PatientIdentity(patient_id), study, frame))
    for header in series.instances:
        ledger.record_instance(header, NOW)
    return series.key


def related(ledger: SqlLedger, *keys: SeriesKey) -> set[SeriesKey]:
    found = [one.key for one in ledger.list_related(keys)]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize("patient_id", ["UNKNOWN", "00000"])
def test_of_a_shared_id_only_what_a_chain_of_studies_and_frames_joins_is_loaded(
    ledger: SqlLedger, patient_id: str
) -> None:
    chain = [
        enter(ledger, name, patient_id, study, frame)
        for name, study, frame in (("a", "s1", "f1"), ("b", "s1", "f2"), ("c", "s2", "f2"), ("d", "s2", ""))
    ]
    apart = [enter(ledger, f"apart {number}", patient_id, f"t{number}", f"g{number}") for number in range(3)]
    without_frame = [enter(ledger, f"no frame {number}", patient_id, f"u{number}", "") for number in range(2)]
    enter(ledger, "stranger", "P1", "s1", "f1")
    for key in chain:
        assert related(ledger, key) == set(chain), "whichever end it is begun from"
    for key in (*apart, *without_frame):
        assert related(ledger, key) == {key}
    assert related(ledger, chain[0], apart[0]) == {*chain, apart[0]}


def test_without_patient_id_a_series_stands_alone(ledger: SqlLedger) -> None:
    one, two = (enter(ledger, name, "", "s", "f") for name in ("one", "two"))
    assert related(ledger, one) == {one}
    assert related(ledger, one, two) == {one, two}


def test_of_a_patient_everything_is_loaded(ledger: SqlLedger) -> None:
    keys = {enter(ledger, f"series {number}", "P1", f"s{number}", f"f{number}") for number in range(3)}
    assert related(ledger, *keys) == keys
    assert related(ledger, min(keys, key=str)) == keys


def test_every_frame_of_a_series_is_a_link(ledger: SqlLedger) -> None:
    key = enter(ledger, "two frames", "UNKNOWN", "s1", "f1")
    other = make_series("other", scan=Scan(PatientIdentity("UNKNOWN"), "s2", "f2"))
    odd = replace(
        make_series("two frames", scan=Scan(PatientIdentity("UNKNOWN"), "s1", "f2")).instances[5],
        series_instance_uid=key.series_instance_uid,
    )
    for header in (odd, *other.instances):
        ledger.record_instance(header, NOW)
    assert related(ledger, key) == {key, other.key}
