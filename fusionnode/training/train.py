"""The training loop (edge): resumable at every checkpoint, with a log of figures and the best weights so far.

In the output folder: ``checkpoint.pt`` (everything to go on from), ``best.safetensors`` (averaged weights that did best
on the held-out cases), ``log.csv``, ``plan.json`` and ``split.json``.
"""

import copy
import csv
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fusionnode.errors import ModelUnknown, OutputOccupied, PicturesUnusable
from fusionnode.training.datasets import Batch, Pair, draw_batch, load_pairs, split_pairs, whole_pair
from fusionnode.training.losses import LOSSES, measure_balance
from fusionnode.training.schedules import cosine_rate
from fusionnode.training.trainees import make_trainee, reconstruction_loss

logger = logging.getLogger(__name__)

_AVERAGING = 0.999
_GRADIENT_LIMIT = 1.0
_REHEARSE_EVERY = 10


@dataclass(frozen=True)
class TrainingPlan:
    """Everything a run depends on beside its data.

    Attributes:
        loss: a name of `fusionnode.training.losses.LOSSES`.
        peak_rate: of the cosine schedule of Adam.
        validate_every: steps from one look at the held-out cases, and checkpoint, to the next.
        validation_pairs: of each set, evenly spread over its held-out slices.
        bfloat16: run the convolutions in it where the processor has it.
        reconstruct_steps: before learning to fuse, so many to learn to reconstruct each source by itself; then one in
            ten goes on with that, lest it be forgotten. As many as ``steps`` for a network that learns nothing else.
        start: weight file to begin with; empty for weights drawn from the seed.
    """

    network: str
    loss: str = "balanced"
    steps: int = 8000
    seed: int = 0
    channels: int = 16
    batch: int = 2
    side: int = 192
    peak_rate: float = 1e-3
    validate_every: int = 250
    validation_pairs: int = 8
    bfloat16: bool = False
    reconstruct_steps: int = 0
    start: str = ""

    def reconstructs(self, step: int) -> bool:
        """Whether this step is one of reconstruction."""
        return step < self.reconstruct_steps or (self.reconstruct_steps > 0 and step % _REHEARSE_EVERY == 0)


@dataclass
class TrainingState:
    """What a checkpoint holds."""

    trainee: nn.Module
    averaged: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    best: float = float("inf")


def train(
    plan: TrainingPlan,
    data: Path,
    out: Path,
    tell: Callable[[int, float], None] = lambda step, loss: None,
    device: str = "cpu",
) -> TrainingState:
    """Train, or go on where the checkpoint in ``out`` stopped.

    Args:
        plan: of the run; a checkpoint of another plan is refused.
        data: folder laid out as `fusionnode.training.datasets` says.
        out: folder of the run.
        tell: called after every step with the steps done and the loss.
        device: of torch, to train on.

    Raises:
        PicturesUnusable: there is nothing to train or to validate on.
        OutputOccupied: ``out`` holds another plan's run.
        ModelUnknown: no such network can be trained, or no such loss is known.
    """
    if plan.loss not in LOSSES:
        raise ModelUnknown(f"No loss is called {plan.loss!r}.", remedy=f"Known: {', '.join(LOSSES)}.")
    split = split_pairs(load_pairs(data))
    if not split.training or not split.validation:
        raise PicturesUnusable(
            f"{data} leaves {len(split.training)} pairs to train on and {len(split.validation)} to validate on.",
            remedy="Both are needed; see VALIDATION_CASES.",
        )
    out.mkdir(parents=True, exist_ok=True)
    _require_plan(plan, out)
    _write_json(out / "split.json", {side: _names(pairs) for side, pairs in vars(split).items()})
    state = restore_state(plan, out, device)
    examples = spread_pairs(split.validation, plan.validation_pairs)
    while state.step < plan.steps:
        loss = advance(
            state, plan, draw_batch(split.training, (plan.seed, state.step), plan.batch, plan.side).to(device)
        )
        if state.step % plan.validate_every == 0 or state.step == plan.steps:
            _take_stock(state, plan, out, validate(state.averaged, plan, examples))
        tell(state.step, loss)
    return state


def restore_state(plan: TrainingPlan, out: Path, device: str = "cpu") -> TrainingState:
    """The state of the checkpoint in ``out``, or that of the beginning when there is none."""
    trainee = make_trainee(plan.network, plan.channels, plan.seed)
    if plan.start:
        trainee.get_submodule("network").load_state_dict(load_file(plan.start))
    trainee.to(device)
    averaged = copy.deepcopy(trainee).eval()
    state = TrainingState(trainee, averaged, torch.optim.Adam(trainee.parameters(), lr=plan.peak_rate))
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        held = torch.load(checkpoint, map_location=device, weights_only=True)
        trainee.load_state_dict(held["trainee"])
        averaged.load_state_dict(held["averaged"])
        state.optimiser.load_state_dict(held["optimiser"])
        state.step, state.best = held["step"], held["best"]
        logger.info("goes on at step %d", state.step)
    return state


def advance(state: TrainingState, plan: TrainingPlan, batch: Batch) -> float:
    """Do one step in place and return its loss."""
    rate = cosine_rate(state.step, plan.steps, plan.peak_rate)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    if plan.reconstructs(state.step):
        loss = reconstruction_loss(state.trainee, batch, bfloat16=plan.bfloat16)
    else:
        with torch.autocast(batch.fixed.device.type, torch.bfloat16, enabled=plan.bfloat16):
            fused, decoupled = state.trainee(batch)
        loss = LOSSES[plan.loss](fused, decoupled, batch)
    state.optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.trainee.parameters(), _GRADIENT_LIMIT)
    state.optimiser.step()
    state.step += 1
    _average_in(state)
    return float(loss.detach())


def validate(trainee: nn.Module, plan: TrainingPlan, examples: Sequence[Pair]) -> dict[str, float]:
    """The loss on whole held-out pairs, and each measure by set, as means; the network runs in float32."""
    rows: list[dict[str, float]] = []
    device = next(trainee.parameters()).device
    for pair in examples:
        batch = whole_pair(pair).to(device)
        with torch.no_grad():
            fused, decoupled = trainee(batch)
            row = {"loss": float(LOSSES[plan.loss](fused, decoupled, batch))}
            if plan.reconstruct_steps:
                row["reconstruction"] = float(reconstruction_loss(trainee, batch))
            if plan.reconstruct_steps == plan.steps:
                row["loss"] = row["reconstruction"]
            measures = measure_balance(fused.clamp(0, 1), batch)
        rows.append(row | {f"{pair.group} {name}": float(value) for name, value in measures.items()})
    names = sorted({name for row in rows for name in row})
    found = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}


def spread_pairs(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """At most ``count`` pairs of each set, evenly spread in their order."""
    chosen: list[Pair] = []
    for group in sorted({pair.group for pair in pairs}):
        members = [pair for pair in pairs if pair.group == group]
        wanted = min(count, len(members))
        chosen += [members[(2 * index + 1) * len(members) // (2 * wanted)] for index in range(wanted)]
    return chosen


def export_weights(trainee: nn.Module) -> dict[str, Tensor]:
    """The fusion network's tensors by name, as a weight file holds them."""
    network = trainee.network
    assert isinstance(network, nn.Module)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def _average_in(state: TrainingState) -> None:
    """A running mean of the weights, which forgets the beginning faster while it is near."""
    keep = min(_AVERAGING, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for mean, now in zip(state.averaged.parameters(), state.trainee.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)
        for kept, fresh in zip(state.averaged.buffers(), state.trainee.buffers(), strict=True):
            kept.copy_(fresh)


def _take_stock(state: TrainingState, plan: TrainingPlan, out: Path, figures: dict[str, float]) -> None:
    if figures["loss"] < state.best:
        state.best = figures["loss"]
        _replace(out / "best.safetensors", lambda path: save_file(export_weights(state.averaged), path))
    _append_row(out / "log.csv", {"step": state.step, **figures})
    held = {
        "trainee": state.trainee.state_dict(),
        "averaged": state.averaged.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "step": state.step,
        "best": state.best,
    }
    _replace(out / "checkpoint.pt", lambda path: torch.save(held, path))
    logger.info("step %d of %d: held-out loss %.4f", state.step, plan.steps, figures["loss"])


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside, then rename, so that whoever reads finds the old file or the new one."""
    beside = path.with_name(f".{path.name}.partial")
    write(beside)
    beside.replace(path)


def _append_row(path: Path, row: dict[str, float]) -> None:
    fresh = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow({name: f"{value:.5g}" for name, value in row.items()})


def _require_plan(plan: TrainingPlan, out: Path) -> None:
    path, wanted = out / "plan.json", asdict(plan)
    if path.exists() and TrainingPlan(**json.loads(path.read_text(encoding="utf-8"))) != plan:
        raise OutputOccupied(
            f"{out} holds a run with other settings.", remedy="Name a new folder, or repeat the settings."
        )
    _write_json(path, wanted)


def _write_json(path: Path, facts: Any) -> None:
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _names(pairs: Sequence[Pair]) -> list[str]:
    return [f"{pair.group}/{pair.name}" for pair in pairs]
