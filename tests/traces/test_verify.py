"""The command that verifies a trail: it finds what was changed, taken out or cut off, and nothing else."""

from datetime import timedelta
from pathlib import Path

import pytest

from fusionnode.errors import SettingsInvalid
from fusionnode.traces.trail import AuditTrail
from fusionnode.traces.verify import verify_trail
from tests.support.nodes import Clock
from tests.traces.test_trail import make_event

KEY = b"key"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trail of three processes, one after the other."""
    clock = Clock()
    for role in ("listen", "sweep", "listen"):
        trail = AuditTrail(tmp_path / "audit", role, "NODE", KEY, clock=clock)
        for _ in range(3):
            trail.record(make_event())
        trail.close()
        clock.now += timedelta(seconds=1)
    return tmp_path / "audit"


def list_files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_an_untouched_trail_is_sound(folder: Path) -> None:
    verdict = verify_trail(folder, KEY)
    assert (verdict.files, verdict.records, verdict.findings) == (3, 12, ())


def test_a_file_that_vanished_is_missed(folder: Path) -> None:
    list_files(folder)[1].unlink()
    verdict = verify_trail(folder, KEY)
    assert not verdict.sound
    assert all("is missing" in one.words for one in verdict.findings)


def test_an_end_that_was_cut_off_is_missed(folder: Path) -> None:
    first = list_files(folder)[0]
    lines = first.read_text().splitlines(keepends=True)
    first.write_text("".join(lines[:-1]))
    assert [one.words.partition(";")[0] for one in verify_trail(folder, KEY).findings] == ["lacks its end"] * 2


def test_a_changed_record_is_found_with_its_line(folder: Path) -> None:
    first = list_files(folder)[0]
    lines = first.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace('"outcome":0', '"outcome":4')
    first.write_text("".join(lines))
    broken = [one for one in verify_trail(folder, KEY).findings if not one.sound]
    assert (broken[0].file, broken[0].line) == (first.name, 3)


@pytest.mark.parametrize("torn", ['{"n":4,"at":"2026', '{"n":4,"at":"2026' + "\0" * 5000, "\0" * 5000])
@pytest.mark.parametrize("place", [0, -1])
def test_a_record_that_a_crash_left_half_written_is_a_note(folder: Path, torn: str, place: int) -> None:
    path = list_files(folder)[place]
    path.write_text(path.read_text() + torn)
    verdict = verify_trail(folder, KEY)
    assert verdict.sound
    assert [(one.line, "ends in the middle of a record" in one.words) for one in verdict.findings] == [(5, True)]


@pytest.mark.parametrize("zeros", ["\0", "\0" * 5000])
def test_zeros_are_no_excuse_for_what_stands_behind_them_or_was_there(folder: Path, zeros: str) -> None:
    first, *_, last = list_files(folder)
    honest = last.read_text()
    lines = honest.splitlines(keepends=True)
    for forged in (zeros + honest, "".join([*lines[:2], zeros, *lines[2:]]), "".join([*lines[:2], zeros, *lines[3:]])):
        last.write_text(forged)
        assert not verify_trail(folder, KEY).sound
    last.write_text(honest)
    lines = first.read_text().splitlines(keepends=True)
    first.write_text("".join(lines[:-1]) + zeros)
    assert not verify_trail(folder, KEY).sound


def test_the_wrong_key_finds_everything_broken_and_none_is_refused(folder: Path) -> None:
    assert len([one for one in verify_trail(folder, b"other").findings if not one.sound]) == 3
    with pytest.raises(SettingsInvalid, match="sealed with a key"):
        verify_trail(folder, b"")


def test_a_file_that_claims_to_have_had_no_key_is_found_out(folder: Path) -> None:
    """Nobody can say that there never was a key: the files before it have one, and those after it name its seals."""
    other = AuditTrail(folder.parent / "forged", "listen", "NODE", b"", clock=Clock())
    other.record(make_event("FORGED"))
    other.close()
    [forged] = list_files(folder.parent / "forged")
    for path in list_files(folder):
        honest = path.read_text()
        path.write_text(forged.read_text())
        assert not verify_trail(folder, KEY).sound
        path.write_text(honest)


def test_a_key_that_a_site_took_up_later_leaves_the_older_files_sound(tmp_path: Path) -> None:
    clock = Clock()
    for key in (b"", KEY):
        trail = AuditTrail(tmp_path / "audit", "serve", "NODE", key, clock=clock)
        trail.record(make_event())
        trail.close()
        clock.advance(1)
    assert verify_trail(tmp_path / "audit", KEY).sound


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="is not there"):
        verify_trail(tmp_path / "nothing", KEY)
