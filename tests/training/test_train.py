"""A run learns, can be stopped and gone on with, and never mixes two plans or loses its best weights."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fusionnode.errors import ModelUnknown, OutputOccupied, PicturesUnusable
from fusionnode.fusion.networks.mask_attention import MaskAttentionNetwork
from fusionnode.training import train as training
from fusionnode.training.datasets import load_pairs, whole_pair
from fusionnode.training.losses import balanced_loss
from fusionnode.training.train import TrainingPlan, advance, restore_state, spread_pairs, train, validate
from tests.support.training import write_picture_sets

SMALL = TrainingPlan(
    "mask-attention", steps=4, channels=4, batch=2, side=48, validate_every=2, validation_pairs=1, bfloat16=False
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_picture_sets(tmp_path_factory.mktemp("pictures"))


@pytest.mark.parametrize("loss", ["paper", "balanced"])
def test_a_network_learns_one_pair(data: Path, tmp_path: Path, loss: str) -> None:
    plan = replace(SMALL, loss=loss, steps=60, peak_rate=5e-3)
    batch = whole_pair(load_pairs(data)[0])
    state = restore_state(plan, tmp_path)

    losses = [advance(state, plan, batch) for _ in range(40)]

    assert sum(losses[-5:]) / 5 < losses[0] - 0.05 * abs(losses[0])


def test_a_run_that_was_stopped_ends_like_one_that_was_not(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(SMALL, data, tmp_path / "whole")

    def stop(step: int, loss: float) -> None:
        if step == 3:  # one step past the checkpoint, which is lost with the process
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SMALL, data, tmp_path / "halves", stop)
    resumed = train(SMALL, data, tmp_path / "halves")

    for kind in ("trainee", "averaged"):
        first, second = getattr(whole, kind).state_dict(), getattr(resumed, kind).state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert whole.best == resumed.best
    assert (tmp_path / "whole" / "log.csv").read_text() == (tmp_path / "halves" / "log.csv").read_text()


def test_a_finished_run_is_not_run_again(data: Path, tmp_path: Path) -> None:
    train(SMALL, data, tmp_path)
    told: list[int] = []

    train(SMALL, data, tmp_path, lambda step, loss: told.append(step))

    assert told == []


def test_a_run_leaves_its_plan_its_split_its_log_and_weights_that_load(data: Path, tmp_path: Path) -> None:
    state = train(SMALL, data, tmp_path)

    assert json.loads((tmp_path / "plan.json").read_text())["seed"] == SMALL.seed
    split = json.loads((tmp_path / "split.json").read_text())
    assert split["training"] == ["PET-MRI/2007", "PET-MRI/2008", "SPECT-MRI/3007", "SPECT-MRI/3008"]
    assert split["validation"] == ["PET-MRI/41007", "PET-MRI/41008", "SPECT-MRI/15007", "SPECT-MRI/15008"]
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert min(float(row["loss"]) for row in rows) == pytest.approx(state.best, rel=1e-4)
    MaskAttentionNetwork.from_weights(load_file(tmp_path / "best.safetensors"))
    assert not list(tmp_path.glob(".*partial"))


def test_the_weights_kept_are_those_of_the_best_look(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([{"loss": 1.0}, {"loss": 2.0}])
    monkeypatch.setattr(training, "validate", lambda *_: next(looks))
    halfway = train(replace(SMALL, steps=2), data, tmp_path / "half")

    looks = iter([{"loss": 1.0}, {"loss": 2.0}])
    train(replace(SMALL, peak_rate=SMALL.peak_rate), data, tmp_path / "whole")

    kept = load_file(tmp_path / "whole" / "best.safetensors")
    assert halfway.best == 1.0
    assert kept.keys() == load_file(tmp_path / "half" / "best.safetensors").keys()
    last = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)["averaged"]
    assert not all(torch.equal(kept[name], last[f"network.{name}"]) for name in kept)


def test_another_plan_does_not_go_on_with_the_run(data: Path, tmp_path: Path) -> None:
    train(SMALL, data, tmp_path)

    with pytest.raises(OutputOccupied, match="other settings"):
        train(replace(SMALL, seed=1), data, tmp_path)


def test_validation_is_the_loss_on_whole_pictures_without_learning(data: Path, tmp_path: Path) -> None:
    state, pair = restore_state(SMALL, tmp_path), load_pairs(data)[0]
    before = {name: tensor.clone() for name, tensor in state.trainee.state_dict().items()}

    figures = validate(state.trainee, SMALL, [pair])

    with torch.no_grad():
        fused, decoupled = state.trainee(whole_pair(pair))
    assert figures["loss"] == pytest.approx(float(balanced_loss(fused, decoupled, whole_pair(pair))), abs=1e-6)
    assert all(torch.equal(before[name], tensor) for name, tensor in state.trainee.state_dict().items())


@pytest.mark.parametrize("count", [1, 2, 50])
def test_spread_pairs_takes_that_many_of_each_set(data: Path, count: int) -> None:
    pairs = load_pairs(data)

    chosen = spread_pairs(pairs, count)

    assert len(chosen) == 2 * min(count, 4)
    assert len({(pair.group, pair.name) for pair in chosen}) == len(chosen)


@pytest.mark.parametrize("plan", [replace(SMALL, network="nobody"), replace(SMALL, loss="nothing")])
def test_unknown_names_are_refused(data: Path, tmp_path: Path, plan: TrainingPlan) -> None:
    with pytest.raises(ModelUnknown):
        train(plan, data, tmp_path)


def test_a_folder_with_nothing_to_validate_on_is_refused(tmp_path: Path) -> None:
    folder = write_picture_sets(tmp_path)
    for group in ("PET-MRI", "SPECT-MRI"):
        for path in [*(folder / group).rglob("41*.png"), *(folder / group).rglob("15*.png")]:
            path.unlink()

    with pytest.raises(PicturesUnusable, match="0 to validate on"):
        train(SMALL, folder, tmp_path / "out")


def test_reconstruction_comes_first_then_every_tenth_step() -> None:
    staged, fused, rebuilt = (replace(SMALL, steps=30, reconstruct_steps=count) for count in (12, 0, 30))

    assert [step for step in range(30) if staged.reconstructs(step)] == [*range(12), 20]
    assert not any(fused.reconstructs(step) for step in range(30))
    assert all(rebuilt.reconstructs(step) for step in range(30))


def test_the_first_stage_leaves_the_gains_alone_and_the_second_moves_them(data: Path, tmp_path: Path) -> None:
    plan = replace(SMALL, network="asymmetric-restormer", channels=8, reconstruct_steps=2)
    state, batch = restore_state(plan, tmp_path), whole_pair(load_pairs(data)[0])
    gains = [state.trainee.get_parameter("network.gains.weight").detach().clone()]
    for _ in range(2):
        advance(state, plan, batch)
    gains.append(state.trainee.get_parameter("network.gains.weight").detach().clone())
    advance(state, plan, batch)

    assert torch.equal(*gains)
    assert not torch.equal(gains[0], state.trainee.get_parameter("network.gains.weight"))


def test_an_autoencoder_is_judged_by_its_reconstruction(data: Path, tmp_path: Path) -> None:
    plan = replace(SMALL, network="dilated-residual-attention", reconstruct_steps=SMALL.steps)

    state = train(plan, data, tmp_path)

    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(row["loss"] == row["reconstruction"] for row in rows)
    assert 0 < state.best < 5
    assert not state.averaged.training


def test_running_statistics_are_exported_as_training_left_them(data: Path, tmp_path: Path) -> None:
    plan = replace(SMALL, network="dilated-residual-attention", reconstruct_steps=SMALL.steps)

    state = train(plan, data, tmp_path)

    learned, kept = (dict(one.named_buffers()) for one in (state.trainee, state.averaged))
    assert all(torch.equal(learned[name], kept[name]) for name in learned)
    assert any(name.endswith("running_mean") and tensor.any() for name, tensor in learned.items())


def test_a_run_can_begin_with_weights_of_another(data: Path, tmp_path: Path) -> None:
    train(SMALL, data, tmp_path / "first")
    weights = load_file(tmp_path / "first" / "best.safetensors")

    state = restore_state(replace(SMALL, seed=9, start=str(tmp_path / "first" / "best.safetensors")), tmp_path / "next")

    assert state.step == 0
    for begun in (state.trainee, state.averaged):
        assert all(torch.equal(begun.state_dict()[f"network.{name}"], tensor) for name, tensor in weights.items())
