"""Data sets are read from where the ledger says they are."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from fusionnode.domain.series import SeriesKey
from fusionnode.errors import DatasetUnreadable, SpoolFileMissing, SpoolUnreadable
from fusionnode.wiring import Node
from tests.support.nodes import make_pair, open_test_node, queue_job


def test_read_series_gives_every_data_set_with_or_without_pixels(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    fixed, _ = make_pair()
    whole = node.source.read_series(job.fixed, pixels=True)
    headers = node.source.read_series(job.fixed, pixels=False)
    pixels = {ds.SOPInstanceUID: ds.PixelData for ds in fixed}
    assert {ds.SOPInstanceUID: ds.PixelData for ds in whole} == pixels
    assert {ds.SOPInstanceUID for ds in headers} == set(pixels)
    assert all("PixelData" not in ds for ds in headers)


def test_read_series_with_a_file_gone_names_the_instance(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    victim = node.ledger.find_series(job.fixed).instances[2]
    (tmp_path / "spool" / victim.path).unlink()
    with pytest.raises(SpoolFileMissing) as missing:
        node.source.read_series(job.fixed, pixels=True)
    assert missing.value.facts["sop_instance_uid"] == victim.sop_instance_uid


def test_read_series_with_a_file_destroyed_is_refused(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    victim = node.ledger.find_series(job.fixed).instances[2]
    (tmp_path / "spool" / victim.path).write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 999)
    with pytest.raises(DatasetUnreadable):
        node.source.read_series(job.fixed, pixels=True)


def test_read_series_with_an_identifier_of_an_impossible_representation_is_refused(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    victim = tmp_path / "spool" / node.ledger.find_series(job.fixed).instances[2].path
    tag = bytes.fromhex("08001800")
    victim.write_bytes(victim.read_bytes().replace(tag + b"UI", tag + b"U4"))
    with pytest.raises(DatasetUnreadable):
        node.source.read_series(job.fixed, pixels=True)


def test_read_series_of_an_unknown_series_is_told(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"1\.2\.3"):
        open_test_node(tmp_path).source.read_series(SeriesKey("1.2.3", 1), pixels=False)


@pytest.mark.parametrize("trouble", [OSError(116, "Stale file handle"), MemoryError()])
def test_read_series_when_the_disk_or_the_memory_fails_waits_and_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise trouble

    monkeypatch.setattr("fusionnode.index.source.pydicom.dcmread", fail)
    with pytest.raises(SpoolUnreadable):
        node.source.read_series(job.fixed, pixels=True)


def _replace_by_deflated(node: Node, folder: Path, series: SeriesKey, private_bytes: int) -> None:
    """Make one file of the series a deflated one, with so many zeros in it, and let the ledger know its syntax."""
    victim = node.ledger.find_series(series).instances[2]
    path = folder / "spool" / victim.path
    ds = dcmread(path)
    ds.add_new(0x00091010, "OB", b"\0" * private_bytes)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
    indexed = replace(victim, transfer_syntax_uid=DeflatedExplicitVRLittleEndian)
    whole = node.ledger.find_series(series)
    others = tuple(one for one in whole.instances if one.sop_instance_uid != victim.sop_instance_uid)
    node.ledger.find_series = lambda _: replace(whole, instances=(*others, indexed))  # type: ignore[method-assign]


@pytest.mark.parametrize(("private_bytes", "bounded"), [(1 << 10, True), (1 << 22, False)])
def test_deflated_file_is_read_only_if_what_it_inflates_to_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private_bytes: int, bounded: bool
) -> None:
    monkeypatch.setattr("fusionnode.volumes.bounds.MAX_INSTANCE_BYTES", 1 << 21)
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    _replace_by_deflated(node, tmp_path, job.fixed, private_bytes)
    if bounded:
        assert len(node.source.read_series(job.fixed, pixels=True)) == 10
        return
    with pytest.raises(DatasetUnreadable, match="takes more than"):
        node.source.read_series(job.fixed, pixels=True)
