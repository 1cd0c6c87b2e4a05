"""Prints what the modules of the four networks bring, and figures for the papers' claims; nothing is asserted.

Run it as ``python -m tests.benchmarks.bench_ablations --data DIR --out DIR``, DIR laid out as
`fusionnode.training.datasets` says. Trained weights are measured as they are: those of the package, or those named by
``--weights NAME=PATH``, a weight file or the checkpoint.pt of a run. Variants of each network are trained at a small
budget, all alike. Every part is kept as JSON in ``--out``, and read from there the next time.
"""

import argparse
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from fusionnode.fusion.cards import find_card
from fusionnode.training.datasets import Pair, load_pairs, split_pairs
from fusionnode.training.losses import BalancedWeights
from fusionnode.training.train import TrainingPlan, spread_pairs
from fusionnode.weights.store import load_weights
from tests.benchmarks.ablation_checks import CHECKS
from tests.benchmarks.ablation_di import VARIANTS, measure_variant, render_di
from tests.benchmarks.ablation_scores import Picture, Rows, join_seeds, make_pictures, render_table
from tests.benchmarks.ablation_training import CHANNELS, CHOICES, measure_choice, render_choices

PER_SET = 12
DI_CHANNELS, SIDE, BATCH = 8, 96, 2
NETWORKS = {
    "di": "mask-attention",
    "zhou": "dilated-residual-attention",
    "kong": "asymmetric-restormer",
    "gu": "spatial-frequency-experts",
}


def main() -> None:
    """Measure what has not been measured, and print all of it."""
    wanted = _read_arguments()
    torch.set_num_threads(1)
    wanted.out.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    print(f"cores {os.cpu_count()}, one thread, load {load:.1f} at the start; times are of a machine as busy as that")
    split = split_pairs(load_pairs(wanted.data))
    chosen = spread_pairs(split.validation, PER_SET)
    pictures = make_pictures(chosen)
    print(f"{len(pictures)} held-out pictures: {', '.join(picture.name for picture in pictures)}")
    for short, network in NETWORKS.items():
        if wanted.only in (None, short):
            weights = _find_weights(network, wanted.weights)
            if weights is None:
                print(f"\n## {network}\n\nno weights yet: nothing measured with trained ones")
            else:
                _check_network(network, weights, pictures, wanted.out)
            if not wanted.checks_only:
                for loss in wanted.losses:
                    _ablate(wanted, _make_plan(wanted, network, loss), split.training, pictures)


def _make_plan(wanted: argparse.Namespace, network: str, loss: str) -> TrainingPlan:
    channels = CHANNELS.get(network, DI_CHANNELS)
    return TrainingPlan(network, loss, wanted.steps, 0, channels=channels, batch=BATCH, side=SIDE, bfloat16=False)


def _ablate(
    wanted: argparse.Namespace, plan: TrainingPlan, learning: Sequence[Pair], pictures: Sequence[Picture]
) -> None:
    """Train and print every variant of one network with every seed."""
    ours = plan.network == NETWORKS["di"]
    variants: Mapping[str, Any] = VARIANTS if ours else CHOICES[plan.network]
    measure: Callable[..., dict[str, Any]] = measure_variant if ours else measure_choice
    short = next(name for name, network in NETWORKS.items() if network == plan.network)
    measured: dict[str, list[dict[str, Any]]] = {}
    for seed in wanted.seeds:
        seeded = replace(plan, seed=seed)
        for name in wanted.variants or variants:
            path = wanted.out / f"{short}-{plan.loss}-seed{seed}-{re.sub('[^a-z0-9]+', '-', name.lower())}.json"
            work = partial(measure, variants[name], seeded, learning, pictures)
            one = _keep(path, {"plan": asdict(seeded), "charges": asdict(BalancedWeights())}, work)
            measured.setdefault(name, []).append(one)
            print(f"{short}, {plan.loss} loss, seed {seed}, {name}: {one['train_seconds']:.0f} s", flush=True)
    title = f"{plan.network}, {plan.loss} loss, {plan.steps} steps of {BATCH} × {SIDE}², C = {plan.channels}"
    print(f"\n## {title}, seeds {', '.join(map(str, wanted.seeds))}\n")
    joined = {name: _join_runs(runs) for name, runs in measured.items()}
    print(render_di(joined) if ours else render_choices(joined))


def _join_runs(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    decoupled = [run["decoupled"] for run in runs if run.get("decoupled")]
    return {
        "parameters": runs[0]["parameters"],
        "rows": join_seeds([run["rows"] for run in runs]),
        "decoupled": {key: sum(one[key] for one in decoupled) / len(decoupled) for key in decoupled[0]}
        if decoupled
        else None,
    }


def _check_network(network: str, weights: Mapping[str, Tensor], pictures: Sequence[Picture], out: Path) -> None:
    facts = {"network": network, "fingerprint": _fingerprint(weights), "pictures": [one.name for one in pictures]}
    found = _keep(out / f"checks-{network}.json", facts, lambda: CHECKS[network](weights, pictures))
    print(f"\n## {network}, weights {facts['fingerprint']}\n")
    tables: dict[str, Rows] = found["rows"]
    groups = sorted({picture.group for picture in pictures})
    if tables:
        print(render_table(tables, groups=groups))
    print()
    for claim, value in found["claims"].items():
        print(f"- {claim}: {value}")


def _keep(path: Path, facts: Mapping[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the file holds if it is of the same settings, else measured anew and written."""
    if path.exists():
        held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if all(held.get(name) == value for name, value in facts.items()):
            return held
    fresh = {**facts, **measure()}
    beside = path.with_suffix(".partial")
    beside.write_text(json.dumps(fresh, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)
    return fresh


def _find_weights(network: str, given: Mapping[str, Path]) -> Mapping[str, Tensor] | None:
    if network in given:
        if given[network].suffix == ".pt":
            held = torch.load(given[network], weights_only=True)["averaged"]
            return {name.removeprefix("network."): tensor for name, tensor in held.items()}
        tensors: dict[str, Tensor] = load_file(given[network])
        return tensors
    return load_weights(find_card(network))


def _fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Enough to see that a file in ``--out`` is of other weights."""
    return f"{sum(float(one.double().abs().sum()) for one in weights.values()):.6f}"


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seeds", type=lambda text: [int(one) for one in text.split(",")], default=[1])
    parser.add_argument("--losses", type=lambda text: text.split(","), default=["balanced"])
    parser.add_argument("--variants", type=lambda text: text.split(";"), help="separated by semicolons; else all")
    parser.add_argument("--checks-only", action="store_true", help="train nothing")
    parser.add_argument("--only", choices=list(NETWORKS))
    parser.add_argument("--weights", type=_read_pair, action="append", default=[], metavar="NAME=PATH")
    wanted = parser.parse_args()
    wanted.weights = dict(wanted.weights)
    return wanted


def _read_pair(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    return name, Path(path)


if __name__ == "__main__":
    main()
