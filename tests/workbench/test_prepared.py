"""A prepared pair survives the rest between two steps unchanged, and is visible whole or not at all."""

import dataclasses
import math
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from fusionnode.domain.images import PreparedPair
from fusionnode.domain.job import Job, JobState
from fusionnode.domain.series import SeriesKey
from fusionnode.errors import SpoolFileMissing, SpoolFull
from fusionnode.workbench.prepared import PreparedFolder
from tests.support.pairs import make_prepared_pair

JOB = Job(
    "0a1b",
    "mr-pt",
    "1",
    SeriesKey("1.2", 1),
    SeriesKey("1.3", 1),
    False,
    JobState.PREPARING,
    datetime(2026, 1, 1, tzinfo=UTC),
)


def _assert_equal(one: PreparedPair, other: PreparedPair) -> None:
    for name in ("fixed", "moving", "covered"):
        left, right = getattr(one, name), getattr(other, name)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(one.grid.patient_from_index, other.grid.patient_from_index)
    np.testing.assert_array_equal(one.estimate.motion.moving_from_fixed, other.estimate.motion.moving_from_fixed)
    for name in ("fixed_window", "moving_window", "fixed_sources", "moving_sources", "notes", "frame_of_reference_uid"):
        assert getattr(one, name) == getattr(other, name)
    for field in dataclasses.fields(one.estimate):
        left, right = getattr(one.estimate, field.name), getattr(other.estimate, field.name)
        if field.name != "motion":
            assert left == right or (math.isnan(left) and math.isnan(right))


def test_load_prepared_gives_back_what_was_saved(tmp_path: Path) -> None:
    prepared = make_prepared_pair()
    folder = PreparedFolder(tmp_path)
    folder.save_prepared(JOB, prepared)
    _assert_equal(folder.load_prepared(JOB), prepared)


def test_the_measured_values_and_their_scale_survive_too(tmp_path: Path) -> None:
    plain = make_prepared_pair()
    prepared = dataclasses.replace(plain, uptake=plain.moving * np.float32(8), moving_scale=2.5e-4)
    folder = PreparedFolder(tmp_path)
    folder.save_prepared(JOB, prepared)
    again = folder.load_prepared(JOB)
    assert again.moving_scale == 2.5e-4
    assert again.uptake is not None
    assert again.uptake.dtype == np.float32
    np.testing.assert_array_equal(again.uptake, prepared.uptake)
    assert again.without_pictures().uptake is again.uptake


def test_load_prepared_that_is_not_there_waits_for_it(tmp_path: Path) -> None:
    with pytest.raises(SpoolFileMissing, match="0a1b"):
        PreparedFolder(tmp_path).load_prepared(JOB)


def test_save_prepared_again_replaces_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    folder = PreparedFolder(tmp_path)
    folder.save_prepared(JOB, make_prepared_pair())
    folder.save_prepared(dataclasses.replace(JOB, fence=2), make_prepared_pair(seed=1))
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == ["0a1b.npz"]
    _assert_equal(folder.load_prepared(JOB), make_prepared_pair(seed=1))


def test_discard_prepared_may_be_repeated(tmp_path: Path) -> None:
    folder = PreparedFolder(tmp_path)
    folder.save_prepared(JOB, make_prepared_pair())
    folder.discard_prepared(JOB)
    folder.discard_prepared(JOB)
    with pytest.raises(SpoolFileMissing):
        folder.load_prepared(JOB)


def test_keep_only_clears_the_rest_and_may_be_asked_before_anything_was_saved(tmp_path: Path) -> None:
    folder = PreparedFolder(tmp_path)
    assert folder.keep_only({JOB.id}) == 0
    folder.save_prepared(JOB, make_prepared_pair())
    folder.save_prepared(dataclasses.replace(JOB, id="ffff"), make_prepared_pair())
    assert folder.keep_only({JOB.id}) == 1
    folder.load_prepared(JOB)


def test_save_prepared_syncs_the_file_then_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, target = PreparedFolder(tmp_path), tmp_path / "prepared" / f"{JOB.id}.npz"
    folder.save_prepared(dataclasses.replace(JOB, id="ffff"), make_prepared_pair())
    synced: list[tuple[bool, bool]] = []

    def note(handle: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(handle).st_mode), target.exists()))

    monkeypatch.setattr(os, "fsync", note)
    folder.save_prepared(JOB, make_prepared_pair())
    assert synced == [(False, False), (True, True)]


def test_save_prepared_on_a_disk_that_is_full_waits_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fusionnode.workbench.prepared.os.fsync", fail)
    with pytest.raises(SpoolFull, match="No space"):
        PreparedFolder(tmp_path).save_prepared(JOB, make_prepared_pair())
    assert list((tmp_path / "prepared").iterdir()) == []
