"""Reads a site file into a table: TOML or YAML, its paths taken from where it lies. What it means, `settings` knows."""

import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from fusionnode.errors import SettingsInvalid
from fusionnode.exposure import refuse_changeable, refuse_exposed

_FILES = {"ca", "certificate", "key", "password_file", "key_file", "folder"}


def read_site(site: Path) -> dict[str, Any]:
    """Return the table that a site file holds.

    Raises:
        SettingsInvalid: it cannot be read, is no table, others can change it, or a password stands in it and others
            can read it.
    """
    try:
        text = site.read_text(encoding="utf-8")
        facts = tomllib.loads(text) if site.suffix == ".toml" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise SettingsInvalid(
            f"The site file {site} cannot be read: {_name_problem(error)}.", remedy="Mend or name another."
        ) from None
    if not isinstance(facts, dict):
        raise SettingsInvalid(f"The site file {site} is not a table of settings.", remedy="See deploy/site.toml.")
    refuse_changeable([site], "The site file")
    if _holds_password(facts):
        refuse_exposed([site], "A password is in the site file, and")
    for key in ("spool", "pipelines"):
        if isinstance(facts.get(key), str):
            facts[key] = site.parent / facts[key]
    for table in ("tls", "audit"):
        _anchor_files(facts.get(table), site.parent)
    for peers in (facts.get("destinations"), facts.get("archives")):
        for one in peers.values() if isinstance(peers, dict) else ():
            _anchor_files(one, site.parent)
    return facts


def _name_problem(error: Exception) -> str:
    """What is wrong and where; the line itself, which YAML would quote, may hold a password."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return type(error).__name__ if isinstance(error, yaml.YAMLError) else str(error)
    return f"{getattr(error, 'problem', '')} (at line {mark.line + 1}, column {mark.column + 1})"


def _holds_password(facts: Any) -> bool:
    """Whether a password stands in the site file itself, under that name or in a URL."""
    if isinstance(facts, dict):
        return "password" in facts or any(_holds_password(one) for one in facts.values())
    try:
        return isinstance(facts, str) and bool(urlsplit(facts).password)
    except ValueError:
        return False


def _anchor_files(table: Any, folder: Path) -> None:
    """Take the files that a destination names from ``folder``, in place; what is no table is told of later."""
    if not isinstance(table, dict):
        return
    for key, value in table.items():
        if key in _FILES and isinstance(value, str):
            table[key] = folder / value
    _anchor_files(table.get("tls"), folder)
