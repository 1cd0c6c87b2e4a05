"""The alerts in deploy ask for metrics that are there, and the page tells of each metric and each alert."""

import re
from pathlib import Path

import pytest
import yaml

from fusionnode.flow.observing import StoreAnswer
from fusionnode.wiring import build_watcher
from fusionnode.worker.monitor import Monitor
from tests.support.nodes import make_settings, open_test_node

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
RULES = yaml.safe_load((REPOSITORY / "deploy" / "prometheus" / "fusionnode.rules.yml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]


@pytest.fixture
def names(tmp_path: Path) -> set[str]:
    """Every metric of a whole node, by the name that a rule would use."""
    settings = make_settings(tmp_path)
    watcher = build_watcher(settings, "serve")
    Monitor(settings, watcher, 0, {}, {}, open_test_node(tmp_path).ledger)
    watcher.instance_answered("a", StoreAnswer("1.2", "1.3", 0, 0.1))
    text = watcher.meters.expose().decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    return {name for name in kinds if not name.endswith("_created")}


def test_every_alert_asks_for_what_is_told(names: set[str]) -> None:
    asked = {name for rule in ALERTS for name in re.findall(r"fusionnode_\w+", rule["expr"])}
    assert asked <= names
    assert asked


def test_the_page_tells_of_every_metric(names: set[str]) -> None:
    told = set(re.findall(r"`(fusionnode_\w+)`", PAGE))
    assert told == names


def test_the_page_says_what_every_alert_means() -> None:
    told = set(re.findall(r"^\| (Fusionnode\w+) \|", PAGE, re.MULTILINE))
    assert told == {rule["alert"] for rule in ALERTS}
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in ALERTS)
