"""Coverage-guided fuzzing: ``python -m tests.fuzz.run header|pdu FINDINGS [--minutes N]``; it goes on where it stopped.

A crash, a hang of a minute or more than 2 GB end it, with the input in FINDINGS, where all it learned is kept too.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fusionnode", "pynetdicom", "pydicom"]):
    from tests.fuzz.targets import listening, read_strange_header

CORPUS = Path(__file__).with_name("corpus")


def main() -> None:
    """Fuzz one target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=["header", "pdu"])
    parser.add_argument("findings", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    told = parser.parse_args()
    logging.disable(logging.CRITICAL)
    kept = told.findings / told.target
    kept.mkdir(parents=True, exist_ok=True)
    options = [sys.argv[0], str(kept), str(CORPUS / told.target), f"-max_total_time={int(60 * told.minutes)}"]
    options += [
        "-timeout=60",
        "-rss_limit_mb=2048",
        "-max_len=16384",
        f"-artifact_prefix={told.findings}/{told.target}-",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        if told.target == "header":
            atheris.Setup(options, lambda content: read_strange_header(content, Path(scratch)))
            atheris.Fuzz()
        else:
            with listening(Path(scratch)) as target:
                atheris.Setup(options, target.send)
                atheris.Fuzz()


if __name__ == "__main__":
    main()
