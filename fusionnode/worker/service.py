"""The processes that run for long: what each holds, from its first audit record to its last."""

import logging
import threading

from fusionnode.domain.terms import Step
from fusionnode.settings import Settings
from fusionnode.wiring import build_listener, build_watcher, open_node
from fusionnode.worker.housekeeping import repeat_housekeeping
from fusionnode.worker.monitor import Monitor, Rounds, check_broker, check_database, check_threads, check_true

logger = logging.getLogger(__name__)


def run_serve(settings: Settings, stop: threading.Event) -> None:
    """Run a whole node until ``stop`` is set.

    Raises:
        Misconfigured: it cannot be started.
    """
    from fusionnode.worker.inline import EmbeddedNode

    with build_watcher(settings, "serve") as watcher:
        opened = open_node(settings, observer=watcher)
        rounds = Rounds(watcher.meters)
        node = EmbeddedNode(opened, watcher, rounds.note)
        listening = check_true(lambda: node.is_listening, "listening")
        alive = {"listener": listening, "threads": check_threads(node.list_dead), "sweep": rounds.check}
        ready = {"listener": listening, "database": lambda: check_database(opened.ledger)}
        node.start()
        try:
            with Monitor(settings, watcher, settings.http.port, alive, ready, opened.ledger):
                logger.info("%s listens on %s:%d", settings.ae_title, settings.host, node.port)
                stop.wait()
        finally:
            node.stop()


def run_listen(settings: Settings, stop: threading.Event) -> None:
    """Run the listener until ``stop`` is set. It needs the spool and nothing else.

    Raises:
        Misconfigured: it cannot be started.
    """
    with build_watcher(settings, "listen") as watcher:
        listener = build_listener(settings)
        listener.observer = watcher
        listening = {"listener": check_true(lambda: listener.is_listening, "listening")}
        listener.start()
        try:
            with Monitor(settings, watcher, settings.http.port, listening, listening):
                logger.info("%s listens on %s:%d", settings.ae_title, settings.host, listener.port)
                stop.wait()
        finally:
            listener.stop()


def run_sweeping(settings: Settings, stop: threading.Event) -> None:
    """Run the sweep of the scaled-out form until ``stop`` is set; it tells monitoring of the ledger.

    Raises:
        Misconfigured: it cannot be started.
        Unavailable: the database does not answer.
    """
    from fusionnode.worker.app import run_sweep

    with build_watcher(settings, "sweep") as watcher:
        node = open_node(settings, observer=watcher)
        rounds = Rounds(watcher.meters)
        housekeeping = threading.Thread(target=repeat_housekeeping, args=(node, stop), name="housekeeping")
        # The sweep itself is the main thread: where that ends, nobody answers.
        alive = {"sweep": rounds.check, "housekeeping": check_true(housekeeping.is_alive, "running")}
        ready = {"database": lambda: check_database(node.ledger), "broker": lambda: check_broker(settings)}
        housekeeping.start()
        try:
            with Monitor(settings, watcher, settings.http.sweep_port, alive, ready, node.ledger):
                run_sweep(node, stop, rounds.note)
        finally:
            stop.set()
            housekeeping.join()


def run_working(settings: Settings, step: Step) -> None:
    """Run one Celery worker until told to stop.

    Raises:
        Misconfigured: it cannot be started.
        Unavailable: the database does not answer.
    """
    from fusionnode.worker.app import run_worker

    with build_watcher(settings, f"work.{step.value}") as watcher:
        run_worker(open_node(settings, observer=watcher), step)
