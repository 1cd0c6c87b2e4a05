"""Turns the answers of `tests.benchmarks.bench_registration` into tables."""

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUCCESS_MM = 2.0
ORDER = ("fusionnode", "ants", "elastix", "simpleitk")
Row = dict[str, Any]


def print_tables(rows: list[Row]) -> None:
    """Print accuracy and cost, capture range, and repeatability, each method beside the others."""
    loads = [row["load"] for row in rows] or [0.0]
    print(f"\nload while registering: median {statistics.median(loads):.1f}, highest {max(loads):.1f}")
    for title, prefix in (("Simulated pairs", "pair/"), ("Plain FDG PETs of one T1", "aim/")):
        _print_accuracy(title, [row for row in rows if row["task"].startswith(prefix)])
    _print_capture([row for row in rows if row["task"].startswith("capture/")])
    _print_repeatability([row for row in rows if row["task"].startswith("starts/")])


def _list_methods(rows: list[Row]) -> list[str]:
    return [method for method in ORDER if any(row["method"] == method for row in rows)]


def _error_mm(row: Row) -> float:
    """Mean distance between where the answer and the truth carry the brain's points; infinite without an answer."""
    if row.get("answer") is None:
        return float("inf")
    return float(np.linalg.norm(_carry(row["answer"], row) - _carry(row["truth"], row), axis=1).mean())


def _carry(matrix: list[list[float]], row: Row) -> NDArray[np.float64]:
    transform = np.asarray(matrix)
    return np.asarray(np.asarray(row["points_mm"]) @ transform[:3, :3].T + transform[:3, 3])


def _print_accuracy(title: str, rows: list[Row]) -> None:
    methods = _list_methods(rows)
    if not methods:
        return
    errors = {(row["task"], row["method"]): _error_mm(row) for row in rows}
    tasks = sorted({row["task"] for row in rows})
    common = [task for task in tasks if all(errors.get((task, m), float("inf")) < SUCCESS_MM for m in methods)]
    print(
        f"\n{title}: {len(tasks)}; the common means are over the {len(common)} that every method brought below 2 mm\n"
    )
    print(f"| | {' | '.join(methods)} |\n|---|{'---|' * len(methods)}")
    figures: dict[str, Callable[[str], str]] = {
        "below 2 mm": lambda m: _count([errors[task, m] for task in tasks if (task, m) in errors]),
        "median error, mm": lambda m: f"{statistics.median(e for (_, one), e in errors.items() if one == m):.3f}",
        "common mean error, mm": lambda m: f"{_mean([errors[task, m] for task in common]):.3f}",
        "common 90th percentile, mm": lambda m: f"{_percentile([errors[task, m] for task in common]):.3f}",
        "median seconds": lambda m: f"{_median(rows, m, 'seconds'):.2f}",
        "median CPU seconds": lambda m: f"{_median(rows, m, 'cpu'):.2f}",
        "ratio of CPU seconds": lambda m: f"{_median(rows, m, 'cpu') / _median(rows, methods[0], 'cpu'):.1f}",
        "peak memory, MiB": lambda m: f"{max(row.get('peak_mib', 0) for row in rows if row['method'] == m):.0f}",
    }
    for name, figure in figures.items():
        print(f"| {name} | {' | '.join(figure(method) for method in methods)} |")


def _count(errors: list[float]) -> str:
    good = sum(error < SUCCESS_MM for error in errors)
    return f"{good} of {len(errors)} ({good / max(len(errors), 1):.0%})"


def _mean(values: list[float]) -> float:
    return statistics.mean(values) if values else float("nan")


def _percentile(values: list[float]) -> float:
    return float(np.percentile(values, 90)) if values else float("nan")


def _median(rows: list[Row], method: str, figure: str) -> float:
    return float(statistics.median([row[figure] for row in rows if row["method"] == method and figure in row] or [0.0]))


def _print_capture(rows: list[Row]) -> None:
    methods = _list_methods(rows)
    if not methods:
        return
    print(f"\nBelow 2 mm by start distance\n\n| start | {' | '.join(methods)} |\n|---|{'---|' * len(methods)}")
    for distance in dict.fromkeys(row["task"].split("/")[1] for row in rows):
        here = [row for row in rows if row["task"].split("/")[1] == distance]
        counts = [_count([_error_mm(row) for row in here if row["method"] == method]) for method in methods]
        print(f"| {distance} | {' | '.join(counts)} |")


def _print_repeatability(rows: list[Row]) -> None:
    """From random starts: mean distance of the head's points from where they are carried in the middle of all runs."""
    methods = _list_methods(rows)
    if not methods:
        return
    print(f"\nSpread over random starts, mm: median, greatest (starts)\n\n| pair | {' | '.join(methods)} |")
    print(f"|---|{'---|' * len(methods)}")
    for pair in dict.fromkeys(row["task"].split("/")[1] for row in rows):
        here = [row for row in rows if row["task"].split("/")[1] == pair]
        spreads = [
            _spread([row for row in here if row["method"] == method and row.get("answer")]) for method in methods
        ]
        print(f"| {pair} | {' | '.join(spreads)} |")


def _spread(rows: list[Row]) -> str:
    if not rows:
        return "none"
    homes = [_carry((np.linalg.inv(np.asarray(row["pose"])) @ np.asarray(row["answer"])).tolist(), row) for row in rows]
    middle = np.median(homes, axis=0)
    distances = [float(np.linalg.norm(home - middle, axis=1).mean()) for home in homes]
    return f"{statistics.median(distances):.3f}, {max(distances):.3f} ({len(rows)})"
