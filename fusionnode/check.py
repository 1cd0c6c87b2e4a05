"""Reads pipeline and site files and says everything that is wrong with them. Loads no network."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fusionnode.errors import FusionNodeError, Misconfigured, SettingsInvalid
from fusionnode.fusion.cards import CARDS
from fusionnode.pipeline.parse import parse_pipelines
from fusionnode.settings import load_settings


@dataclass(frozen=True)
class CheckResult:
    """What was found in one path: what it is, and every mistake in it."""

    path: Path
    kind: str
    mistakes: tuple[str, ...] = ()


def check_paths(paths: Iterable[Path]) -> list[CheckResult]:
    """Check each path. ``*.toml`` is a site file; ``*.yaml`` is a pipeline, or a folder of them.

    A YAML site file is told by its suffix ``.site.yaml``.
    """
    return [_check_path(path) for path in paths]


def _check_path(path: Path) -> CheckResult:
    is_site = path.suffix == ".toml" or path.name.endswith((".site.yaml", ".site.yml"))
    kind = "site file" if is_site else "pipeline"
    try:
        if not path.exists():
            raise SettingsInvalid(f"{path} does not exist.")
        if is_site:
            load_settings(path).check_reach()
        else:
            _check_pipelines(path)
    except Misconfigured as error:
        return CheckResult(path, kind, _list_mistakes(error))
    return CheckResult(path, kind)


def _check_pipelines(path: Path) -> None:
    files = sorted(path.glob("*.y*ml")) if path.is_dir() else [path]
    if not files:
        raise SettingsInvalid(f"{path} holds no pipeline file.")
    texts = {file.name: file.read_text(encoding="utf-8") for file in files}
    parse_pipelines(texts, known_models=CARDS, known_destinations=None)


def _list_mistakes(error: FusionNodeError) -> tuple[str, ...]:
    mistakes = error.facts.get("mistakes")
    return tuple(map(str, mistakes)) if isinstance(mistakes, list | tuple) else (str(error),)
