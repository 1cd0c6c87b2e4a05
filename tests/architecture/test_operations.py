"""What the documents tell an operator to type exists, and the runbook knows every alert and every unit."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
import yaml

from fusionnode.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "deploy").rglob("*.md"))]
RUNBOOK = ROOT / "deploy" / "RUNBOOK.md"
CODE = re.compile(r"^```[a-z]*\n(.*?)^```|`([^`]+)`", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|bin/|\bdo |^env \S+ )fusionnode (?:--quiet )?([a-z]+)\b([^|;&#]*)")


def _list_commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command in the code of a document, with the long options it is given."""
    for block, span in CODE.findall(text):
        for line in block.splitlines() or [" ".join(span.split())]:
            for name, rest in COMMAND.findall(line):
                yield name, re.findall(r"--[a-z-]+", rest)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_document_exists_with_its_options(document: Path) -> None:
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, options in _list_commands(document.read_text(encoding="utf-8")):
        assert name in known, f"there is no `fusionnode {name}`"
        taken = {"--help", *(option for one in known[name].params for option in one.opts)}
        assert set(options) <= taken, f"`fusionnode {name}` does not take {set(options) - taken}"


def test_commands_are_found_in_blocks_and_in_words() -> None:
    text = "`fusionnode jobs --json`\n```sh\nx | while read j; do fusionnode resend $j --all; done\n```\n`fusionnode`"
    assert list(_list_commands(text)) == [("jobs", ["--json"]), ("resend", ["--all"])]


def test_the_runbook_says_of_every_alert_what_to_do_and_the_reference_what_it_means() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "fusionnode.rules.yml").read_text(encoding="utf-8"))
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    for document in (RUNBOOK, ROOT / "docs" / "reference" / "metrics.md"):
        rows = re.findall(r"^\| (Fusionnode\w+) \|", document.read_text(encoding="utf-8"), re.MULTILINE)
        assert rows == alerts, document.name


def test_the_runbook_names_units_that_exist() -> None:
    units = {path.name.removesuffix(".service") for path in (ROOT / "deploy" / "systemd").glob("*.service")}
    named = set(re.findall(r"\b(fusionnode-[a-z]+@?)", RUNBOOK.read_text(encoding="utf-8")))
    assert units == {"fusionnode"} | (named & units)
    assert {one for one in named if not one.startswith("fusionnode-until")} <= units | {"fusionnode-work"}


def test_the_runbook_asks_every_process_in_a_container_that_says_whether_it_is_ready() -> None:
    """No `doctor` can: listener and sweep are in two containers, and it would be in a third."""
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    scaled_out = [one for one in services.values() if "scaled-out" in one["profiles"]]
    published = {port for one in scaled_out for port in re.findall(r"127\.0\.0\.1:(111\d\d):", str(one.get("ports")))}
    asked = re.findall(r"http://127\.0\.0\.1:(\d+)/readyz", RUNBOOK.read_text(encoding="utf-8"))
    assert sorted(asked) == sorted(published) != []
