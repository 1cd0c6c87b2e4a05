"""What hangs is ended, what ends in time is left alone."""

import subprocess
import sys
import threading

from fusionnode.worker.watchdog import EXIT_STATUS, Watchdog


def test_what_ends_in_time_is_left_alone() -> None:
    given_up = threading.Event()
    before = set(threading.enumerate())
    with Watchdog(60, given_up.set):
        [timer] = set(threading.enumerate()) - before
    timer.join(30)
    assert not timer.is_alive()
    assert not given_up.is_set()


def test_what_hangs_is_given_up_once() -> None:
    given_up = threading.Event()
    with Watchdog(0.05, given_up.set):
        assert given_up.wait(10)


def test_a_timer_that_is_late_gives_up_nothing_that_ended() -> None:
    given_up = threading.Event()
    with Watchdog(60, given_up.set) as watchdog:
        pass
    # As if it had run out a moment before it was stopped, and come to its turn only now.
    watchdog._strike()
    assert not given_up.is_set()


def test_what_is_being_given_up_does_not_go_on_as_if_it_had_ended() -> None:
    begun, done = threading.Event(), threading.Event()

    def give_up() -> None:
        begun.set()
        threading.Event().wait(0.3)
        done.set()

    with Watchdog(0.01, give_up):
        assert begun.wait(10)
    assert done.is_set()


def test_a_process_that_hangs_ends_with_a_status_of_its_own() -> None:
    hang = (
        "import threading\n"
        "from fusionnode.worker.watchdog import Watchdog, end_process\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "with Watchdog(0.1, end_process):\n"
        "    threading.Event().wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", hang], check=False, timeout=60)
    assert done.returncode == EXIT_STATUS
