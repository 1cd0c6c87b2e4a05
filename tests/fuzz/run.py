"""Coverage-guided fuzzing: ``python -m tests.fuzz.run header|volume|pdu FINDINGS [--minutes N]``.

A crash, a hang of a minute or more than 2 GB end it, with the input in FINDINGS. All it learned is kept there too: it
goes on where it stopped.
"""

import argparse
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fusionnode", "pynetdicom", "pydicom"]):
    from tests.fuzz.seeds import CORPUS, make_neighbours
    from tests.fuzz.targets import listening, read_strange_header, read_strange_volume

# Where nothing is synced to a disk, if there is such a place.
_MEMORY = Path("/dev/shm")
# Two targets read the same files.
_SEEDS = {"header": "header", "volume": "header", "pdu": "pdu"}


def main() -> None:
    """Fuzz one target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=_SEEDS)
    parser.add_argument("findings", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    told = parser.parse_args()
    # Nobody reads the lines, but `Target` looks for errors among them.
    logging.basicConfig(level=logging.ERROR, handlers=[logging.NullHandler()])
    warnings.simplefilter("ignore")
    learned = told.findings / told.target
    learned.mkdir(parents=True, exist_ok=True)
    options = [
        sys.argv[0],
        str(learned),
        str(CORPUS / _SEEDS[told.target]),
        f"-max_total_time={int(60 * told.minutes)}",
        "-timeout=60",
        "-rss_limit_mb=2048",
        "-max_len=16384",
        "-print_final_stats=1",
        f"-artifact_prefix={told.findings}/{told.target}-",
    ]
    with _opened(told.target) as try_one:
        atheris.Setup(options, try_one)
        atheris.Fuzz()


@contextmanager
def _opened(target: str) -> Iterator[Callable[[bytes], None]]:
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        scratch = Path(name)
        if target == "pdu":
            with listening(scratch) as listener:
                yield listener.send
        elif target == "volume":
            neighbours = make_neighbours()
            yield lambda content: read_strange_volume(content, scratch, neighbours)
        else:
            yield lambda content: read_strange_header(content, scratch)


if __name__ == "__main__":
    main()
