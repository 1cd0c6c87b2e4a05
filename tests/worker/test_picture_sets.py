"""Folders of pairs: found in order, or refused with the reason."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionnode.errors import PicturesUnusable
from fusionnode.worker.picture_sets import list_pairs, measure_luminance, read_pair
from tests.support.pictures import make_grey, write_pair


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("9002", "9001", "10001", "loose"):
        write_pair(tmp_path / "PET-MRI", name)
    write_pair(tmp_path / "SPECT-MRI", "9001", "SPECT")
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_pairs_come_set_by_set_case_by_case_slice_by_slice(folder: Path) -> None:
    pairs = list_pairs(folder)
    assert [(pair.collection, pair.modality, pair.case, pair.slice_number) for pair in pairs] == [
        ("PET-MRI", "PET", "9", 1),
        ("PET-MRI", "PET", "9", 2),
        ("PET-MRI", "PET", "10", 1),
        ("PET-MRI", "PET", "loose", None),
        ("SPECT-MRI", "SPECT", "9", 1),
    ]


def test_cases_are_chosen_by_name_in_every_set_or_in_one(folder: Path) -> None:
    assert [pair.name for pair in list_pairs(folder, ("9",))] == ["9001", "9002", "9001"]
    assert [pair.collection for pair in list_pairs(folder, ("SPECT-MRI/9",))] == ["SPECT-MRI"]
    with pytest.raises(PicturesUnusable, match=r"no case 77.*PET-MRI/10"):
        list_pairs(folder, ("9", "77"))


def test_a_pair_is_read_in_grey_levels(folder: Path) -> None:
    pair = read_pair(list_pairs(folder)[0])
    assert np.array_equal(pair.fixed, make_grey(seed=4))
    assert (pair.coloured.dtype, pair.coloured.shape) == (np.uint8, (64, 64, 3))
    assert np.array_equal(pair.moving, np.rint(pair.coloured @ [0.299, 0.587, 0.114]))


def test_luminance_is_whole_grey_levels() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [7, 7, 7]]], np.uint8)
    assert measure_luminance(colours).tolist() == [[76, 150, 29, 255, 7]]


@pytest.mark.parametrize("missing", ["", "nowhere", "notes"])
def test_a_folder_without_sets_is_refused(tmp_path: Path, missing: str) -> None:
    (tmp_path / "notes").mkdir()
    with pytest.raises(PicturesUnusable, match="no pairs"):
        list_pairs(tmp_path / missing)


def test_a_set_without_a_functional_folder_or_with_both_is_refused(folder: Path) -> None:
    (folder / "SPECT-MRI" / "PET").mkdir()
    with pytest.raises(PicturesUnusable, match="PET and SPECT"):
        list_pairs(folder)
    (folder / "CT-MRI" / "MRI").mkdir(parents=True)
    with pytest.raises(PicturesUnusable, match="neither"):
        list_pairs(folder)


def test_a_picture_without_a_partner_is_refused(folder: Path) -> None:
    (folder / "PET-MRI" / "PET" / "9002.png").unlink()
    with pytest.raises(PicturesUnusable, match="without a partner, the first is 9002"):
        list_pairs(folder)


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (np.zeros((64, 64), np.uint8), "all one grey"),
        (make_grey(64, 60), "64 by 60"),
        (make_grey(64, 64).astype(np.uint16) * 256, "pixels of kind"),
        (b"\x89PNG and nothing else", "cannot be read"),
        (b"", "cannot be read"),
    ],
    ids=["blank", "another size", "16 bits", "broken", "empty"],
)
def test_a_picture_that_cannot_be_measured_is_refused(folder: Path, picture: np.ndarray | bytes, reason: str) -> None:
    name = list_pairs(folder)[0]
    if isinstance(picture, bytes):
        name.fixed.write_bytes(picture)
    else:
        Image.fromarray(picture).save(name.fixed)
    with pytest.raises(PicturesUnusable, match=reason):
        read_pair(name)


def test_pictures_too_small_for_the_metrics_are_refused(folder: Path) -> None:
    name = list_pairs(folder)[0]
    for path in (name.fixed, name.moving):
        with Image.open(path) as image:
            small = image.resize((40, 40))
        small.save(path)
    with pytest.raises(PicturesUnusable, match="need 41"):
        read_pair(name)
