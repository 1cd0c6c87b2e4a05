"""Log lines carry the job, and steps carry their seconds."""

import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from contextvars import copy_context
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from fusionnode.logs import StepClock, _LineFilter, configure_logging, configure_service, job_context
from tests.support.files import write_series
from tests.support.nodes import make_pair


@pytest.fixture(autouse=True)
def _restore_root_logger() -> object:
    root = logging.getLogger()
    handlers, level, show = root.handlers[:], root.level, warnings.showwarning
    yield
    warnings.showwarning = show
    root.handlers[:] = handlers
    root.setLevel(level)


def test_every_line_names_the_job_it_belongs_to(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logger = logging.getLogger("fusionnode.test")
    with job_context("abc123"):
        logger.info("inside")
    logger.info("outside")
    inside, outside = capsys.readouterr().err.splitlines()
    assert "[abc123]" in inside
    assert "[-]" in outside


def test_configuring_twice_does_not_double_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    configure_logging()
    logging.getLogger("fusionnode.test").info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_libraries_that_print_identifiers_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(logging.DEBUG)
    for name in ("pynetdicom.assoc", "pydicom", "highdicom"):
        # As pydicom does when it is imported after the logging was set up.
        logging.getLogger(name.partition(".")[0]).setLevel(logging.WARNING)
        logging.getLogger(name).error("Patient's Name: DOE^JOHN")
    assert "DOE" not in capsys.readouterr().err


_TALK = """
import logging, sys, warnings
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from fusionnode.logs import configure_logging

configure_logging(logging.DEBUG)
import pynetdicom, highdicom
logging.captureWarnings(sys.argv[1] == "captured")
for _ in range(3):
    for keyword in ("PatientBirthDate", "PatientAge", "StudyInstanceUID", "PatientWeight", "InstanceNumber"):
        ds, tag = Dataset(), Tag(keyword)
        ds[tag] = RawDataElement(tag, None, 8, b"DOE^JOHN", 0, True, True)
        try:
            ds.get(keyword)
        except ValueError:
            pass
    try:
        Dataset().PatientName = "DOE^JOHN" * 20
    except ValueError:
        pass
    warnings.warn("DOE^JOHN again", RuntimeWarning)
logging.getLogger("fusionnode").info("the end")
"""


@pytest.mark.parametrize("way", ["plain", "captured"])
def test_what_libraries_warn_of_is_never_quoted(way: str) -> None:
    ended = subprocess.run([sys.executable, "-c", _TALK, way], capture_output=True, text=True, check=True)
    assert "the end" in ended.stderr
    assert "DOE" not in ended.stdout + ended.stderr
    if way == "plain":
        assert ended.stderr.count("RuntimeWarning at") == 1
        assert "UserWarning at pydicom/" in ended.stderr


def test_the_command_prints_no_value_of_a_malformed_header(tmp_path: Path) -> None:
    tag = Tag("PatientAge")
    for name, datasets in zip(("mr", "pt"), make_pair(), strict=True):
        for ds in datasets:
            ds[tag] = RawDataElement(tag, "AS", 8, b"DOE^JOHN", 0, False, True)
            ds.SeriesDescription = "ADC map dwi"
        write_series(tmp_path / name, datasets)
    main = "from fusionnode.cli import main; main()"
    command = [sys.executable, "-c", main, "fuse", "mr", "pt", "--out", "out", "--unpaired"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (ended.returncode, (tmp_path / "out" / "report.json").is_file()) == (0, True), ended.stderr
    assert "DOE" not in ended.stdout + ended.stderr


def test_step_clock_keeps_the_steps_in_order_and_leaves_out_one_that_failed() -> None:
    clock = StepClock(logging.getLogger("fusionnode.test"))
    with clock("first"):
        pass
    with pytest.raises(ValueError, match="broken"), clock("broken"):
        raise ValueError("broken")
    with clock("second"):
        pass
    assert list(clock.seconds) == ["first", "second"]
    assert all(seconds >= 0 for seconds in clock.seconds.values())


_WORDS = "DOE^JOHN"


def test_json_lines_say_when_where_and_of_whom(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(as_json=True, role="serve")
    logger = logging.getLogger("fusionnode.test")
    with job_context("abc123", ["1.2", "1.3"]):
        logger.info("inside %s", 'quoted "\n')
    logger.warning("outside", extra={"association": "a1", "series": ["1.4"]})
    inside, outside = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (inside["job"], inside["series"], inside["process"], inside["level"]) == (
        "abc123",
        ["1.2", "1.3"],
        "serve",
        "INFO",
    )
    assert inside["message"] == 'inside quoted "\n'
    assert datetime.fromisoformat(inside["time"]).utcoffset() == timedelta(0)
    assert (outside["association"], outside["series"], "job" in outside) == ("a1", ["1.4"], False)
    assert (outside["logger"], outside["pid"]) == ("fusionnode.test", os.getpid())


@pytest.mark.parametrize("as_json", [True, False])
def test_an_exception_is_told_without_its_words(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    configure_logging(as_json=as_json)
    try:
        raise ValueError(_WORDS)
    except ValueError:
        logging.getLogger("fusionnode.test").exception("it failed")
    told = capsys.readouterr().err
    assert "test_logs.py" in told
    assert "ValueError" in told
    assert "DOE" not in told


def test_a_thread_that_ends_by_an_error_is_told_without_its_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    configure_service("serve", as_json=True)

    def fail() -> None:
        raise ValueError(_WORDS)

    thread = threading.Thread(target=fail, name="sweep")
    thread.start()
    thread.join()
    told = capsys.readouterr().err
    assert "thread sweep ended: ValueError" in json.loads(told)["message"]
    assert "DOE" not in told


_FAIL = """
from fusionnode import cli
from fusionnode.logs import configure_service

@cli.app.command()
def fail(form: str) -> None:
    configure_service("serve", as_json=form == "json")
    try:
        raise KeyError("DOE^JANE")
    except KeyError as problem:
        raise ValueError("DOE^JOHN") from problem

cli.main()
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_what_ends_a_service_is_a_line_of_its_log_without_its_words(form: str) -> None:
    done = subprocess.run([sys.executable, "-c", _FAIL, "fail", form], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    told = json.loads(done.stderr)["message"] if form == "json" else done.stderr
    assert "the process ends: ValueError" in told
    assert "Traceback" not in told
    assert "DOE" not in done.stderr + done.stdout


def test_the_context_of_a_job_follows_into_its_threads_only_where_it_is_carried() -> None:
    seen: list[str] = []
    with job_context("abc123"):
        threads = [
            threading.Thread(target=copy_context().run, args=(lambda: seen.append(read_job()),)),
            threading.Thread(target=lambda: seen.append(read_job())),
        ]
        for thread in threads:
            thread.start()
            thread.join()
    assert seen == ["abc123", "-"]


def read_job() -> str:
    record = logging.LogRecord("fusionnode", logging.INFO, "", 0, "", None, None)
    _LineFilter().filter(record)
    return str(record.__dict__["job_id"])
