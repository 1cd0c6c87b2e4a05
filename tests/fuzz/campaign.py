"""All targets at the same time: ``python -m tests.fuzz.campaign FINDINGS [--minutes N]`` prints what came of it."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

TARGETS = ("pdu", "header", "volume")

# For starting, for the corpus that it goes on from, and for the last input.
_GRACE_SECONDS = 900


def main() -> None:
    """Fuzz every target in a process of its own; the exit status tells whether something broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("findings", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    told = parser.parse_args()
    told.findings.mkdir(parents=True, exist_ok=True)
    running = {target: _start(target, told.findings, told.minutes) for target in TARGETS}
    statuses = {}
    try:
        for target, process in running.items():
            statuses[target] = process.wait(60 * told.minutes + _GRACE_SECONDS)
    finally:
        for process in running.values():
            process.kill()
    sys.stdout.write("| target | executions | branches reached | peak MB | ended |\n|---|---:|---:|---:|---|\n")
    for target, status in statuses.items():
        said = _name_log(told.findings, target).read_text(encoding="latin-1")
        sys.stdout.write(f"| {target} | {' | '.join(read_figures(said))} | {_explain_end(said, status)} |\n")
    sys.exit(any(statuses.values()))


def _start(target: str, findings: Path, minutes: float) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.fuzz.run", target, str(findings), "--minutes", str(minutes)]
    with _name_log(findings, target).open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def _name_log(findings: Path, target: str) -> Path:
    return findings / f"{target}.log"


def read_figures(said: str) -> tuple[str, ...]:
    """Return how many inputs were tried, how many branches they reached and how much memory was taken, in MB."""
    patterns = (r"number_of_executed_units: (\d+)", r"cov: (\d+)", r"peak_rss_mb:\s*(\d+)")
    return tuple((re.findall(pattern, said) or ["?"])[-1] for pattern in patterns)


def _explain_end(said: str, status: int) -> str:
    if status == 0:
        return "nothing broke"
    found = re.search(r"Test unit written to (\S+)", said)
    return f"see {found[1]} and the log" if found else f"status {status}, see the log"


if __name__ == "__main__":
    main()
