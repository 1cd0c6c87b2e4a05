"""When a series is whole: never early, never silently over a gap, and never for ever."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.series import SECOND_CONTENT, Conflict, Series
from fusionnode.domain.terms import SeriesState
from fusionnode.pairing.settle import (
    VOLUME_CLASSES,
    Evidence,
    Settlement,
    SettleTimes,
    Stillness,
    explain_conflicts,
    explain_incomplete,
    explain_unfusable,
    settle_series,
)
from tests.support.series_headers import (
    ENHANCED_MR_CLASS,
    MR_CLASS,
    NM_CLASS,
    SC_CLASS,
    Stack,
    add_raw_data,
    alter_instances,
    make_series,
)

TIMES = SettleTimes()
UNSETTLED = [SeriesState.RECEIVING, SeriesState.CANDIDATE, SeriesState.REOPENED]


def arriving(modality: str = "MR", state: SeriesState = SeriesState.RECEIVING, **stack: object) -> Series:
    return make_series("settling", modality, Stack(**stack), state=state)  # type: ignore[arg-type]


def settle(series: Series, idle_seconds: float, *, in_flight: bool = False) -> Settlement:
    return settle_series(series, Evidence(idle_seconds, in_flight), TIMES)


stacks = st.builds(
    Stack,
    slices=st.integers(1, 14),
    dropped=st.sets(st.integers(1, 12), max_size=3),
    claimed=st.integers(0, 30),
)


@given(
    stack=stacks,
    state=st.sampled_from(UNSETTLED),
    modality=st.sampled_from(["MR", "PT", "NM", "OT"]),
    in_flight=st.booleans(),
)
def test_nothing_stays_unsettled_past_the_longest_time(
    stack: Stack, state: SeriesState, modality: str, in_flight: bool
) -> None:
    series = make_series("any", modality, stack, state=state)
    settled = settle(series, TIMES.gap_seconds, in_flight=in_flight)
    assert settled.state not in UNSETTLED


@given(stack=stacks, state=st.sampled_from(UNSETTLED), idle=st.floats(0, 9.9), in_flight=st.booleans())
def test_single_frames_are_never_settled_before_they_lay_still(
    stack: Stack, state: SeriesState, idle: float, in_flight: bool
) -> None:
    settled = settle(make_series("any", "MR", stack, state=state), idle, in_flight=in_flight)
    assert settled.state in {SeriesState.RECEIVING, SeriesState.REOPENED}


@given(
    slices=st.integers(6, 20),
    dropped=st.integers(2, 3),
    idle=st.floats(0, 5000),
    modality=st.sampled_from(["MR", "PT"]),
)
def test_a_gap_never_completes(slices: int, dropped: int, idle: float, modality: str) -> None:
    series = arriving(modality, slices=slices, dropped={dropped}, claimed=0)
    assert settle(series, idle).state is not SeriesState.COMPLETE


@given(stack=stacks, idle=st.floats(0, 2000), in_flight=st.booleans())
def test_what_is_decided_stays_decided(stack: Stack, idle: float, in_flight: bool) -> None:
    series = make_series("any", "MR", stack, state=SeriesState.RECEIVING)
    first = settle(series, idle, in_flight=in_flight)
    again = settle(replace(series, state=first.state, reason=first.reason), idle, in_flight=in_flight)
    assert again == first


@pytest.mark.parametrize("state", [SeriesState.COMPLETE, SeriesState.QUARANTINED, SeriesState.IGNORED])
def test_a_settled_series_keeps_its_state_and_reason(state: SeriesState) -> None:
    series = replace(arriving(dropped={4}), state=state, reason="because")
    assert settle(series, 9999) == Settlement(state, "because")


def test_an_empty_series_is_left_alone() -> None:
    assert settle(arriving(slices=0), 9999).state is SeriesState.RECEIVING


def test_a_closed_stack_with_agreeing_count_is_complete_after_ten_seconds() -> None:
    settled = settle(arriving("PT", claimed=10), 10)
    assert settled.state is SeriesState.COMPLETE
    assert "10 slices 3.00 mm apart" in settled.reason
    assert "count tag agrees" in settled.reason


def test_an_open_association_holds_a_closed_stack_back_until_the_slow_timer() -> None:
    assert settle(arriving(), 60, in_flight=True).state is SeriesState.CANDIDATE
    late = settle(arriving(), 90, in_flight=True)
    assert late.state is SeriesState.COMPLETE
    assert "by timer" in late.reason


def test_a_missing_slice_is_waited_for_and_then_named() -> None:
    series = arriving(dropped={4})
    assert settle(series, 599).state is SeriesState.CANDIDATE
    settled = settle(series, 600)
    assert settled.state is SeriesState.QUARANTINED
    assert "missing at -8.00 mm" in settled.reason


def test_a_truncated_pet_is_quarantined_by_its_count() -> None:
    series = arriving("PT", slices=31, claimed=62)
    assert settle(series, 300).state is SeriesState.CANDIDATE
    settled = settle(series, 600)
    assert settled.state is SeriesState.QUARANTINED
    assert "31 arrived where a count tag says 62" in settled.reason


def test_an_mr_count_that_covers_several_series_is_no_loss() -> None:
    series = arriving("MR", slices=12, claimed=24)
    assert settle(series, 30).state is SeriesState.CANDIDATE
    assert settle(series, 90).state is SeriesState.COMPLETE
    assert settle(arriving("MR", slices=13, claimed=24), 600).state is SeriesState.QUARANTINED


def test_several_time_slots_complete_by_timer() -> None:
    whole = arriving("PT", slices=10, claimed=10)
    slots = replace(whole, instances=whole.instances + arriving("PT", slices=10, claimed=10).instances)
    assert settle(slots, 30).state is SeriesState.CANDIDATE
    assert settle(slots, 90).state is SeriesState.COMPLETE


def test_every_second_slice_is_not_taken_for_a_coarser_stack() -> None:
    half = arriving(slices=20, dropped=range(1, 20, 2))
    assert settle(half, 30).state is SeriesState.CANDIDATE
    assert "run from 1 to 19" in settle(half, 30).reason


def test_new_instances_put_a_candidate_back_to_receiving() -> None:
    assert settle(arriving(state=SeriesState.CANDIDATE), 1).state is SeriesState.RECEIVING
    assert settle(arriving(state=SeriesState.REOPENED), 1).state is SeriesState.REOPENED


@pytest.mark.parametrize(("modality", "sop_class"), [("MR", ENHANCED_MR_CLASS), ("NM", NM_CLASS)])
def test_one_multi_frame_object_is_complete_at_once(modality: str, sop_class: str) -> None:
    series = alter_instances(arriving(modality, slices=1, frames=44), sop_class_uid=sop_class)
    assert settle(series, 0, in_flight=True).state is SeriesState.COMPLETE


def test_part_of_a_concatenation_is_not_complete_at_once() -> None:
    series = alter_instances(
        arriving(slices=1, frames=44), sop_class_uid=ENHANCED_MR_CLASS, attributes={"ConcatenationUID": "1.2.3"}
    )
    assert settle(series, 0).state is SeriesState.RECEIVING
    assert settle(series, 90).state is SeriesState.COMPLETE


def test_a_classic_and_an_enhanced_copy_under_one_uid_wait_for_the_timer() -> None:
    classic = arriving()
    enhanced = alter_instances(arriving(slices=1, frames=10), sop_class_uid=ENHANCED_MR_CLASS)
    both = replace(classic, instances=classic.instances + enhanced.instances)
    assert settle(both, 30).state is SeriesState.CANDIDATE


def test_an_instance_that_came_twice_with_other_content_quarantines_even_a_whole_object() -> None:
    conflicts = tuple(Conflict(uid, SECOND_CONTENT) for uid in ("1.2.3", "1.2.1"))
    series = replace(arriving("NM", slices=1, frames=44), conflicts=conflicts)
    assert settle(series, 0).state is SeriesState.RECEIVING
    settled = settle(series, 10)
    assert settled.state is SeriesState.QUARANTINED
    assert settled.reason == "arrived a second time with other content: 1.2.1, 1.2.3"


def test_each_kind_of_contradiction_is_told_as_what_it_is_and_never_at_length() -> None:
    strangers = tuple(Conflict(f"1.2.{number}", "claims another patient") for number in range(10, 30))
    series = replace(arriving(), conflicts=(*strangers, Conflict("1.2.1", SECOND_CONTENT)))
    twice, stranger = explain_conflicts(series).split("; ")
    assert twice == f"{SECOND_CONTENT}: 1.2.1"
    assert stranger.startswith("claims another patient: 1.2.10, ")
    assert stranger.endswith(" and 8 more")
    assert explain_conflicts(arriving()) == ""


@given(stack=stacks, modality=st.sampled_from(["MR", "PT"]))
def test_what_is_quarantined_for_want_of_slices_is_exactly_what_is_incomplete(stack: Stack, modality: str) -> None:
    series = make_series("any", modality, stack, state=SeriesState.RECEIVING)
    reason = explain_incomplete(series)
    settled = settle(series, TIMES.gap_seconds)
    assert bool(reason) == (settled.state is SeriesState.QUARANTINED)
    assert reason in settled.reason


def test_one_whole_object_is_never_incomplete_whatever_its_count_tag_says() -> None:
    series = alter_instances(arriving(slices=1, frames=44, claimed=88), sop_class_uid=ENHANCED_MR_CLASS)
    assert explain_incomplete(series) == ""


@given(stack=stacks, idle=st.sampled_from([0.0, 10.0, 90.0, 600.0]), modality=st.sampled_from(["MR", "PT"]))
def test_raw_data_under_the_uid_of_a_series_does_not_change_what_becomes_of_it(
    stack: Stack, idle: float, modality: str
) -> None:
    series = make_series("any", modality, stack, state=SeriesState.RECEIVING)
    assert settle(add_raw_data(series), idle) == settle(series, idle)


@pytest.mark.parametrize(
    ("sop_class", "words"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.22", "structured reports"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "key object selections"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "presentation states"),
        ("1.2.840.10008.5.1.4.1.1.66", "raw data"),
        ("1.2.840.10008.5.1.4.1.1.66.1", "spatial registrations"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "segmentations"),
        ("1.2.840.10008.5.1.4.1.1.2.1", "CT images"),
        (SC_CLASS, "secondary captures"),
        ("1.2.840.10008.5.1.4.1.1.6.1", "objects of class Ultrasound Image Storage"),
        ("1.2.276.0.7230010.3", "objects of class 1.2.276.0.7230010.3"),
    ],
)
def test_objects_that_are_no_volume_are_ignored_with_the_reason(sop_class: str, words: str) -> None:
    series = alter_instances(arriving(), sop_class_uid=sop_class)
    assert settle(series, 1).state is SeriesState.RECEIVING
    settled = settle(series, 10)
    assert settled.state is SeriesState.IGNORED
    assert words in settled.reason


def test_only_volume_classes_of_a_fused_modality_can_be_fused() -> None:
    for sop_class in VOLUME_CLASSES:
        assert explain_unfusable(alter_instances(arriving(), sop_class_uid=sop_class)) == ""
    assert "(none)" in explain_unfusable(alter_instances(arriving(), sop_class_uid=MR_CLASS, modality=""))


@given(steps=st.lists(st.tuples(st.integers(1, 4), st.floats(0, 50)), min_size=1, max_size=20))
def test_stillness_is_the_time_since_the_count_last_changed(steps: list[tuple[int, float]]) -> None:
    stillness, now, count, since = Stillness(), 1000.0, -1, 0.0
    for new_count, wait in steps:
        now += wait
        if new_count != count:
            count, since = new_count, now
        assert stillness.observe("1.2", count, now) == pytest.approx(now - since)


def test_stillness_keeps_series_apart_and_starts_anew_for_a_forgotten_one() -> None:
    stillness = Stillness()
    stillness.observe("1.2", 5, 0.0)
    stillness.observe("1.3", 5, 8.0)
    stillness.forget_others({"1.3"})
    assert stillness.observe("1.3", 5, 20.0) == 12.0
    assert stillness.observe("1.2", 5, 20.0) == 0.0


def test_a_restart_lengthens_the_wait_and_never_shortens_it() -> None:
    before = Stillness()
    before.observe("1.2", 5, 0.0)
    assert Stillness().observe("1.2", 5, 30.0) < before.observe("1.2", 5, 30.0)
