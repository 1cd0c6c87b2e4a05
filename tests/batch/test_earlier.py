"""Fused series are known by what they say of themselves, and decide what is fused once more."""

from dataclasses import replace

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from fusionnode.batch.earlier import EarlierResult, Judge, read_facts, read_result
from fusionnode.batch.request import Existing
from fusionnode.capture.identity import FusedIdentity
from fusionnode.domain.pair import Pair
from fusionnode.domain.series import SeriesKey
from fusionnode.domain.terms import MANUFACTURER
from fusionnode.flow.sweep import PairJudgement

PAIR = Pair("mr-pt", SeriesKey("1.1", 1), SeriesKey("1.2", 1), 1.0, shared_frame=False)
OLD = EarlierResult("1.8", ("1.1", "1.2"), made_at="20240301")
NEW = EarlierResult("1.9", ("1.1", "1.2", "1.7"), made_at="20240401")
OTHER = EarlierResult("1.10", ("1.1", "1.3"), made_at="20240501")


def _judge(existing: Existing, results: list[EarlierResult], torn: set[str] | None = None) -> tuple[Judge, list[str]]:
    skipped: list[str] = []
    judge = Judge(
        existing,
        lambda: results,
        lambda uid: uid not in (torn or set()),
        lambda _, there: skipped.append(there.series_instance_uid),
    )
    return judge, skipped


@pytest.mark.parametrize("spoilt", ["no UID", "no item", "VR"])
def test_what_only_looks_like_a_result_is_none(spoilt: str) -> None:
    header, source = Dataset(), Dataset()
    header.Modality, header.Manufacturer, header.SeriesInstanceUID = "OT", MANUFACTURER, "1.9"
    source.SeriesInstanceUID = "1.1"
    header.ReferencedSeriesSequence = [source]
    assert read_result(header) == EarlierResult("1.9", ("1.1",))
    if spoilt == "no UID":
        del source.SeriesInstanceUID
    elif spoilt == "no item":
        tag = Tag("ReferencedSeriesSequence")
        header[tag] = RawDataElement(tag, "SQ", 4, b"text", 0, False, True)
    else:
        tag = Tag("Modality")
        header[tag] = RawDataElement(tag, "US", 3, b"OTX", 0, False, True)
    assert read_result(header) is None


@pytest.mark.parametrize(
    ("existing", "expected", "skipped"),
    [
        (Existing.SKIP, PairJudgement(wanted=False), ["1.9"]),
        (Existing.SUPERSEDE, PairJudgement(wanted=True, supersedes="1.9"), []),
        (Existing.ADD, PairJudgement(wanted=True), []),
    ],
)
def test_the_newest_result_of_the_same_pair_counts(
    existing: Existing, expected: PairJudgement, skipped: list[str]
) -> None:
    judge, told = _judge(existing, [OTHER, NEW, OLD])
    assert (judge(PAIR, "a" * 24), told) == (expected, skipped)


@pytest.mark.parametrize("existing", list(Existing))
def test_the_very_same_result_is_never_made_again(existing: Existing) -> None:
    same = replace(OLD, series_instance_uid=FusedIdentity("a" * 24).series_uid)
    judge, told = _judge(existing, [same, NEW])
    assert not judge(PAIR, "a" * 24).wanted
    assert told == [same.series_instance_uid]


@pytest.mark.parametrize("existing", list(Existing))
def test_nothing_is_fused_from_a_series_that_did_not_come_whole(existing: Existing) -> None:
    judge, told = _judge(existing, [], {"1.2"})
    assert (judge(PAIR, "a" * 24), told) == (PairJudgement(wanted=False), [])


@pytest.mark.parametrize("existing", list(Existing))
def test_a_result_of_another_pair_changes_nothing(existing: Existing) -> None:
    judge, told = _judge(existing, [OTHER])
    assert (judge(PAIR, "a" * 24), told) == (PairJudgement(wanted=True), [])


def test_a_result_survives_the_journal() -> None:
    assert read_facts(NEW.as_facts()) == NEW


def _refer(*uids: str) -> list[Dataset]:
    items = []
    for uid in uids:
        item = Dataset()
        item.SeriesInstanceUID = uid
        items.append(item)
    return items


def test_a_result_names_its_sources_wherever_their_study_is_and_what_made_it() -> None:
    ds, study, scanner, algorithm = Dataset(), Dataset(), Dataset(), Dataset()
    ds.Modality, ds.Manufacturer, ds.SeriesInstanceUID = "OT", "fusionnode", "1.9"
    ds.ContentDate, ds.ContentTime = "20240401", "101500"
    ds.ReferencedSeriesSequence = _refer("1.1")
    study.ReferencedSeriesSequence = _refer("1.2")
    ds.StudiesContainingOtherReferencedInstancesSequence = [study]
    scanner.SoftwareVersions = "VB20"
    algorithm.SoftwareVersions = ["1.0", "laplacian@1", "mr-pt@1.0"]
    ds.ContributingEquipmentSequence = [scanner, algorithm]
    expected = EarlierResult("1.9", ("1.1", "1.2"), ("1.0", "laplacian@1", "mr-pt@1.0"), "20240401101500")
    assert read_result(ds) == expected


def test_other_people_s_series_are_none_of_ours() -> None:
    ds = Dataset()
    ds.Modality, ds.Manufacturer = "OT", "Somebody"
    assert read_result(ds) is None
    assert read_result(Dataset()) is None
