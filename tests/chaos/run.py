"""The whole of the chaos, as a table: ``python -m tests.chaos.run [--rounds N] [--seed N] [--json FILE]``."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tests.chaos.account import Account, tabulate
from tests.chaos.matrix import plan_kills, run_kills
from tests.chaos.outages import count_overdue, fill_the_disk, outlast_the_retries, run_scaled_outages, small_disk
from tests.chaos.plants import embedded_plant, scaled_plant

_MANY = 100_000
"""Numbers of the patients of outages start here, above those of kills."""

_FULL = {"disk full, then arrival": "arrives", "arrival, then disk full": "arrived"}


def main() -> int:
    """Run everything and print the table; 1 when anything was lost, doubled, stuck or visible half-written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="kills at each point of the embedded form")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    rows: list[tuple[str, Account]] = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fusionnode-chaos-") as folder:
        for row in _run_all(Path(folder), told.rounds, told.seed):
            rows.append(row)
            _tell(f"{time.monotonic() - begun:5.0f} s  {row[0]}: {row[1]}")
    sys.stdout.write(tabulate(rows) + "\n")
    if told.json:
        told.json.write_text(json.dumps({name: asdict(account) for name, account in rows}, indent=1))
    return 0 if all(account.is_clean for _, account in rows) else 1


def _run_all(folder: Path, rounds: int, seed: int) -> Iterator[tuple[str, Account]]:
    for name in ("embedded", "scaled", "retries", "disk"):
        (folder / name).mkdir()
    with embedded_plant(folder / "embedded") as (embedded, pacs):
        kills = plan_kills(rounds, seed)
        yield "kills, embedded", count_overdue(partial(run_kills, embedded, pacs, kills, _tell), _tell)
    with scaled_plant(folder / "scaled") as (scaled, pacs):
        kills = plan_kills(1, seed + 1, scaled_out=True)
        yield "kills, scaled out", count_overdue(partial(run_kills, scaled, pacs, kills, _tell), _tell)
        yield from run_scaled_outages(scaled, pacs, _MANY)
    with embedded_plant(folder / "retries", max_send_attempts=3) as (embedded, pacs):
        yield "PACS away for too long", count_overdue(partial(outlast_the_retries, embedded, pacs, _MANY), _tell)
    with small_disk(folder / "disk" / "spool"), embedded_plant(folder / "disk") as (embedded, pacs):
        for number, (name, when) in enumerate(_FULL.items(), _MANY):
            yield name, count_overdue(partial(fill_the_disk, embedded, pacs, number, when=when), _tell)


def _tell(words: str) -> None:
    sys.stderr.write(words + "\n")


if __name__ == "__main__":
    sys.exit(main())
