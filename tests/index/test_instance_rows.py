"""A header survives the table."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionnode.domain.series import InstanceHeader, PatientIdentity, SeriesKey
from fusionnode.index.instance_rows import write_row
from fusionnode.index.store import SqlLedger
from tests.support.ledgers import NOW, make_headers

_numbers = count()
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 2**31 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
HEADERS = st.builds(
    InstanceHeader,
    sop_class_uid=TEXTS,
    sop_instance_uid=st.just(""),
    series_instance_uid=st.just(""),
    study_instance_uid=TEXTS,
    frame_of_reference_uid=TEXTS,
    modality=TEXTS,
    patient=st.builds(PatientIdentity, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS),
    sha256=TEXTS,
    path=TEXTS,
    transfer_syntax_uid=TEXTS,
    rows=COUNTS,
    columns=COUNTS,
    frames=COUNTS,
    instance_number=st.none() | COUNTS,
    position_mm=st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS),
    orientation=st.none() | st.tuples(*[NUMBERS] * 6),
    pixel_spacing_mm=st.none() | st.tuples(NUMBERS, NUMBERS),
    acquired_at=st.none() | st.datetimes(datetime(1900, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    claimed_slices=COUNTS,
    places=COUNTS,
    attributes=st.dictionaries(TEXTS, TEXTS, max_size=3),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=HEADERS)
def test_every_header_comes_back_as_it_was(ledger: SqlLedger, header: InstanceHeader) -> None:
    # Numbered, not drawn: all examples share one ledger.
    number = next(_numbers)
    header = replace(header, sop_instance_uid=f"1.2.{number}", series_instance_uid=f"1.3.{number}")
    ledger.record_instance(header, NOW)
    (found,) = ledger.find_series(SeriesKey(header.series_instance_uid, 1)).instances
    assert found == header


def test_a_row_names_its_generation_and_moment() -> None:
    (header,) = make_headers(slices=1)
    row = write_row(header, 3, NOW)
    assert (row["generation"], row["seen_at"]) == (3, NOW)
    assert math.isclose(row["position_mm"][2], -20.0)
