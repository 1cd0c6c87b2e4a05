"""The documents name what is there, all of it, and nothing that is not."""

import inspect
import re
from pathlib import Path

import pytest

from fusionnode import errors
from fusionnode.cli import app
from fusionnode.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "deploy").rglob("*.md")])


def _read(name: str) -> str:
    return (REPOSITORY / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_command_is_documented() -> None:
    page = _read("reference/command-line.md")
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    assert [name for name in names if f"`{name}" not in page] == []


def test_every_setting_is_documented() -> None:
    page = _read("reference/site-file.md")
    missing = []
    for name, field in Settings.model_fields.items():
        nested = getattr(field.annotation, "model_fields", None)
        for key in [f"{name}.{inner}" for inner in nested] if nested else [name]:
            if f"`{key}" not in page:
                missing.append(key)
    assert missing == []


def test_every_refusal_is_explained() -> None:
    page = _read("explanation/refusals.md")
    refusals = {
        name
        for name, error in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error, errors.Refused) and error is not errors.Refused
    }
    assert {name for name in refusals if f"`{name}`" not in page} == set()


def test_every_file_named_in_the_contributors_guide_exists() -> None:
    guide = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|toml|md))`", guide)
    assert named
    assert [
        name for name in named if not ((REPOSITORY / name).exists() or (REPOSITORY / "fusionnode" / name).exists())
    ] == []
