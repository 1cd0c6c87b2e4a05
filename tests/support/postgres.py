"""Runs a throw-away PostgreSQL of one's own: no installation is touched, nothing listens on the network."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

_names = count(1)
_QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=''", "max_connections=150")


class PostgresMissing(RuntimeError):
    """This machine has no PostgreSQL server programs, or nobody unprivileged to run them as."""


@dataclass(frozen=True)
class PostgresServer:
    """A running cluster; its socket and its data lie in ``folder``, which only its owner can enter."""

    programs: Path
    folder: Path
    owner: str

    @property
    def url(self) -> str:
        """The database every cluster begins with."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql+psycopg://{self.owner}@/{database}?host={self.folder}"

    def create_database(self) -> str:
        """Make an empty database of one's own and return its name."""
        name = f"test_{os.getpid()}_{next(_names)}"
        self._run("createdb", "-h", str(self.folder), name)
        return name

    def start(self) -> None:
        options = " ".join([*(f"-c {setting}" for setting in _QUICK), f"-k {self.folder}"])
        data, log = self.folder / "data", self.folder / "log"
        self._run("pg_ctl", "-D", str(data), "-l", str(log), "-w", "-o", options, "start")

    def stop(self, how: str = "fast") -> None:
        """Stop it, hanging up on everybody; after ``fast`` its data stay for another `start`."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", how, "stop")

    def initialise(self) -> None:
        arguments = ("--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
        self._run("initdb", "-D", str(self.folder / "data"), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        identity = {} if os.geteuid() else {"user": self.owner, "group": pwd.getpwnam(self.owner).pw_gid}
        done = subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            **identity,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr}")


@contextmanager
def start_postgres(folder: Path) -> Iterator[PostgresServer]:
    """Run a cluster in ``folder``, which must be empty, short of name and reachable by the user ``postgres``.

    PostgreSQL refuses to run as root; root lends the folder to that user.

    Raises:
        PostgresMissing: there is no server to run.
    """
    server = PostgresServer(_find_programs(), folder, _find_owner())
    if os.geteuid() == 0:
        shutil.chown(folder, server.owner)
    server.initialise()
    server.start()
    try:
        yield server
    finally:
        server.stop("immediate")


def _find_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise PostgresMissing("no initdb in /usr/lib/postgresql or on the PATH")
    return Path(on_path).resolve().parent


def _find_owner() -> str:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    if "postgres" not in {entry.pw_name for entry in pwd.getpwall()}:
        raise PostgresMissing("root cannot run PostgreSQL, and there is no user postgres")
    return "postgres"
