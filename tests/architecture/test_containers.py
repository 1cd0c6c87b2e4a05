"""The containers in deploy/ keep a process to what its unit leaves it, and run only what there is."""

import importlib.metadata
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fusionnode.cli import app
from fusionnode.domain.terms import Step
from fusionnode.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OF_THE_NODE = {name: one for name, one in SERVICES.items() if "fusionnode" in one["image"]}
SITE = "/etc/fusionnode/site.toml"


def _read_stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage of the Containerfile, with what follows them."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Containerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    stages: list[list[tuple[str, str]]] = [[]]
    for name, _, rest in (line.partition(" ") for line in lines):
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, rest))
    return stages[1:]


BUILD, IMAGE = _read_stages()


def _find(stage: list[tuple[str, str]], name: str) -> str:
    """Return the one instruction of that name."""
    (found,) = (rest for one, rest in stage if one == name)
    return found


def _list_commands() -> list[list[str]]:
    return [json.loads(_find(IMAGE, "CMD")), *(one["command"] for one in OF_THE_NODE.values())]


def _list_variables() -> set[str]:
    named = set(re.findall(r"(\w+)=\S+", _find(IMAGE, "ENV"))).union(
        *(one["environment"] for one in OF_THE_NODE.values())
    )
    return {name for name in named if name.startswith("FUSIONNODE_")}


def test_the_image_ends_as_a_user_who_is_not_root() -> None:
    user, _, group = _find(IMAGE, "USER").partition(":")
    assert int(user) > 0, "by number, for whoever starts it checks that"
    assert int(group) > 0
    after = [name for name, _ in IMAGE[[name for name, _ in IMAGE].index("USER") :]]
    assert not {"RUN", "COPY", "ADD"} & set(after)


def test_the_image_has_no_compiler_and_nothing_that_installs() -> None:
    packages = set(re.findall(r"[a-z][a-z0-9+.-]+", _find(IMAGE, "RUN").partition("--no-install-recommends ")[2]))
    assert not packages & {"build-essential", "gcc", "g++", "make", "python3-dev", "python3-pip", "python3-venv", "git"}
    assert any("--without-pip" in rest for _, rest in BUILD)


def test_what_is_installed_is_pinned() -> None:
    (installing,) = (rest for name, rest in BUILD if name == "RUN" and " install --no-cache-dir " in rest)
    assert "--constraint constraints.txt ." in installing
    assert "==" not in "".join(rest for stage in (BUILD, IMAGE) for _, rest in stage), "in constraints.txt only"
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    # The distribution's own Python; a newer one asks for less.
    assert _close({"python_full_version": "3.11.2", "python_version": "3.11"}) - pinned == set()


def _close(machine: dict[str, str]) -> set[str]:
    """Return the names of all that fusionnode needs on such a machine, the needs of its needs included."""
    found: set[str] = set()
    waiting = [Requirement("fusionnode")]
    while waiting:
        one = waiting.pop()
        try:
            needs = importlib.metadata.requires(one.name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of that machine, and not of this one
        for need in map(Requirement, needs):
            facts = [{**default_environment(), **machine, "extra": extra} for extra in one.extras or {""}]
            name = canonicalize_name(need.name)
            if name not in found and (need.marker is None or any(map(need.marker.evaluate, facts))):
                found.add(name)
                waiting.append(need)
    return found


def test_what_is_installed_gets_into_the_build_and_nothing_else() -> None:
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    data = [one for files in project["tool"]["setuptools"]["data-files"].values() for one in files]
    needed = {"pyproject.toml", "constraints.txt", "fusionnode", "deploy/fusionnode.sh"}
    needed |= {project["project"]["readme"], *project["project"]["license-files"]}
    assert let_through - {"pipelines", "dicom_samples/head"} == needed
    assert all(any(one.startswith(f"{name}/") for name in let_through) for one in data)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_no_privileges_and_writes_nowhere_but_where_it_must(service: str) -> None:
    facts = SERVICES[service]
    assert facts["read_only"] is True
    assert facts["cap_drop"] == ["ALL"]
    assert facts["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "userns_mode", "devices"} & set(facts)
    assert service in OF_THE_NODE or facts["user"] not in ("root", "0")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_dumps_no_core_and_takes_no_more_than_its_unit_may(service: str) -> None:
    facts = SERVICES[service]
    assert facts["ulimits"] == {"core": 0}
    name = {"node": "", "work-prepare": "-work@", "work-fuse": "-work@", "work-send": "-work@"}.get(service, "-listen")
    unit = (DEPLOY / "systemd" / f"fusionnode{name}.service").read_text(encoding="utf-8")
    assert re.findall(r"^TasksMax=(\d+)$", unit, re.MULTILINE) == [str(facts["pids_limit"])]
    limits = [one.lower() for one in re.findall(r"^MemoryMax=(\S+)$", unit, re.MULTILINE)]
    assert limits == [facts[key] for key in ("mem_limit",) if key in facts]
    assert bool(limits) is (name == "-work@")


@pytest.mark.parametrize("service", OF_THE_NODE)
def test_a_process_of_the_node_writes_to_its_state_alone_as_its_unit_has_it(service: str) -> None:
    facts = OF_THE_NODE[service]
    assert "user" not in facts, "the image's"
    config, state = facts["volumes"]
    assert config == "${NODE_CONFIG:-/etc/fusionnode}:/etc/fusionnode:ro"
    assert state == "state:/var/lib/fusionnode"
    assert facts["environment"]["FUSIONNODE_SPOOL"].startswith("/var/lib/fusionnode/")
    assert [one.partition(":")[0] for one in facts["tmpfs"]] == ["/tmp"]


def test_what_runs_in_containers_is_what_the_units_run() -> None:
    units = "\n".join(path.read_text(encoding="utf-8") for path in (DEPLOY / "systemd").glob("*.service"))
    started = re.findall(r"^ExecStart=\S+ (.*)$", units, re.MULTILINE)
    queues = [step.value for step in Step if step is not Step.COMMIT]
    wanted = {line.replace("%i", queue) for line in started for queue in queues}
    assert {" ".join(one["command"]) for one in OF_THE_NODE.values()} == wanted
    assert " ".join(json.loads(_find(IMAGE, "CMD"))) in wanted
    (patience,) = set(re.findall(r"^TimeoutStopSec=(\d+)$", units, re.MULTILINE))
    assert {one["stop_grace_period"] for one in OF_THE_NODE.values()} == {f"{patience}s"}


def test_every_command_exists_with_its_options() -> None:
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, *rest in _list_commands():
        taken = {option for one in known[name].params for option in one.opts}
        assert {one for one in rest if one.startswith("--")} <= taken, name
        assert rest[-2:] == ["--site", SITE]


def test_every_variable_is_a_setting() -> None:
    assert _list_variables() > {"FUSIONNODE_HOST", "FUSIONNODE_HTTP__HOST"}
    for name in _list_variables():
        fields: Any = Settings.model_fields
        for key in name.removeprefix("FUSIONNODE_").lower().split("__"):
            assert key in fields, f"the site file has no such key: {name}"
            fields = getattr(fields[key].annotation, "model_fields", {})


def test_passwords_come_from_files_that_are_not_in_the_project() -> None:
    used = {name for one in SERVICES.values() for name in one.get("secrets", ())}
    assert used == set(COMPOSE["secrets"])
    assert all(one["file"].startswith("${NODE_CONFIG:-/etc/fusionnode}/") for one in COMPOSE["secrets"].values())
    assert all("env_file" not in one for one in SERVICES.values())
    variables = {name for one in SERVICES.values() for name in one.get("environment", ())}
    assert all(name.endswith("_FILE") for name in variables if re.search("PASSWORD|KEY|URL|SECRET", name))


def test_health_is_asked_where_it_is_served() -> None:
    site = tomllib.loads((DEPLOY / "site.toml").read_text(encoding="utf-8"))
    of_the_image = re.search(r"FUSIONNODE_HTTP__PORT=(\d+)", _find(IMAGE, "ENV"))
    assert of_the_image
    assert f"127.0.0.1:{of_the_image[1]}/healthz" in _find(IMAGE, "HEALTHCHECK")
    for name, facts in OF_THE_NODE.items():
        ports = facts["environment"]["FUSIONNODE_HTTP__PORT"], facts["environment"]["FUSIONNODE_HTTP__SWEEP_PORT"]
        assert ports == (of_the_image[1], str(site["http"]["sweep_port"]))
        if name == "sweep":
            assert f"127.0.0.1:{ports[1]}/healthz" in facts["healthcheck"]["test"][-1]
        elif "work" in facts["command"]:
            assert facts["healthcheck"] == {"disable": True}
        else:
            assert "healthcheck" not in facts, "the image's"


def test_nothing_is_in_reach_of_others_by_default() -> None:
    published = [port for one in SERVICES.values() for port in one.get("ports", ())]
    assert published
    assert [port for port in published if not re.match(r"(\$\{NODE_ADDRESS:-)?127\.0\.0\.1:", port)] == []
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name in SERVICES.keys() - OF_THE_NODE:
        assert SERVICES[name]["networks"] == ["inside"]


def test_each_form_is_chosen_by_name_so_that_both_never_run_on_one_spool() -> None:
    assert {name for name, one in SERVICES.items() if one["profiles"] == ["embedded"]} == {"node"}
    assert all(one["profiles"] in (["embedded"], ["scaled-out"]) for one in SERVICES.values())
