"""``fusionnode evaluate``: figures of the pictures that are really shown, and files that agree with each other."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fusionnode.cli import app
from fusionnode.errors import ModelUnavailable, ModelUnknown
from fusionnode.evaluation.guards import measure_guards
from fusionnode.evaluation.metrics import CLASSIC, measure_metrics
from fusionnode.fusion.cards import CARDS, find_card
from fusionnode.fusion.readback import locate_uptake
from fusionnode.worker.evaluation import (
    SHEET_ROWS,
    EvaluationRequest,
    choose_fusers,
    choose_shown,
    evaluate_folder,
    fuse_pair_of_pictures,
    read_cases,
)
from fusionnode.worker.picture_sets import list_pairs, measure_luminance, read_pair
from tests.support.pictures import RAINBOW, write_pair

_CLASSICAL = ["average", "maximum", "laplacian"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(1, 4):
        write_pair(tmp_path / "in" / "PET-MRI", f"410{number:02}", shift=0.1 * number)
    write_pair(tmp_path / "in" / "SPECT-MRI", "4001", "SPECT")
    return tmp_path / "in"


def _silent(done: int, total: int) -> None:
    assert 0 < done <= total


def test_figures_are_those_of_the_saved_pictures(folder: Path, tmp_path: Path) -> None:
    save = tmp_path / "save"
    report, _ = evaluate_folder(EvaluationRequest(folder, ("average",), save=save), _silent)
    pairs = {(name.collection, name.name): read_pair(name) for name in list_pairs(folder)}
    assert len(report["pictures"]) == len(pairs) * 3
    for one in report["pictures"]:
        pair = pairs[one["set"], one["name"]]
        saved = np.asarray(Image.open(save / one["fuser"] / one["set"] / f"{one['name']}.png"))
        shown = measure_luminance(saved)
        expected = measure_metrics(pair.fixed, pair.moving, shown) | measure_guards(pair.fixed, pair.moving, shown)
        assert {figure: one["figures"][figure] for figure in expected} == expected


def test_the_displayed_luminance_is_what_the_fuser_made(folder: Path, tmp_path: Path) -> None:
    evaluate_folder(EvaluationRequest(folder, ("maximum",), ("PET-MRI/41",), save=tmp_path), _silent)
    for name in list_pairs(folder, ("PET-MRI/41",)):
        pair = read_pair(name)
        saved = np.asarray(Image.open(tmp_path / "maximum" / "PET-MRI" / f"{name.name}.png"))
        difference = measure_luminance(saved).astype(int) - np.maximum(pair.fixed, pair.moving)
        assert np.abs(difference).max() <= 1
        kept = pair.moving > pair.fixed
        assert np.array_equal(saved[kept], pair.coloured[kept])


def test_every_figure_of_the_goal_is_measured_where_the_palette_can_be_told(folder: Path) -> None:
    report, text = evaluate_folder(EvaluationRequest(folder), _silent)
    for fuser, own in report["sets"]["PET-MRI"]["fusers"].items():
        assert all(value is not None for value in own["means"].values()), fuser
        assert 0.9 < own["means"]["readback"] <= 1 + 1e-9
        assert 0 <= own["means"]["paled"] <= 1
        assert all(verdict["value"] is not None for verdict in own["goal"])
    assert report["sets"]["SPECT-MRI"]["fusers"]["average"]["means"]["flicker"] is None
    assert set(_CLASSICAL) <= {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")}


def test_readback_of_true_colour_pictures_is_not_measured(folder: Path) -> None:
    path = folder / "SPECT-MRI" / "SPECT" / "4001.png"
    noisy = np.asarray(Image.open(path)).astype(int) + np.random.default_rng(0).integers(0, 9, (64, 64, 3))
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
    report, _ = evaluate_folder(EvaluationRequest(folder, ("average",), ("SPECT-MRI/4",)), _silent)
    own = report["sets"]["SPECT-MRI"]["fusers"]["average"]
    assert own["means"]["readback"] is None
    assert "readback" in [verdict["figure"] for verdict in own["goal"] if not verdict["met"]]


def test_the_palette_is_told_from_the_whole_case(folder: Path) -> None:
    for pair, palette in read_cases(list_pairs(folder, ("41",))):
        assert palette is not None
        assert np.array_equal(palette, RAINBOW[np.sort(np.unique(RAINBOW, axis=0, return_index=True)[1])])
        assert pair.name.case == "41"


def test_classical_fusers_are_always_in_the_table_and_once() -> None:
    assert [fuser.card.name for fuser in choose_fusers(["maximum", "laplacian@1"])] == _CLASSICAL
    available = [card.name for card in CARDS.values() if card.available]
    assert [fuser.card.name for fuser in choose_fusers([])] == available
    with pytest.raises(ModelUnknown):
        choose_fusers(["no-such-network"])


def test_networks_without_weights_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = replace(find_card("mask-attention"), available=False, sha256="")
    monkeypatch.setitem(CARDS, bare.name, bare)
    assert bare.name not in [fuser.card.name for fuser in choose_fusers([])]
    with pytest.raises(ModelUnavailable):
        choose_fusers([bare.name])


def test_the_sheet_shows_pairs_from_all_over_each_set(folder: Path, tmp_path: Path) -> None:
    for number in range(100, 130):
        write_pair(folder / "PET-MRI", f"41{number}")
    names = list_pairs(folder)
    shown = choose_shown(names)
    places = [place for place, name in enumerate(names) if name in shown and name.collection == "PET-MRI"]
    assert len(places) == SHEET_ROWS
    assert max(np.diff(places)) <= 6
    assert sum(name.collection == "SPECT-MRI" for name in shown) == 1
    sheet = tmp_path / "sheet.png"
    evaluate_folder(EvaluationRequest(folder, cases=("SPECT-MRI/4",), sheet=sheet), _silent)
    with Image.open(sheet) as image:
        assert image.width > 5 * 64
        assert image.height < 2 * 64 + 40


def test_the_command_prints_the_table_and_writes_the_report(folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "deep" / "report.json"
    arguments = ["evaluate", str(folder), "--networks", "average, maximum", "--cases", "41", "--json", str(report)]
    for _ in range(2):  # the second time over the first
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
    assert "## PET-MRI: 3 pairs of case 41" in done.stdout
    assert "SPECT" not in done.stdout
    assert "fusing" not in done.output  # the bar is for terminals
    written = json.loads(report.read_text())
    assert [fuser["name"] for fuser in written["fusers"]] == _CLASSICAL
    assert list(report.parent.iterdir()) == [report]


_ANCHORS = {
    ("PET-MRI/41", "maximum"): (10.49, 4.73, 34.1, 5.22, 0.806, 88.3, 1.38, 0.857, 0.745, 0.692, 10.20),
    ("PET-MRI/41", "average"): (6.25, 5.14, 18.8, 4.29, 0.869, 66.6, 0.96, 0.710, 0.430, 0.659, 9.50),
    ("SPECT-MRI", "maximum"): (5.80, 4.40, 19.7, 5.08, 0.874, 61.9, 1.33, 0.679, 0.660, 0.719, 9.71),
    ("SPECT-MRI", "average"): (3.70, 4.66, 11.7, 3.86, 0.912, 47.0, 0.75, 0.540, 0.389, 0.731, 9.48),
}
"""The ten classic metrics and SD_u8 of the public split: other slices of the same atlas."""


@pytest.mark.real_data
@pytest.mark.parametrize(("cases", "fuser"), list(_ANCHORS))
def test_known_fusers_come_near_the_figures_known_of_them(real_data: Path, cases: str, fuser: str) -> None:
    """Only near, for the slices differ; a factor, another base or another scale would show."""
    names = list_pairs(real_data / "harvard", (cases,) if "/" in cases else ())
    chosen = [name for name in names if name.collection == cases.partition("/")[0]]
    pairs = list(map(read_pair, chosen[:: len(chosen) // 10]))
    [known] = [one for one in choose_fusers([]) if one.card.name == fuser]
    figures = [fuse_pair_of_pictures(pair, None, known).score.figures for pair in pairs]
    means = [np.mean([one[figure] for one in figures]) for figure in (*CLASSIC, "SD_u8")]
    # The SPECT heads differ in size from case to case, and a larger one has more of everything.
    assert means == pytest.approx(_ANCHORS[cases, fuser], rel=0.15 if cases.startswith("PET") else 0.3)


@pytest.mark.real_data
@pytest.mark.parametrize(("case", "colours"), [("PET-MRI/25", 128), ("SPECT-MRI/10", 92)])
def test_the_atlas_s_palettes_are_told_and_uptake_is_smooth(real_data: Path, case: str, colours: int) -> None:
    for pair, palette in read_cases(list_pairs(real_data / "harvard", (case,))):
        assert palette is not None
        assert len(palette) == colours
        uptake = locate_uptake(pair.coloured, palette)
        # Were the order wrong, pixels side by side would differ by leaps.
        assert (np.abs(np.diff(uptake)) > 0.25).mean() < 0.001
