"""A PostgreSQL of the tests' own: made in a folder, on a free port, stopped at the end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pg8000.native

PASSWORD = "p@ss:w/rd-of-tests"
QUOTED = "p%40ss%3Aw%2Frd-of-tests"


def binaries() -> Path | None:
    """The folder of initdb and postgres, the newest version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return Path(there).resolve().parent if there else None


class Postgres:
    """A running server."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs
        self.user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        if self.user:
            folder.chmod(0o755)
            shutil.chown(folder, self.user)
            shutil.chown(secret, self.user)
        self._run("initdb", "-D", str(folder / "data"), "-U", "likely", "-A", "scram-sha-256", "--pwfile", str(secret),
                  "-E", "UTF8", "--no-locale", "--no-sync")  # fmt: skip
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), *arguments], user=self.user, cwd=self.folder, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, env={"PATH": os.environ["PATH"], "LC_ALL": "C"}, check=False,
            **({"extra_groups": [], "group": self.user} if self.user else {}),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c shared_buffers=32MB -c max_connections=120 -c autovacuum=off"
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-t", "120", "-l", str(self.folder / "log"),
                  "-o", options, "start")  # fmt: skip

    def stop(self, how: str = "fast") -> None:
        """Stop, and wait until it has."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-t", "120", "-m", how, "stop")

    def url(self, database: str) -> str:
        """Where a database is."""
        return f"postgresql://likely:{QUOTED}@127.0.0.1:{self.port}/{database}"

    def ask(self, question: str, database: str = "postgres", **values: Any) -> Any:
        """Run SQL as another client."""
        with pg8000.native.Connection(
            "likely", host="127.0.0.1", port=self.port, database=database, password=PASSWORD
        ) as connection:
            return connection.run(question, **values)

    def database(self, name: str) -> str:
        """A new, empty database; its URL."""
        self.ask(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self.ask(f'CREATE DATABASE "{name}"')
        return self.url(name)


@contextmanager
def serve(programs: Path) -> Any:
    """A server while the block runs."""
    # A short path: the name of a socket may have 107 characters.
    folder = Path(mkdtemp(prefix="pg"))
    try:
        server = Postgres(folder, programs)
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
