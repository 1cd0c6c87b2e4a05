"""Log lines carry the job, and steps carry their seconds."""

import logging

import pytest

from fusionnode.logs import StepClock, configure_logging, job_context


@pytest.fixture(autouse=True)
def _restore_root_logger() -> object:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
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
