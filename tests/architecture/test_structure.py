"""The rules that keep the house readable, held by a machine instead of by memory."""

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "fusionnode"
SOURCES = sorted(PACKAGE.rglob("*.py"))
ALL_PYTHON = sorted([*SOURCES, *(REPOSITORY / "tests").rglob("*.py"), *(REPOSITORY / "dicom_samples").rglob("*.py")])
MIGRATIONS = PACKAGE / "index" / "migrations"
# The only places that may catch everything: task, thread and handler boundaries, and readers of foreign files.
MAY_CATCH_EVERYTHING = {
    "batch/crew.py",
    "batch/tree.py",
    "doctor.py",
    "flow/sweep.py",
    "index/header.py",
    "index/source.py",
    "intake/folder.py",
    "intake/handlers.py",
    "intake/listener.py",
    "intake/sockets.py",
    "traces/endpoint.py",
    "volumes/rescale.py",
    "volumes/pixels.py",
    "worker/deliver.py",
    "worker/heartbeat.py",
    "worker/housekeeping.py",
    "worker/steps.py",
    "worker/sweeping.py",
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager", "core"}


def _functions(path: Path) -> Iterator[tuple[str, int, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            docstring = ast.get_docstring(node, clean=False)
            lines = node.end_lineno - node.lineno + 1 - (len(docstring.splitlines()) if docstring else 0)
            yield f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.name}", lines, node


def test_function_sizes_stay_readable() -> None:
    sizes = sorted(lines for path in SOURCES for _, lines, _ in _functions(path))
    assert statistics.median(sizes) <= 10
    assert sizes[int(0.9 * len(sizes))] <= 30


def test_no_function_is_longer_than_a_screen() -> None:
    long = [name for path in ALL_PYTHON for name, lines, _ in _functions(path) if lines > 60]
    assert not long


def test_no_function_takes_more_than_six_parameters() -> None:
    # The command line takes one parameter per option; a pydantic hook has the signature pydantic gives it.
    exempt = {"batch", "fuse", "train", "settings_customise_sources"}
    wide = [
        name
        for path in SOURCES
        for name, _, node in _functions(path)
        if node.name not in exempt
        and len(
            [
                one
                for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                if one.arg not in {"self", "cls"}
            ]
        )
        > 6
    ]
    assert not wide


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    long = [str(path) for path in ALL_PYTHON if len(path.read_text(encoding="utf-8").splitlines()) > 400]
    assert not long


def test_no_drawer_into_which_everything_falls() -> None:
    assert not [path for path in ALL_PYTHON if path.stem in FORBIDDEN_NAMES or path.parent.name in FORBIDDEN_NAMES]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_has_its_tests_and_says_what_it_is(source: Path) -> None:
    assert ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))), f"{source} has no docstring"
    if source.name in {"__init__.py", "__main__.py"} or MIGRATIONS in source.parents:
        return
    relative = source.relative_to(PACKAGE)
    mirrors = [REPOSITORY / "tests" / relative.parent / f"test_{relative.name}"]
    assert any(mirror.is_file() for mirror in mirrors), f"no {mirrors[0].relative_to(REPOSITORY)}"


def test_everything_is_caught_only_at_the_boundaries() -> None:
    catching = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler) and _catches_everything(node):
                catching.add(str(path.relative_to(PACKAGE)))
    assert catching <= MAY_CATCH_EVERYTHING


def _catches_everything(node: ast.ExceptHandler) -> bool:
    return node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"})


@pytest.mark.parametrize("module", ["fusionnode.check", "fusionnode.cli", "fusionnode.fusion.cards"])
def test_light_modules_start_without_heavy_libraries(module: str) -> None:
    probe = (
        f"import sys, {module}; heavy = {{'torch', 'SimpleITK', 'highdicom', 'celery'}} & set(sys.modules); "
        "sys.exit(f'{heavy} were imported' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b|raise NotImplemented" + "Error")
    assert not [str(path) for path in ALL_PYTHON if marks.search(path.read_text(encoding="utf-8"))]
