"""Pairs are read whole or refused, split by case, and drawn the same for the same seed and step."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fusionnode.errors import PicturesUnusable
from fusionnode.fusion.networks.mask_attention import otsu_mask
from fusionnode.training.datasets import (
    TEST_CASES,
    VALIDATION_CASES,
    draw_batch,
    load_pairs,
    split_pairs,
    whole_pair,
)
from tests.support.training import CASES, write_picture_sets


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_picture_sets(tmp_path_factory.mktemp("pictures"))


def test_all_pairs_are_read_with_their_case_and_in_order(folder: Path) -> None:
    pairs = load_pairs(folder)

    assert [(pair.group, pair.name) for pair in pairs] == sorted(
        (group, f"{case}{index:03d}") for group, cases in CASES.items() for case in cases for index in (7, 8)
    )
    assert {pair.case for pair in pairs if pair.group == "SPECT-MRI"} == set(CASES["SPECT-MRI"])
    for pair in pairs:
        for image in (pair.fixed, pair.picture, pair.uptake):
            assert image.dtype == np.float32
            assert image.shape == (64, 72)
            assert 0 <= image.min() <= image.max() <= 1


_CASES = st.dictionaries(st.sampled_from(["PET-MRI", "SPECT-MRI", "X"]), st.frozensets(st.sampled_from("23456789")))


@given(_CASES, _CASES)
def test_no_case_is_on_two_sides_and_no_pair_is_lost(
    validation: dict[str, frozenset[str]], test: dict[str, frozenset[str]]
) -> None:
    pairs = _bare_pairs()

    split = split_pairs(pairs, validation, test)

    sides = [{(pair.group, pair.case) for pair in side} for side in (split.training, split.validation, split.test)]
    assert sum(map(len, sides)) == len(set().union(*sides))
    assert len(split.training) + len(split.validation) + len(split.test) == len(pairs)
    assert all(pair.case in test[pair.group] for pair in split.test)
    assert all(pair.case in validation[pair.group] for pair in split.validation)


@pytest.mark.real_data
def test_the_real_pictures_leave_both_kinds_to_train_and_to_validate_on(real_data: Path, tmp_path: Path) -> None:
    for kind in (real_data / "harvard").glob("*/*"):
        linked = tmp_path / kind.relative_to(real_data / "harvard")
        linked.mkdir(parents=True)
        # One of each case: the split is by case, and to read all takes seconds.
        for path in {path.stem[:-3]: path for path in sorted(kind.glob("*.png"))}.values():
            (linked / path.name).symlink_to(path)
    split = split_pairs(load_pairs(tmp_path))

    for side in (split.training, split.validation):
        assert {pair.group for pair in side} == set(VALIDATION_CASES)
    for named, side in ((VALIDATION_CASES, split.validation), (TEST_CASES, split.test)):
        assert {(group, case) for group, cases in named.items() for case in cases} == {(p.group, p.case) for p in side}


def test_colours_that_are_no_palette_are_refused(tmp_path: Path) -> None:
    folder = write_picture_sets(tmp_path)
    colours = np.random.default_rng(0).integers(0, 256, (64, 72, 3)).astype(np.uint8)
    Image.fromarray(colours).save(next((folder / "PET-MRI" / "PET").glob("*.png")))

    with pytest.raises(PicturesUnusable, match="do not tell their palette"):
        load_pairs(folder)


def test_the_same_seed_and_step_draw_the_same_and_others_do_not(folder: Path) -> None:
    pairs = load_pairs(folder)

    first, again, later, other = (draw_batch(pairs, moment, 3, 48) for moment in ((1, 5), (1, 5), (1, 6), (2, 5)))

    assert torch.equal(first.fixed, again.fixed)
    assert torch.equal(first.moving, again.moving)
    assert not torch.equal(first.fixed, later.fixed)
    assert not torch.equal(first.fixed, other.fixed)


def test_a_batch_is_float32_crops_in_range_with_binary_masks(folder: Path) -> None:
    pairs = load_pairs(folder)
    for step in range(12):
        batch = draw_batch(pairs, (0, step), 4, 48)
        for image in (batch.fixed, batch.moving, batch.mask_fixed, batch.mask_moving):
            assert image.shape == (4, 1, 48, 48)
            assert image.dtype == torch.float32
            assert 0 <= image.min() <= image.max() <= 1
        assert ((batch.mask_fixed == 0) | (batch.mask_fixed == 1)).all()


def test_both_halves_of_a_crop_show_the_same_place(folder: Path) -> None:
    """The disc of the pictures is bright in both, so crops that were turned or moved apart would not agree."""
    pairs = load_pairs(folder)
    seen = 0
    for step in range(20):
        batch = draw_batch(pairs, (3, step), 2, 48)
        for fixed, moving in zip(batch.fixed, batch.moving, strict=True):
            inside, outside = (moving > 0), (moving == 0)
            if inside.any() and outside.any():
                assert fixed[inside].mean() > 2 * fixed[outside].mean()
                seen += 1
    assert seen > 20


def test_half_the_pairs_get_foci_and_those_without_uptake_never(folder: Path) -> None:
    """A copy whose uptake is flat shows every focus: nothing else of what is drawn could leave a texture in it."""
    flat = [
        replace(pair, picture=np.full_like(pair.picture, 0.5), uptake=np.full_like(pair.uptake, 0.5))
        for pair in load_pairs(folder)
    ]

    images = [image for step in range(60) for image in draw_batch(flat, (0, step), 2, 48).moving]

    textured = [image for image in images if image.std() > 0.01]
    assert 0.2 < len(textured) / len(images) < 0.6
    assert max(image.max() for image in textured) > 0.8
    assert min(image.min() for image in textured) < 0.2
    assert any(not image.any() for image in images)


def test_a_whole_pair_is_the_picture_itself(folder: Path) -> None:
    pair = load_pairs(folder)[0]

    batch = whole_pair(pair)

    assert np.array_equal(batch.moving[0, 0].numpy(), pair.picture)
    assert torch.equal(batch.mask_fixed, otsu_mask(batch.fixed))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PicturesUnusable, match="no picture pairs"):
        load_pairs(tmp_path)


@pytest.mark.parametrize("defect", ["missing", "broken", "other size", "no functional folder"])
def test_halves_that_do_not_fit_are_refused(tmp_path: Path, defect: str) -> None:
    folder = write_picture_sets(tmp_path)
    victim = folder / "PET-MRI" / "PET" / "2007.png"
    if defect == "missing":
        victim.unlink()
    elif defect == "broken":
        victim.write_bytes(b"not a picture")
    elif defect == "other size":
        victim.write_bytes((folder / "small.png").read_bytes())
    else:
        (folder / "PET-MRI" / "PET").rename(folder / "PET-MRI" / "CT")

    with pytest.raises(PicturesUnusable):
        load_pairs(folder)


def _bare_pairs() -> list:  # type: ignore[type-arg]
    from fusionnode.training.datasets import Pair

    flat = np.zeros((2, 2), np.float32)
    return [
        Pair(group, case, f"{case}001", flat, flat, flat) for group in ("PET-MRI", "SPECT-MRI") for case in "2345678"
    ]
