"""Laws of matching: order never matters, patients never mix, and every candidate gets an answer."""

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionnode.domain.series import PatientIdentity, Series, SeriesKey
from fusionnode.domain.terms import SeriesState
from fusionnode.flow.ports import StoredFile
from fusionnode.index.header import read_header
from fusionnode.pairing.links import LINK_SCORE
from fusionnode.pairing.match import Matching, match_pairs
from fusionnode.pairing.patient import is_same_patient
from fusionnode.pairing.settle import Evidence, SettleTimes, settle_series
from fusionnode.pipeline.parse import parse_pipeline
from tests.support.series_headers import NOON, Scan, Stack, alter_instances, make_series

PIPELINE = parse_pipeline(
    r"""
    name: mr-pt
    version: "1.0"
    fixed:
      modality: [MR]
      prefer: [{attribute: SeriesDescription, matches: T1, weight: 3, because: T1-weighted}]
    moving:
      modality: [PT]
      where: [{attribute: ImageType, excludes: MIP, because: is a projection}]
      prefer: [{attribute: SeriesDescription, excludes: NAC, weight: 4, because: attenuation corrected}]
    pairing: {window_days: 30, hold_hours: 24}
    output: {series_description: Fused}
    """,
    "test.yaml",
)
NOW = NOON + timedelta(hours=1)
HERE, LATER = Scan(), Scan(study="later", frame="later", acquired_at=NOON + timedelta(days=3))


def match(*series: Series) -> Matching:
    return match_pairs(PIPELINE, series, NOW)


def mr(name: str, scan: Scan = HERE, description: str = "", **stack: int) -> Series:
    return make_series(name, "MR", Stack(**stack), scan, {"SeriesDescription": description})  # type: ignore[arg-type]


def pt(name: str, scan: Scan = HERE, description: str = "", **stack: int) -> Series:
    return make_series(name, "PT", Stack(**stack), scan, {"SeriesDescription": description})  # type: ignore[arg-type]


def reason_for(matching: Matching, series: Series) -> str:
    (reason,) = [one.reason for one in matching.rejections if one.series == (series.key,)]
    return reason


patients = st.builds(
    PatientIdentity,
    patient_id=st.sampled_from(["", "P1", "P2", "UNKNOWN"]),
    issuer=st.sampled_from(["", "", "A", "B"]),
    birth_date=st.sampled_from(["", "", "19700101", "19800101"]),
    sex=st.sampled_from(["", "", "F", "M"]),
)
scans = st.builds(
    Scan,
    patient=patients,
    study=st.sampled_from(["s1", "s2", "s3"]),
    frame=st.sampled_from(["", "f1", "f2"]),
    acquired_at=st.sampled_from([None, NOON, NOON + timedelta(days=5), NOON + timedelta(days=50)]),
)
crowds = st.lists(
    st.builds(
        make_series,
        name=st.integers(0, 30).map(str),
        modality=st.sampled_from(["MR", "PT", "MR", "PT", "CT"]),
        stack=st.builds(Stack, slices=st.integers(7, 10)),
        scan=scans,
        attributes=st.fixed_dictionaries(
            {"SeriesDescription": st.sampled_from(["T1", "T2", "NAC"]), "ImageType": st.sampled_from(["", "MIP"])}
        ),
        state=st.sampled_from([*[SeriesState.COMPLETE] * 5, SeriesState.RECEIVING, SeriesState.QUARANTINED]),
    ),
    max_size=9,
    unique_by=lambda one: one.key,
)


@settings(max_examples=150)
@given(crowd=crowds, seed=st.integers(0, 99))
def test_the_order_of_series_and_instances_never_matters(crowd: list[Series], seed: int) -> None:
    draw = random.Random(seed)
    shuffled = [
        replace(one, instances=tuple(draw.sample(one.instances, len(one.instances))))
        for one in draw.sample(crowd, len(crowd))
    ]
    assert match(*shuffled) == match(*crowd)
    assert match(*crowd, *crowd) == match(*crowd)


@settings(max_examples=150)
@given(crowd=crowds)
def test_every_complete_candidate_ends_in_a_pair_or_in_exactly_one_rejection(crowd: list[Series]) -> None:
    matching = match(*crowd)
    candidates = {one.key for one in crowd if one.state is SeriesState.COMPLETE and one.head.modality in {"MR", "PT"}}
    paired = {key for pair in matching.pairs for key in (pair.fixed, pair.moving)}
    rejected = [key for one in matching.rejections for key in one.series]
    assert len(rejected) == len(set(rejected))
    assert paired.isdisjoint(rejected)
    assert paired | set(rejected) == candidates
    assert all(one.reason for one in matching.rejections)


@settings(max_examples=150)
@given(crowd=crowds)
def test_pairs_never_cross_patients_and_each_moving_series_is_fused_once(crowd: list[Series]) -> None:
    matching = match(*crowd)
    by_key = {one.key: one for one in crowd}
    for pair in matching.pairs:
        fixed, moving = by_key[pair.fixed].head, by_key[pair.moving].head
        assert (fixed.modality, moving.modality) == ("MR", "PT")
        assert is_same_patient(fixed.patient, moving.patient)
        same_frame = fixed.frame_of_reference_uid == moving.frame_of_reference_uid != ""
        assert pair.shared_frame == same_frame
    assert len({pair.moving for pair in matching.pairs}) == len(matching.pairs)


@settings(max_examples=100)
@given(crowd=crowds, strangers=crowds)
def test_another_patient_changes_nothing(crowd: list[Series], strangers: list[Series]) -> None:
    elsewhere = [
        make_series(
            f"stranger-{number}",
            one.head.modality,
            scan=Scan(PatientIdentity("STRANGER"), study="s1", frame="f1"),
            attributes=one.head.attributes,
        )
        for number, one in enumerate(strangers)
    ]
    before, after = match(*crowd), match(*crowd, *elsewhere)
    known = {one.key for one in crowd}
    assert before.pairs == tuple(pair for pair in after.pairs if pair.fixed in known)
    assert before.rejections == tuple(one for one in after.rejections if one.series[0] in known)


@given(crowd=crowds)
def test_nothing_said_names_a_patient(crowd: list[Series]) -> None:
    matching = match(*crowd)
    words = " ".join([one.reason for one in matching.rejections] + [r for pair in matching.pairs for r in pair.reasons])
    assert not any(secret in words for secret in ("P1", "P2", "19700101", "19800101"))


@settings(max_examples=150)
@given(crowd=crowds)
def test_what_still_arrives_is_waited_for_and_changes_no_other_pair(crowd: list[Series]) -> None:
    """Of one patient only: among several, an arriving series may be what tells that they share an ID."""
    alike = [alter_instances(one, patient=PatientIdentity("P1")) for one in crowd]
    closed = [one for one in alike if one.state is not SeriesState.RECEIVING]
    now, later = match(*alike), match(*closed)
    open_keys = {one.key for one in alike} - {one.key for one in closed}
    assert not any(key in open_keys for pair in now.pairs for key in (pair.fixed, pair.moving))
    assert not any(one.series[0] in open_keys for one in now.rejections)
    fused = [(pair.fixed, pair.moving) for pair in later.pairs]
    assert all((pair.fixed, pair.moving) in fused for pair in now.pairs)
    assert open_keys or now == later


@settings(max_examples=150)
@given(crowd=crowds)
def test_scores_order_all_partners_of_a_series_and_the_link_counts_most(crowd: list[Series]) -> None:
    matching = match(*crowd)
    for file in matching.files:
        for bond in (bond for one in file.moving for bond in file.list_bonds(one.key)):
            # One study may last longer than the window.
            assert bond.link * LINK_SCORE <= bond.score + bond.days * 0.1 < (bond.link + 1) * LINK_SCORE
        for scan in file.scans:
            others = file.list_bonds(scan.chosen.moving.key)
            assert scan.chosen.score == max(bond.score for bond in others)
    assert all(pair.score > 0 for pair in matching.pairs)


def test_a_shared_frame_beats_a_preferred_description() -> None:
    hybrid, better = mr("hybrid", description="T2"), mr("better", Scan(frame="other"), description="T1")
    moving = pt("pet")
    matching = match(hybrid, better, moving)
    assert [(pair.fixed, pair.shared_frame) for pair in matching.pairs] == [(hybrid.key, True)]
    assert "same frame of reference" in reason_for(matching, better)


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        (mr("t1", description="T1"), mr("t2", description="T2", slices=40)),
        (mr("fine", slices=40), mr("coarse", slices=20)),
        (mr("a"), mr("b")),
    ],
)
def test_the_better_mri_wins_and_the_loser_is_told(winner: Series, loser: Series) -> None:
    if winner.frames == loser.frames and winner.head.attributes == loser.head.attributes:
        winner, loser = sorted([winner, loser], key=lambda one: one.key.series_instance_uid)
    matching = match(loser, pt("pet"), winner)
    assert [pair.fixed for pair in matching.pairs] == [winner.key]
    assert winner.key.series_instance_uid in reason_for(matching, loser)


def test_a_dynamic_series_wins_nothing_by_its_time_points() -> None:
    still, part = mr("still", slices=20), mr("dynamic", slices=10)
    copies = tuple(
        replace(one, sop_instance_uid=f"{one.sop_instance_uid}.{time}") for one in part.instances for time in range(8)
    )
    dynamic = replace(part, instances=copies)
    matching = match(dynamic, still, pt("pet"))
    assert [pair.fixed for pair in matching.pairs] == [still.key]
    assert "20 to 10 slices" in reason_for(matching, dynamic)


def test_of_as_many_slices_one_volume_wins_over_many_time_points() -> None:
    fixed = mr("mri")
    for name in "abcdef":
        part = pt(name)
        copies = [replace(one, sop_instance_uid=f"{one.sop_instance_uid}.{t}") for one in part.instances for t in "12"]
        dynamic = replace(part, instances=tuple(copies))
        assert [pair.moving for pair in match(fixed, dynamic, pt("still")).pairs] == [pt("still").key]


def test_the_nearest_day_wins_between_equals() -> None:
    far, near = mr("far", replace(LATER, acquired_at=NOON + timedelta(days=20))), mr("near", LATER)
    assert [pair.fixed for pair in match(far, near, pt("pet")).pairs] == [near.key]


def test_a_preferred_series_from_last_month_loses_to_that_of_the_day() -> None:
    old = mr("old", replace(LATER, acquired_at=NOON - timedelta(days=29)), "T1")
    today = mr("today", replace(LATER, acquired_at=NOON + timedelta(days=1)), "T2")
    assert [pair.fixed for pair in match(old, today, pt("pet")).pairs] == [old.key], "29 days cost less than T1 brings"
    older = PIPELINE.model_copy(update={"pairing": PIPELINE.pairing.model_copy(update={"day_weight": 0.2})})
    (pair,) = match_pairs(older, [old, today, pt("pet")], NOW).pairs
    assert pair.fixed == today.key
    assert "1 day(s) between the acquisitions" in pair.reasons


@pytest.mark.parametrize(("minutes", "fused"), [(0, 1), (9, 1), (11, 2), (60, 2)])
def test_early_and_late_images_of_one_session_are_two_scans(minutes: int, fused: int) -> None:
    late = pt("late", replace(HERE, acquired_at=NOON + timedelta(minutes=minutes)))
    matching = match(mr("mri"), pt("early"), late)
    assert len(matching.pairs) == fused
    assert sum(len(pair.rivals) for pair in matching.pairs) == 2 - fused


def test_a_chain_of_scans_nine_minutes_apart_is_not_one_scan() -> None:
    scans = [pt(f"scan {n}", replace(HERE, acquired_at=NOON + timedelta(minutes=9 * n))) for n in range(4)]
    assert [len(pair.rivals) for pair in match(mr("mri"), *scans).pairs] == [1, 1]


def test_both_tracers_of_one_session_are_fused_each_by_its_best_reconstruction() -> None:
    tracers = [
        make_series(f"{nuclide} {words}", "PT", attributes={"SeriesDescription": words, "Radionuclide": nuclide})
        for nuclide in ("99m", "123")
        for words in ("AC", "NAC")
    ]
    matching = match(mr("mri"), *tracers)
    assert {pair.moving for pair in matching.pairs} == {tracers[0].key, tracers[2].key}
    for best, worse in (tracers[:2], tracers[2:]):
        assert best.key.series_instance_uid in reason_for(matching, worse)


def test_an_undated_reconstruction_is_no_scan_of_its_own() -> None:
    undated = pt("undated", replace(HERE, acquired_at=None), "NAC")
    (pair,) = match(mr("mri"), undated, pt("dated")).pairs
    assert (pair.moving, pair.rivals) == (pt("dated").key, (undated.key,))


def test_the_second_best_waits_while_the_best_arrives() -> None:
    second, moving = mr("t2", description="T2"), pt("pet")
    best = replace(mr("t1", description="T1", slices=3), state=SeriesState.RECEIVING)
    matching = match(second, best, moving)
    assert not matching.pairs
    for one in (second, moving):
        assert best.key.series_instance_uid in reason_for(matching, one)
        assert "still arriving" in reason_for(matching, one)
    lost = replace(best, state=SeriesState.QUARANTINED)
    assert [pair.fixed for pair in match(second, lost, moving).pairs] == [second.key]


def test_an_equal_that_is_still_arriving_is_waited_for_as_it_may_have_more_slices() -> None:
    whole, growing = mr("whole", slices=40), replace(mr("growing"), state=SeriesState.CANDIDATE)
    assert not match(whole, growing, pt("pet")).pairs


@pytest.mark.parametrize("worse", [{"description": "T2"}, {"scan": LATER, "description": "T1"}])
def test_nobody_waits_for_what_would_not_be_chosen(worse: dict[str, Any]) -> None:
    growing = replace(mr("growing", **worse), state=SeriesState.REOPENED)
    assert [pair.fixed for pair in match(mr("whole", description="T1"), growing, pt("pet")).pairs] == [mr("whole").key]


def test_an_uncorrected_pet_waits_for_the_corrected_one_that_is_arriving() -> None:
    nac = pt("nac", description="PET NAC")
    matching = match(mr("mri"), nac, replace(pt("ac", description="PET AC"), state=SeriesState.RECEIVING))
    assert not matching.pairs
    assert "still arriving" in reason_for(matching, nac)


def test_of_two_reconstructions_the_corrected_one_is_fused() -> None:
    fixed, nac, ac = mr("mri"), pt("nac", description="PET NAC", slices=30), pt("ac", description="PET AC")
    matching = match(fixed, nac, ac)
    assert [pair.moving for pair in matching.pairs] == [ac.key]
    assert "attenuation corrected" in reason_for(matching, nac)


def test_two_scans_are_both_fused_with_the_same_mri() -> None:
    fixed, first, second = mr("mri"), pt("first"), pt("second", LATER)
    matching = match(fixed, first, second)
    assert {(pair.fixed, pair.moving) for pair in matching.pairs} == {(fixed.key, one.key) for one in (first, second)}
    assert not matching.rejections


def test_an_older_generation_is_never_paired() -> None:
    fixed, old = mr("mri"), pt("pet")
    new = replace(old, key=SeriesKey(old.key.series_instance_uid, 2))
    assert [pair.moving for pair in match(fixed, old, new).pairs] == [new.key]
    reopened = replace(new, state=SeriesState.REOPENED)
    assert not match(fixed, old, reopened).pairs


@pytest.mark.parametrize(
    ("scan", "words"),
    [
        (Scan(PatientIdentity("")), "no PatientID"),
        (Scan(PatientIdentity("P1", issuer="B")), "issuer of the patient ID contradicts"),
        (replace(LATER, acquired_at=NOON + timedelta(days=31)), "31 days apart, more than 30"),
        (replace(LATER, acquired_at=None), "states no date"),
        (Scan(PatientIdentity("P2")), "no complete MR series of this patient"),
        (Scan(PatientIdentity("UNKNOWN")), "the PatientID is a placeholder"),
    ],
)
def test_why_a_pet_stays_alone(scan: Scan, words: str) -> None:
    fixed, moving = mr("mri", Scan(PatientIdentity("P1", issuer="A"))), pt("pet", scan)
    assert words in reason_for(match(fixed, moving), moving)


def test_a_contradiction_is_told_before_a_date() -> None:
    moving = pt("pet", Scan(PatientIdentity("P1", birth_date="19700101"), study="s", frame="f"))
    far = mr("far", replace(LATER, acquired_at=NOON + timedelta(days=99)))
    other = mr("other", Scan(PatientIdentity("P1", birth_date="19800101")))
    assert "birth date" in reason_for(match(moving, far, other), moving)


def test_a_wait_is_closed_once_the_hold_time_is_over_and_the_words_stay_the_same() -> None:
    moving = replace(pt("pet"), first_seen_at=NOON)
    reasons = [
        reason_for(match_pairs(PIPELINE, [moving], NOON + timedelta(hours=hours)), moving) for hours in (1, 24, 25, 99)
    ]
    assert [reason.split(":")[0] for reason in reasons] == ["no partner yet"] * 2 + ["closed"] * 2
    assert reasons[0] == reasons[1]
    assert reasons[2] == reasons[3]


def test_a_partner_that_comes_after_the_hold_time_still_pairs() -> None:
    moving = replace(pt("pet"), first_seen_at=NOON)
    late = mr("mri", LATER)
    assert len(match_pairs(PIPELINE, [moving, late], NOON + timedelta(days=3)).pairs) == 1


def test_a_series_that_does_not_fit_its_role_says_why() -> None:
    projection = make_series("mip", "PT", attributes={"ImageType": "DERIVED\\SECONDARY\\MIP"})
    assert reason_for(match(mr("mri"), projection), projection) == "is a projection"


@pytest.mark.real_data
def test_real_series_find_their_partners(real_data: Path) -> None:
    """Three hybrid limb studies, two brain PET studies and a SPECT in another study than its MRI."""
    series = [settle_real(folder) for kind in ("sts_pet_mr", "aanlib") for folder in list_leaves(real_data / kind)]
    names = {one.key: str(Path(one.head.path).parent) for one in series}
    found = set()
    for text in (Path(__file__).parents[2] / "pipelines").glob("*.yaml"):
        matching = match_pairs(parse_pipeline(text.read_text(encoding="utf-8"), text.name), series, NOW)
        found |= {(names[pair.fixed], names[pair.moving], pair.shared_frame) for pair in matching.pairs}
    assert found == {
        ("sts_pet_mr/STS_001/MR_T1", "sts_pet_mr/STS_001/PET", True),
        ("sts_pet_mr/STS_003/MR_T1", "sts_pet_mr/STS_003/PET", True),
        ("sts_pet_mr/STS_004/MR_T1", "sts_pet_mr/STS_004/PET", True),
        ("aanlib/pet_axial/mr", "aanlib/pet_axial/pt", False),
        ("aanlib/pet_hybrid/mr", "aanlib/pet_hybrid/pt", True),
        ("aanlib/spect_a/mr", "aanlib/spect_a/nm", False),
    }


def list_leaves(folder: Path) -> list[Path]:
    return sorted({path.parent for path in folder.glob("*/*/*.dcm")})


def settle_real(folder: Path) -> Series:
    """Index and settle one folder as if its last instance had arrived twelve seconds ago."""
    root = folder.parents[2]
    headers = [read_header(StoredFile(path, str(path.relative_to(root)), "")) for path in sorted(folder.glob("*.dcm"))]
    series = Series(SeriesKey(headers[0].series_instance_uid, 1), SeriesState.RECEIVING, tuple(headers))
    settled = settle_series(series, Evidence(12.0, in_flight=False), SettleTimes())
    return replace(series, state=settled.state, reason=settled.reason)
