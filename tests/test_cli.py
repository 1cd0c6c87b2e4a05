"""The command line as a user meets it: exit codes, words, JSON."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fusionnode.domain.job import JobEvent
from fusionnode.domain.series import SeriesKey
from fusionnode.domain.terms import SeriesState, Step
from fusionnode.errors import Refused
from fusionnode.settings import load_settings
from fusionnode.wiring import open_node
from tests.support.command_server import CommandServer, Ended
from tests.support.datasets import Identity, Layout, make_mr_series, make_pt_series
from tests.support.files import write_series
from tests.support.ledgers import make_headers, make_job
from tests.support.nodes import MOMENT, publish_objects
from tests.support.running import FUSIONNODE

REPOSITORY = Path(__file__).resolve().parent.parent


Run = Callable[..., Ended]


def _start(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed program, which takes a second or two to start."""
    return subprocess.run([FUSIONNODE, *arguments], capture_output=True, text=True, check=False, timeout=100)


@pytest.fixture
def run(commands: CommandServer, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same in a process that was forked."""
    folder = tmp_path_factory.mktemp("told")
    return lambda *arguments: commands.run(arguments, folder / "out", 60, folder / "err")


@pytest.fixture(scope="module")
def new_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site file of a node that was migrated and has received nothing; for commands that change nothing."""
    site = tmp_path_factory.mktemp("new") / "site.toml"
    site.write_text('spool = "spool"\n')
    assert _start("migrate", "--site", str(site)).returncode == 0
    return site


def test_help_names_every_command(run: Run) -> None:
    text = run("--help").output
    names = "demo serve listen sweep work fuse batch evaluate train models "
    names += "series explain jobs retry resend audit check doctor migrate reindex "
    names += "clean quarantine release backup restore"
    assert all(name in text for name in names.split())


def test_version_is_the_package_s() -> None:
    from fusionnode import __version__

    assert _start("--version").stdout.strip() == __version__


def test_a_broken_site_file_is_wrong_usage_and_said_without_a_traceback(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text("port = 'eleven'\n")
    done = _start("jobs", "--site", str(site))
    assert done.returncode == 2
    assert "port" in done.stderr
    assert "Traceback" not in done.stderr


def test_models_lists_every_card_as_json(run: Run) -> None:
    facts = json.loads(run("models", "--json").output)
    assert {fact["name"] for fact in facts} >= {"laplacian", "maximum", "mask-attention"}
    assert sum(fact["default"] for fact in facts) == 1
    assert all({"version", "sha256", "parameters", "available"} <= fact.keys() for fact in facts)


def test_models_as_a_table_names_them_too(run: Run) -> None:
    assert "mask-attention" in run("models").output


def test_train_on_a_folder_without_pairs_is_told(run: Run, tmp_path: Path) -> None:
    done = run("train", "mask-attention", "--data", str(tmp_path), "--out", str(tmp_path / "run"))
    assert done.status == 1
    assert "no picture pairs" in done.errors
    assert not (tmp_path / "run").exists()


def test_train_of_an_unknown_loss_is_wrong_usage(run: Run, tmp_path: Path) -> None:
    done = run("train", "mask-attention", "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--loss", "love")
    assert done.status == 2
    assert "balanced" in done.errors


def test_retry_of_an_unknown_job_is_told(run: Run, new_site: Path) -> None:
    done = run("retry", "no-such-job", "--site", str(new_site))
    assert done.status == 1
    assert "JobUnknown" in done.errors


def test_looking_makes_nothing(run: Run, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('spool = "spool"\n')
    assert run("jobs", "--json", "--site", str(site)).status != 0
    assert not (tmp_path / "spool").exists()


def test_jobs_of_a_new_node_are_an_empty_list(run: Run, new_site: Path) -> None:
    assert json.loads(run("jobs", "--json", "--site", str(new_site)).output) == []


@pytest.mark.parametrize(("uid", "code"), [("1.2.3", "SeriesUnknown"), ("Mrs Example", "UidMalformed")])
def test_explain_of_what_is_not_there_is_told(run: Run, new_site: Path, uid: str, code: str) -> None:
    done = run("explain", uid, "--site", str(new_site))
    assert done.status == 1
    assert code in done.errors
    assert "Traceback" not in done.errors


def test_check_says_what_is_wrong_and_fails(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text("name: broken\n")
    done = run("check", str(REPOSITORY / "pipelines"), str(path))
    assert done.status == 1
    assert "good: pipeline" in done.output
    assert "wrong: pipeline" in done.output


def test_doctor_finds_a_destination_that_does_not_answer(run: Run, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('spool = "spool"\n[destinations.pacs]\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 1\n')
    done = run("doctor", "--site", str(site))
    assert done.status == 1
    [line] = [line for line in done.output.splitlines() if line.startswith("destination pacs")]
    assert "ILL" in line


def test_fuse_writes_everything_or_nothing(run: Run, tmp_path: Path) -> None:
    frame = Identity(frame_of_reference_uid="1.2.3")
    write_series(tmp_path / "mr", make_mr_series(identity=frame))
    write_series(tmp_path / "pt", make_pt_series(identity=Identity(frame_of_reference_uid="1.2.3", series_number=2)))
    out = tmp_path / "out"
    arguments = ("fuse", str(tmp_path / "mr"), str(tmp_path / "pt"), "--out", str(out), "--json")
    done = run(*arguments)
    assert done.status == 0, done.errors
    report = json.loads(done.output)
    assert report["slices"] == len(list((out / "fused").iterdir())) == 12
    assert json.loads((out / "report.json").read_text()) == report
    assert (out / "preview.png").read_bytes().startswith(b"\x89PNG")
    again = run(*arguments)
    assert again.status == 1
    assert "OutputOccupied" in again.errors
    unknown = run("fuse", str(tmp_path / "mr"), str(tmp_path / "pt"), "--out", str(tmp_path / "x"), "--network", "nope")
    assert unknown.status == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mr", "out", "pt"]


@pytest.mark.parametrize("command", ["serve", "listen", "work"])
def test_every_unit_in_deploy_starts_a_command_that_exists(run: Run, command: str) -> None:
    assert run(command, "--help").status == 0
    units = "".join(path.read_text() for path in (REPOSITORY / "deploy" / "systemd").iterdir())
    assert f"fusionnode {command} " in units


def test_light_commands_do_not_load_the_heavy_libraries(new_site: Path) -> None:
    site = ["--site", str(new_site)]
    light = [["models"], ["check", "pipelines"], ["jobs", *site], ["series", *site], ["explain", "1.2.3", *site]]
    probe = (
        "import sys; from fusionnode.cli import app; from fusionnode.errors import SeriesUnknown\n"
        f"for arguments in {light!r}:\n"
        "    try:\n"
        "        app(arguments, standalone_mode=False)\n"
        "    except SeriesUnknown:\n"
        "        assert arguments[0] == 'explain'\n"
        "    print(arguments[0], {'torch', 'SimpleITK', 'celery', 'highdicom'} & set(sys.modules), file=sys.stderr)\n"
        "import fusionnode.worker.app, fusionnode.worker.files\n"
        "print('worker', {'torch'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines() == [f"{name} set()" for name in (*(arguments[0] for arguments in light), "worker")]


_HOSTILE = "[/x] [link=u] :x:"


def test_what_others_wrote_is_printed_as_it_is_in_tables_and_in_errors(run: Run, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('spool = "spool"\n[destinations.pacs]\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 1\n')
    node = open_node(load_settings(site))
    header = replace(make_headers()[0], modality=_HOSTILE)
    node.ledger.record_instance(header, MOMENT)
    node.ledger.set_series_state(SeriesKey(header.series_instance_uid, 1), SeriesState.COMPLETE, _HOSTILE)
    node.ledger.add_job(make_job())
    claimed = node.ledger.claim_job(Step.PREPARE, MOMENT, 30, "worker")
    assert claimed is not None
    node.ledger.advance_job(claimed, JobEvent.REFUSED, MOMENT, Refused(_HOSTILE))
    for command, times in (("series", 2), ("jobs", 1)):
        shown = run(command, "--site", str(site))
        assert shown.status == 0, shown.errors
        # Columns are narrow, so every word is looked for by itself.
        assert [shown.output.count(word) for word in _HOSTILE.split()] == [times] * 3, shown.output
    wrong = run("retry", "[/x]", "--site", str(site))
    assert (wrong.status, "[/x]" in wrong.errors) == (1, True)


def test_resend_and_jobs_tell_each_destination_s_account(run: Run, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('spool = "spool"\n[destinations.pacs]\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 1\n')
    node = open_node(load_settings(site))
    job = publish_objects(node, make_mr_series(Layout(slices=2, rows=8, columns=8)))
    sending = node.ledger.claim_job(Step.SEND, MOMENT, 30, "worker")
    assert sending is not None
    [account] = node.ledger.list_consignments(job.id)
    node.ledger.save_consignment(sending, replace(account, dead=True, reason="It was switched off."), MOMENT)
    node.ledger.advance_job(sending, JobEvent.FAILED, MOMENT)
    shown = run("jobs", "--site", str(site)).output
    assert "pacs: 0/2, given up" in shown
    assert job.id in shown, "it is what is typed next, and has to be there whole"
    told = run("resend", job.id, "--destination", "pacs", "--site", str(site))
    assert (told.status, told.output) == (0, f"2 instances of {job.id} are to be sent\n")
    assert "given up" not in run("jobs", "--site", str(site)).output
    refused = run("resend", job.id, "--destination", "attic", "--site", str(site))
    assert refused.status == 1
    assert "TransitionForbidden" in refused.errors
