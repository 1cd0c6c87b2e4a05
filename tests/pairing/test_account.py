"""The account says what matching did, of everybody, and nothing about the patient."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionnode.domain.series import PatientIdentity, Series
from fusionnode.domain.terms import Role, SeriesState
from fusionnode.pairing.account import Account, Outcome, account_for
from fusionnode.pairing.match import match_pairs
from fusionnode.pipeline.parse import parse_pipeline
from fusionnode.pipeline.schema import Condition
from tests.support.series_headers import NOON, Scan, Stack, make_series

PIPELINE = parse_pipeline(
    r"""
    name: mr-pt
    version: "1.0"
    fixed:
      modality: [MR]
      where: [{attribute: ImageType, excludes: LOCALIZER, because: is a localizer}]
      prefer:
        - {attribute: SeriesDescription, matches: T1, weight: 3, because: T1-weighted}
        - {attribute: MRAcquisitionType, matches: 3D, weight: 2}
    moving: {modality: [PT]}
    output: {series_description: Fused}
    """,
    "test.yaml",
)
NOW = NOON + timedelta(hours=1)
SECRETS = ("PATIENT-1", "PATIENT-2", "19700101", "19800101", "2024-", "Mrs")

crowds = st.lists(
    st.builds(
        make_series,
        name=st.integers(0, 30).map(str),
        modality=st.sampled_from(["MR", "PT", "MR", "PT", "CT"]),
        stack=st.builds(Stack, slices=st.integers(7, 11)),
        scan=st.builds(
            Scan,
            patient=st.builds(
                PatientIdentity,
                patient_id=st.sampled_from(["", "PATIENT-1", "PATIENT-1", "PATIENT-2"]),
                birth_date=st.sampled_from(["", "19700101", "19800101"]),
            ),
            study=st.sampled_from(["s1", "s2"]),
            frame=st.sampled_from(["", "f1"]),
            acquired_at=st.sampled_from([None, NOON, NOON + timedelta(days=50)]),
        ),
        attributes=st.fixed_dictionaries(
            {
                "SeriesDescription": st.sampled_from(["T1", "Mrs Example"]),
                "ImageType": st.sampled_from(["", "LOCALIZER"]),
            }
        ),
        state=st.sampled_from([*[SeriesState.COMPLETE] * 4, *SeriesState]),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda one: one.key,
)


def account(subject: Series, *others: Series) -> Account:
    return account_for(PIPELINE, subject, [subject, *others], NOW)


@settings(max_examples=60)
@given(crowd=crowds)
def test_the_account_agrees_with_the_matching_and_is_symmetric(crowd: list[Series]) -> None:
    matching = match_pairs(PIPELINE, crowd, NOW)
    scores = {(pair.fixed, pair.moving): pair.score for pair in matching.pairs}
    reasons = {one.series[0]: one.reason for one in matching.rejections}
    accounts = {one.key: account_for(PIPELINE, one, crowd, NOW) for one in crowd}
    for key, found in accounts.items():
        chosen = {one.key for one in found.partners if one.outcome is Outcome.PAIRED}
        assert chosen == {b if key == a else a for a, b in scores if key in (a, b)}
        assert (found.outcome is Outcome.PAIRED) == bool(chosen)
        if key in reasons:
            assert found.words == reasons[key]
        for partner in found.partners:
            [back] = [one for one in accounts[partner.key].partners if one.key == key]
            assert (back.score, back.days, back.outcome) == (partner.score, partner.days, partner.outcome)
            assert partner.outcome is Outcome.PAIRED or partner.words
            pair = (key, partner.key) if found.role is Role.FIXED else (partner.key, key)
            assert partner.outcome is not Outcome.PAIRED or scores[pair] == partner.score


@settings(max_examples=60)
@given(crowd=crowds)
def test_every_series_of_the_other_role_and_patient_id_is_accounted_for(crowd: list[Series]) -> None:
    other = {"MR": "PT", "PT": "MR"}
    for one in crowd:
        found = account_for(PIPELINE, one, crowd, NOW)
        ids = one.head.patient.patient_id
        expected = {
            two.key
            for two in crowd
            if ids and two.head.patient.patient_id == ids and two.head.modality == other.get(one.head.modality)
        }
        assert {partner.key for partner in found.partners} == expected
        assert found.words


@settings(max_examples=60)
@given(crowd=crowds)
def test_nothing_in_it_names_a_patient_or_a_date(crowd: list[Series]) -> None:
    for one in crowd:
        text = str(account_for(PIPELINE, one, crowd, NOW))
        assert not any(secret in text for secret in SECRETS)


def test_a_series_that_no_role_wants_is_told_so() -> None:
    found = account(make_series("ct", "CT"))
    assert (found.role, found.outcome) == (None, Outcome.EXCLUDED)
    assert found.words == "modality is CT; this pipeline fuses MR or PT"


def test_the_condition_that_excluded_it_is_named_with_its_attribute() -> None:
    found = account(make_series("loc", attributes={"ImageType": "LOCALIZER"}), make_series("pet", "PT"))
    assert found.outcome is Outcome.EXCLUDED
    assert [(one.attribute, one.words) for one in found.unmet] == [("ImageType", "is a localizer")]
    assert [one.attribute for one in found.missed] == ["SeriesDescription", "MRAcquisitionType"]


def test_a_condition_on_all_instances_is_told_as_such() -> None:
    rule = PIPELINE.fixed.model_copy(
        update={"where": (Condition(attribute="ComplexImageComponent", excludes_if_all="PHASE", because="only phase"),)}
    )
    phase = make_series("phase", attributes={"ComplexImageComponent": "PHASE"})
    found = account_for(PIPELINE.model_copy(update={"fixed": rule}), phase, [phase], NOW)
    assert [(one.test, one.words) for one in found.unmet] == [
        ("ComplexImageComponent excludes 'PHASE' in all", "only phase")
    ]


def test_preferences_met_and_missed_add_up_to_the_rule() -> None:
    found = account(make_series("t1", attributes={"SeriesDescription": "T1"}))
    assert [(one.attribute, one.weight) for one in found.met] == [("SeriesDescription", 3)]
    assert [(one.attribute, one.words) for one in found.missed] == [("MRAcquisitionType", "")]


def test_partners_are_told_best_first_with_what_stood_against_the_others() -> None:
    pet = make_series("pet", "PT")
    best = make_series("t1", attributes={"SeriesDescription": "T1"})
    second = make_series("t2")
    contradicting = make_series("other", scan=Scan(PatientIdentity("P1", sex="F")))
    stranger = make_series("stranger", scan=Scan(PatientIdentity("P2")))
    broken = replace(make_series("broken"), state=SeriesState.QUARANTINED)
    male = replace(pet, instances=tuple(replace(one, patient=PatientIdentity("P1", sex="M")) for one in pet.instances))
    found = account(male, best, second, contradicting, stranger, broken)
    assert [one.outcome for one in found.partners] == [Outcome.PAIRED, Outcome.OUTBID, *[Outcome.EXCLUDED] * 2]
    assert [one.key for one in found.partners[:2]] == [best.key, second.key]
    words = {one.key: one.words for one in found.partners}
    assert best.key.series_instance_uid in words[second.key]
    assert "sex contradicts" in words[contradicting.key]
    assert "quarantined" in words[broken.key]


@pytest.mark.parametrize("late", ["fixed", "moving"])
def test_a_wait_is_told_from_both_sides(late: str) -> None:
    fixed, moving = make_series("mri"), make_series("pet", "PT")
    if late == "fixed":
        fixed = replace(fixed, state=SeriesState.RECEIVING)
    else:
        moving = replace(moving, state=SeriesState.RECEIVING)
    for found in (account(fixed, moving), account(moving, fixed)):
        assert found.outcome is Outcome.WAITING
        assert [one.outcome for one in found.partners] == [Outcome.WAITING]


def test_one_without_any_partner_is_alone() -> None:
    found = account(make_series("mri"))
    assert found.outcome is Outcome.ALONE
    assert "no partner yet" in found.words
