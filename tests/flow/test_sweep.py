"""The sweep on a real ledger and a real spool."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import Dataset

from fusionnode.domain.job import JobEvent, JobState
from fusionnode.domain.pair import Pair
from fusionnode.domain.series import InstanceHeader
from fusionnode.domain.terms import SeriesState, Step
from fusionnode.errors import LedgerUnavailable, Refused
from fusionnode.flow.ports import StoredFile
from fusionnode.flow.sweep import PairJudgement
from fusionnode.index.store import open_ledger
from fusionnode.wiring import Node, build_sweeper
from tests.support.datasets import Identity, Layout, make_mr_series, make_pt_series
from tests.support.nodes import FRAME, MOMENT, make_pair, open_test_node, put_in_spool, queue_job

SMALL = Layout(slices=10, rows=24, columns=20)


def make_better_mri() -> list[Dataset]:
    """A series that the shipped rules prefer to the MRI of `make_pair`."""
    identity = Identity(frame_of_reference_uid=FRAME, series_number=3, description="t1_mprage")
    return make_mr_series(SMALL, identity)


def test_an_empty_spool_is_swept_in_peace(tmp_path: Path) -> None:
    report = build_sweeper(open_test_node(tmp_path)).sweep(MOMENT, 0.0)
    assert (report.indexed, report.quarantined, report.queued) == (0, 0, ())


def test_a_file_that_is_no_dicom_is_set_aside_with_its_reason_and_nothing_else_suffers(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, _ = make_pair()
    put_in_spool(node, fixed, tmp_path / "scratch")
    garbage = node.spool.incoming / "garbage"
    garbage.write_bytes(b"\0" * 128 + b"DICM" + b"garbage" * 50)
    node.spool.accept(garbage, "1.2.3", "0" * 64)
    report = build_sweeper(node).sweep(MOMENT, 0.0)
    assert (report.indexed, report.quarantined) == (len(fixed), 1)
    aside = [path.name for path in (tmp_path / "spool" / "quarantine").iterdir()]
    assert any(name.endswith(".reason.txt") for name in aside)
    assert any(not name.endswith(".reason.txt") for name in aside)


def test_a_file_that_trips_the_program_holds_up_nobody_and_is_set_aside_at_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    put_in_spool(node, [*fixed, *moving], tmp_path / "scratch")
    sweeper = build_sweeper(node)
    victim = list(node.spool.list_arrivals())[3]
    read = sweeper.read_header

    def trip(stored: StoredFile) -> InstanceHeader:
        if stored.place == victim.place:
            raise ZeroDivisionError
        return read(stored)

    monkeypatch.setattr(sweeper, "read_header", trip)
    reports = [sweeper.sweep(MOMENT, 100.0 * second) for second in range(4)]
    assert [(report.indexed, report.quarantined) for report in reports] == [(19, 0), (0, 0), (0, 1), (0, 0)]


def test_a_patient_id_longer_than_the_standard_allows_is_set_aside_and_not_cut(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    series = make_mr_series(identity=Identity(patient_id="X" * 64))
    for ds in series[:1]:
        ds.PatientID = "Y" * 64
    put_in_spool(node, series[:1], tmp_path / "good")
    [arrival] = node.spool.list_arrivals()
    content = arrival.path.read_bytes().replace(b"Y" * 64, b"Y" * 64)
    longer = content.replace(b"LO\x40\x00" + b"Y" * 64, b"LO\x46\x00" + b"Y" * 70)
    assert longer != content
    arrival.path.write_bytes(longer)
    report = build_sweeper(node).sweep(MOMENT, 0.0)
    assert (report.indexed, report.quarantined) == (0, 1)


def test_a_ledger_that_hiccups_while_pairing_is_asked_again_in_the_next_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = open_test_node(tmp_path)
    sweeper = build_sweeper(node)
    sweeper.sweep(MOMENT, 0.0)
    fixed, moving = make_pair()
    put_in_spool(node, [*fixed, *moving], tmp_path / "scratch")
    sweeper.sweep(MOMENT, 10.0)

    def hiccup(*_: object) -> None:
        raise LedgerUnavailable("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(node.ledger, "list_related", hiccup)
        with pytest.raises(LedgerUnavailable):
            sweeper.sweep(MOMENT, 20.0)
    assert len(node.ledger.list_series((SeriesState.COMPLETE,))) == 2
    assert len(sweeper.sweep(MOMENT, 21.0).queued) == 1


def test_an_instance_that_contradicts_its_series_ends_the_jobs_made_from_it(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    fixed, _ = make_pair()
    fixed[4].PixelData = bytes(len(fixed[4].PixelData))
    put_in_spool(node, fixed[4:5], tmp_path / "other")
    build_sweeper(node).sweep(MOMENT, 0.0)
    withdrawn = node.ledger.find_job(job.id)
    assert withdrawn.state is JobState.SUPERSEDED
    assert "contradicts" in withdrawn.reason


def test_a_uid_that_arrives_in_another_series_ends_the_jobs_of_the_one_it_was_known_in(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    fixed, _ = make_pair()
    stranger = make_mr_series(SMALL, Identity(series_number=77))[0]
    stranger.SOPInstanceUID = stranger.file_meta.MediaStorageSOPInstanceUID = fixed[4].SOPInstanceUID
    put_in_spool(node, [stranger], tmp_path / "other")
    build_sweeper(node).sweep(MOMENT, 0.0)
    withdrawn = node.ledger.find_job(job.id)
    assert withdrawn.state is JobState.SUPERSEDED
    assert "contradicts" in withdrawn.reason


def test_what_crashed_workers_left_behind_is_cleared_and_what_is_needed_stays(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    folder = tmp_path / "spool" / "prepared"
    folder.mkdir(exist_ok=True)
    for name in (f"{job.id}.npz", "0123456789abcdef.npz", ".0123456789abcdef.7"):
        (folder / name).touch()
    build_sweeper(node).sweep(MOMENT, 0.0)
    assert [path.name for path in folder.iterdir()] == [f"{job.id}.npz"]


def test_a_pair_is_queued_once_however_often_it_is_swept(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    again = build_sweeper(node)
    assert [again.sweep(MOMENT + timedelta(days=day), 1000.0 * day).queued for day in range(3)] == [(), (), ()]
    assert [one.id for one in node.ledger.list_jobs()] == [job.id]


def test_a_sweeper_that_starts_later_finds_the_pair_all_the_same(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    put_in_spool(node, [*fixed, *moving], tmp_path / "scratch")
    first = build_sweeper(node)
    first.pipelines = {}
    for second in range(5):
        first.sweep(MOMENT, 10.0 * second)
    assert len(node.ledger.list_series((SeriesState.COMPLETE,))) == 2
    assert len(build_sweeper(node).sweep(MOMENT, 0.0).queued) == 1


def test_the_same_bytes_again_change_nothing(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    queue_job(node, tmp_path)
    fixed, _ = make_pair()
    put_in_spool(node, fixed, tmp_path / "again")
    sweeper = build_sweeper(node)
    for second in range(4):
        assert sweeper.sweep(MOMENT, 100.0 * second).queued == ()
    assert {series.key.generation for series in node.ledger.list_series((SeriesState.COMPLETE,))} == {1}


def test_other_content_under_the_same_uid_is_never_fused(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    put_in_spool(node, [*fixed, *moving], tmp_path / "scratch")
    fixed[4].PixelData = bytes(len(fixed[4].PixelData))
    put_in_spool(node, fixed[4:5], tmp_path / "other")
    sweeper = build_sweeper(node)
    for second in range(5):
        assert sweeper.sweep(MOMENT, 100.0 * second).queued == ()
    [quarantined] = node.ledger.list_series((SeriesState.QUARANTINED,))
    assert fixed[4].SOPInstanceUID in quarantined.reason


def test_a_series_with_a_gap_is_quarantined_naming_what_is_missing(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    put_in_spool(node, [*fixed[:5], *fixed[6:], *moving], tmp_path / "scratch")
    sweeper = build_sweeper(node)
    for second in range(5):
        assert sweeper.sweep(MOMENT, 100.0 * second).queued == ()
    [quarantined] = node.ledger.list_series((SeriesState.QUARANTINED,))
    assert "missing" in quarantined.reason
    put_in_spool(node, fixed[5:6], tmp_path / "late")
    queued = [job for second in range(5, 9) for job in sweeper.sweep(MOMENT, 100.0 * second).queued]
    assert [job.fixed.generation for job in queued] == [2]


def test_a_silent_worker_s_step_is_free_again(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    assert node.ledger.claim_job(Step.PREPARE, MOMENT, 30, "silent")
    sweeper = build_sweeper(node)
    released = [sweeper.sweep(MOMENT, monotonic).released for monotonic in (0, 7, 14, 21, 28, 35)]
    assert [[one.id for one in jobs] for jobs in released] == [[], [], [], [], [], [job.id]]
    assert node.ledger.find_job(job.id).state is JobState.QUEUED


def test_a_better_mri_that_arrives_later_makes_a_job_that_says_what_it_supersedes(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    first = queue_job(node, tmp_path)
    better = make_better_mri()
    put_in_spool(node, better, tmp_path / "better")
    sweeper = build_sweeper(node)
    [second] = [job for second in range(4) for job in sweeper.sweep(MOMENT, 100.0 * second).queued]
    assert second.fixed.series_instance_uid == better[0].SeriesInstanceUID
    assert second.supersedes == first.id
    assert node.ledger.find_job(first.id) == first, "it is right, only worse, and the better one may be refused"


def test_a_corrected_pet_that_arrives_later_supersedes_the_uncorrected_one(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, _ = make_pair()
    nac, ac = (
        make_pt_series(SMALL, Identity(frame_of_reference_uid=FRAME, series_number=number, description=words))
        for number, words in ((4, "PET NAC"), (5, "PET AC"))
    )
    sweeper = build_sweeper(node)
    put_in_spool(node, [*fixed, *nac], tmp_path / "nac")
    [first] = [job for second in range(3) for job in sweeper.sweep(MOMENT, 100.0 * second).queued]
    put_in_spool(node, ac, tmp_path / "ac")
    [second] = [job for second in range(3, 6) for job in sweeper.sweep(MOMENT, 100.0 * second).queued]
    assert second.moving.series_instance_uid == ac[0].SeriesInstanceUID
    assert second.supersedes == first.id


def _with_output(node: Node, **output: object) -> Node:
    """The node under pipelines of the same names and versions that write otherwise."""
    pipelines = {
        name: one.model_copy(update={"output": one.output.model_copy(update=output)})
        for name, one in node.pipelines.items()
    }
    return replace(node, pipelines=pipelines)


def test_an_option_changed_under_the_same_version_makes_a_job_of_its_own_and_only_one(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    first = queue_job(node, tmp_path)
    changed = _with_output(node, opacity=0.4)
    [second] = build_sweeper(changed).sweep(MOMENT, 1000.0).queued
    assert second.supersedes == first.id
    assert node.ledger.find_job(first.id).state is JobState.SUPERSEDED
    for one in (changed, _with_output(changed, opacity=0.4), _with_output(node), node):
        assert build_sweeper(one).sweep(MOMENT + timedelta(hours=2), 9000.0).queued == ()
    assert node.ledger.has_job(first.id)


def test_a_refused_job_has_nothing_to_supersede(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    first = queue_job(node, tmp_path)
    claimed = node.ledger.claim_job(Step.PREPARE, MOMENT, 30, "worker")
    assert claimed is not None
    node.ledger.advance_job(claimed, JobEvent.REFUSED, MOMENT, Refused("no"))
    put_in_spool(node, make_better_mri(), tmp_path / "better")
    sweeper = build_sweeper(node)
    [second] = [job for second in range(4) for job in sweeper.sweep(MOMENT, 100.0 * second).queued]
    assert (second.supersedes, node.ledger.find_job(first.id).state) == ("", JobState.REFUSED)


def test_nothing_is_fused_with_the_second_best_while_the_best_arrives(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    better = make_better_mri()
    sweeper = build_sweeper(node)
    put_in_spool(node, [*fixed, *moving], tmp_path / "scratch")
    sweeper.sweep(MOMENT, 0.0)
    put_in_spool(node, better[:4], tmp_path / "some")
    assert sweeper.sweep(MOMENT, 10.0).queued == ()
    assert len(node.ledger.list_series((SeriesState.COMPLETE,))) == 2
    put_in_spool(node, better[4:], tmp_path / "rest")
    assert sweeper.sweep(MOMENT, 10.1).queued == ()
    [job] = sweeper.sweep(MOMENT, 20.0).queued
    assert job.fixed.series_instance_uid == better[0].SeriesInstanceUID


def test_what_was_waited_for_in_vain_holds_nobody_up(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    better = make_better_mri()
    sweeper = build_sweeper(node)
    put_in_spool(node, [*fixed, *moving], tmp_path / "scratch")
    sweeper.sweep(MOMENT, 0.0)
    put_in_spool(node, [*better[:4], *better[5:]], tmp_path / "gap")
    assert [sweeper.sweep(MOMENT, second).queued for second in (10.0, 10.5, 11.5)] == [()] * 3
    [job] = sweeper.sweep(MOMENT, 20.0).queued
    assert job.fixed.series_instance_uid == fixed[0].SeriesInstanceUID
    assert [one.head.series_instance_uid for one in node.ledger.list_series((SeriesState.QUARANTINED,))] == [
        better[0].SeriesInstanceUID
    ]


def test_a_pair_whose_older_half_is_out_of_sight_is_still_a_pair(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    sweeper = build_sweeper(node)
    put_in_spool(node, fixed, tmp_path / "mri")
    for second in range(3):
        sweeper.sweep(MOMENT, 100.0 * second)
    later = MOMENT + timedelta(days=20)
    put_in_spool(node, moving, tmp_path / "pet")
    jobs = [job for second in range(3) for job in sweeper.sweep(later, 1000.0 + 100 * second).queued]
    assert len(jobs) == 1
    assert build_sweeper(node).sweep(MOMENT + timedelta(days=40), 0.0).queued == ()
    assert node.ledger.list_rejections(moving[0].SeriesInstanceUID) == []


def test_a_wait_is_closed_with_its_reason_once_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    node = open_test_node(tmp_path)
    fixed, _ = make_pair()
    put_in_spool(node, fixed, tmp_path / "mri")
    sweeper = build_sweeper(node)
    with caplog.at_level("INFO"):
        for hour in (0, 1, 2, 23, 25, 26, 30):
            sweeper.sweep(MOMENT + timedelta(hours=hour), 3600.0 * hour)
    reasons = [one.reason for one in node.ledger.list_rejections(fixed[0].SeriesInstanceUID) if one.pipeline == "mr-pt"]
    assert [reason.split(":")[0] for reason in reasons] == ["no partner yet", "closed"]
    assert sum("mr-pt@1.0 does not pair" in record.message for record in caplog.records) == 2


def test_why_a_pair_was_made_is_in_the_log_of_its_job(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    ledger = open_ledger(node.settings.ledger_url)
    assert "same frame of reference" in ledger.list_events(job.id)[0].detail
    ledger.close()


def test_a_series_that_got_its_job_is_no_longer_told_to_wait(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    sweeper = build_sweeper(node)
    put_in_spool(node, moving, tmp_path / "pet")
    for second in range(3):
        sweeper.sweep(MOMENT, 100.0 * second)
    assert [one.pipeline for one in node.ledger.list_rejections(moving[0].SeriesInstanceUID)] == ["mr-pt"]
    put_in_spool(node, fixed, tmp_path / "mri")
    assert len([job for second in range(3, 6) for job in sweeper.sweep(MOMENT, 100.0 * second).queued]) == 1
    assert node.ledger.list_rejections(moving[0].SeriesInstanceUID) == []


def test_a_fused_series_that_waited_in_vain_for_a_better_partner_is_no_longer_told_to_wait(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    better = make_better_mri()
    sweeper = build_sweeper(node)
    put_in_spool(node, [*better[:4], *better[5:]], tmp_path / "gap")
    sweeper.sweep(MOMENT + timedelta(days=1), 0.0)
    pet = job.moving.series_instance_uid
    assert ["waits for" in one.reason for one in node.ledger.list_rejections(pet)] == [True]
    for second in range(1, 4):
        assert sweeper.sweep(MOMENT + timedelta(days=1), 10.0 * second).queued == ()
    assert node.ledger.list_rejections(pet) == []


@pytest.mark.parametrize("wanted", [True, False])
def test_a_judge_is_asked_before_a_job_is_entered(tmp_path: Path, wanted: bool) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    put_in_spool(node, [*fixed, *moving], tmp_path / "scratch")
    asked: list[str] = []

    def judge(pair: Pair, job_id: str) -> PairJudgement:
        assert pair.fixed.series_instance_uid == fixed[0].SeriesInstanceUID
        asked.append(job_id)
        return PairJudgement(wanted, supersedes="1.2.3")

    sweeper = replace(build_sweeper(node), judge_pair=judge)
    for second in range(3):
        sweeper.sweep(MOMENT, 100.0 * second)
    jobs = node.ledger.list_jobs()
    assert [(job.id, job.supersedes) for job in jobs] == ([(asked[0], "1.2.3")] if wanted else [])
