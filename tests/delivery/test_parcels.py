"""What can be sent is told from what cannot; the order is kept."""

from pathlib import Path

from fusionnode.delivery.parcels import open_parcels
from fusionnode.delivery.statuses import FILE_MISSING, FILE_MISTAKEN, FILE_UNREADABLE
from fusionnode.flow.ports import Delivery
from tests.support.datasets import Layout, make_mr_series
from tests.support.files import write_series


def test_a_file_spoilt_anywhere_in_its_head_costs_itself_only(tmp_path: Path) -> None:
    [ds] = make_mr_series(Layout(slices=1, rows=4, columns=4))
    [path] = write_series(tmp_path, [ds])
    owed, whole = Delivery("job", "pacs", str(ds.SOPClassUID), str(ds.SOPInstanceUID), path.name), path.read_bytes()
    # Up to the class and instance in the file meta information, so that nothing can be sent of it.
    for end in range(whole.index(b"\x02\x00\x10\x00UI")):
        path.write_bytes(whole[:end])
        [unusable] = open_parcels(tmp_path, [owed])[1]
        assert unusable.status in {FILE_UNREADABLE, FILE_MISTAKEN}


def test_every_delivery_becomes_a_parcel_or_an_outcome_and_no_other_one_suffers(tmp_path: Path) -> None:
    datasets = make_mr_series(Layout(slices=3, rows=4, columns=4))
    good = [
        Delivery("job", "pacs", str(ds.SOPClassUID), str(ds.SOPInstanceUID), path.name)
        for ds, path in zip(datasets, write_series(tmp_path, datasets), strict=True)
    ]
    (tmp_path / "text.dcm").write_text("not DICOM")
    bad = [Delivery("job", "pacs", "1.2", "1.2.3", path) for path in ("gone.dcm", "text.dcm", good[0].path)]
    parcels, unusable = open_parcels(tmp_path, [bad[0], good[0], bad[1], good[1], bad[2], good[2]])
    assert [parcel.delivery for parcel in parcels] == good
    assert {parcel.sop_class_uid for parcel in parcels} == {str(datasets[0].SOPClassUID)}
    assert [one.status for one in unusable] == [FILE_MISSING, FILE_UNREADABLE, FILE_MISTAKEN]
    assert not any(one.stored for one in unusable)
