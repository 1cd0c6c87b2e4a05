"""Which series fit a role: every refusal has a reason, nothing unfit slips through."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.series import Series
from fusionnode.domain.terms import SeriesState
from fusionnode.pairing.select import find_unmet, select_series
from fusionnode.pipeline.schema import Condition, Preference, SeriesRule
from tests.support.series_headers import SC_CLASS, Stack, alter_instances, make_series

RULE = SeriesRule(
    modality=("MR",),
    min_slices=8,
    where=(Condition(attribute="ImageType", excludes="LOCALIZER", because="is a localizer"),),
    prefer=(
        Preference(attribute="SeriesDescription", matches="t1", weight=3, because="T1-weighted"),
        Preference(attribute="MRAcquisitionType", matches="^3D$", weight=2),
    ),
)

many_series = st.lists(
    st.builds(
        make_series,
        name=st.sampled_from("abcdefgh"),
        modality=st.sampled_from(["MR", "PT", "OT"]),
        stack=st.builds(Stack, slices=st.integers(1, 12)),
        attributes=st.fixed_dictionaries(
            {}, optional={"ImageType": st.sampled_from(["ORIGINAL\\PRIMARY\\M", "original\\primary\\localizer"])}
        ),
        state=st.sampled_from(list(SeriesState)),
    ),
    max_size=6,
    unique_by=lambda one: one.key,
)


@given(series=many_series, seed=st.integers(0, 9))
def test_each_series_is_chosen_or_refused_with_a_reason_whatever_the_order(series: list[Series], seed: int) -> None:
    shuffled = random.Random(seed).sample(series, len(series))
    chosen, refused = select_series(RULE, shuffled)
    assert (chosen, refused) == select_series(RULE, series)
    assert sorted(str(one.key) for one in series) == sorted(
        [str(choice.series.key) for choice in chosen] + [str(one.key) for one, _ in refused]
    )
    assert all(reason for _, reason in refused)
    assert all(one.series.frames >= 8 and one.series.state is SeriesState.COMPLETE for one in chosen)


def test_preferences_that_hold_add_their_weights_and_say_so() -> None:
    series = make_series("t1", attributes={"SeriesDescription": "AX T1 SPGR", "MRAcquisitionType": "3D"})
    ((chosen,), refused) = select_series(RULE, [series])
    assert not refused
    assert chosen.preference_score == 5
    assert chosen.reasons == ("T1-weighted", "MRAcquisitionType matches '^3D$'")


def test_a_fused_series_is_never_a_source() -> None:
    ours = alter_instances(make_series("ours"), sop_class_uid=SC_CLASS)
    chosen, ((_, reason),) = select_series(RULE, [ours])
    assert not chosen
    assert "no volume" in reason


def test_one_localizer_slice_spoils_the_series() -> None:
    series = make_series("mixed", attributes={"ImageType": "ORIGINAL\\PRIMARY"})
    spoiled = make_series("mixed", attributes={"ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"})
    mixed = Series(series.key, series.state, (*series.instances[:-1], spoiled.instances[-1]))
    _, ((_, reason),) = select_series(RULE, [mixed])
    assert reason == "is a localizer"


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ({"matches": "^3d$"}, "3D", True),
        ({"matches": "."}, None, False),
        ({"excludes": "."}, None, True),
        ({"matches": "AC", "excludes": "NAC"}, "PET NAC", False),
        ({"matches": "AC", "excludes": "NAC"}, "PET AC", True),
        ({"matches": r"\\RECON TOMO\\"}, "ORIGINAL\\PRIMARY\\RECON TOMO\\EMISSION", True),
    ],
)
def test_conditions(condition: dict[str, str], value: str | None, holds: bool) -> None:
    attributes = {} if value is None else {"SeriesDescription": value}
    series = make_series("one", attributes=attributes)
    unmet = find_unmet([Condition(attribute="SeriesDescription", **condition)], series)
    assert (unmet == "") == holds


def test_the_words_of_a_refusal_do_not_repeat_the_header() -> None:
    series = make_series("named", attributes={"SeriesDescription": "Mrs Example localizer"})
    unmet = find_unmet([Condition(attribute="SeriesDescription", excludes="localizer")], series)
    assert unmet
    assert "Example" not in unmet
