"""One database, SQLite or PostgreSQL: connections, transactions that are durable, errors in words.

SQLite: write-ahead log with synchronous = FULL (a commit is on the disk when it returns), BEGIN IMMEDIATE for writers
(a reader's transaction that turns into a writer's fails at once when another wrote meanwhile; this one waits instead),
a connection is never used by two threads at once nor by two processes. A new file is made beside its place and linked
there whole, so nobody ever sees half a schema, and an existing file is never made anew.

PostgreSQL: synchronous_commit on; writers take one advisory lock, so that numbers grow in the order of commits.

Work is given as a function of a connection and is safe to do twice (rows have ids and are inserted if they are new), so
what failed because the database was busy or gone for a moment is done again, after pauses that double, for
`patience` seconds at most. Then there is one StorageError that says what was not stored.

Sources: SQLite documentation, "Write-Ahead Logging", "Transactions", "The SQLite database file format" (1.3).
"""

from __future__ import annotations

import os
import random
import re
import socket
import sqlite3
import struct
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from likely.align.fields import now
from likely.errors import LikelyError, OptionError, StorageError
from likely.registry import require
from likely.server.store.schema import VERSION, Schema

T = TypeVar("T")
MAGIC = b"SQLite format 3\0"
LOCK = 0x6C696B656C79  # "likely", the number of the advisory lock
# Files open in this process. To open and close such a file once more, even to look at it, would take away the locks
# that SQLite holds on it (POSIX gives them to the process, not to the descriptor).
_OPEN: Counter[tuple[int, int]] = Counter()
_GUARD = threading.Lock()
OPEN = "open"
_LOCKED = "another program kept the database locked for {patience}. Close it and try again."
_SQLITE = {
    "locked": _LOCKED,
    "is busy": _LOCKED,
    "database or disk is full": "the disk is full. Make room and try again.",
    "readonly": "the file or its folder cannot be written.",
    "unable to open": "the file or its folder cannot be opened or written.",
    "malformed": "the file is damaged; nothing was changed. Restore a copy of it.",
    "not a database": "the file is damaged or no SQLite database; nothing was changed.",
    "disk I/O error": "the disk failed to read or write.",
    "no such table": "its tables are gone.",
}
_POSTGRES = {
    "55P03": _LOCKED,
    "42P01": "its tables are gone.",
    "3D000": "there is no database of that name.",
    "53100": "the disk of the server is full.",
    "53300": "the server has no connection left.",
    "28P01": "user or password is wrong.",
    "28000": "the server does not let this user in.",
    "42501": "this user may not do that there.",
    "25006": "the server takes no writes at present.",
}
_BUSY = re.compile(r"database (table |schema )?is locked|database is busy")
# What PostgreSQL says when the same work may succeed a moment later: conflict of transactions, too many clients,
# ending or starting up, lock not available.
_AGAIN = {"40001", "40P01", "53300", "57P01", "57P02", "57P03", "55P03"}


class Database:
    """A place for the tables of `schema`, made where there are none unless `make` is False. Raises OptionError for a
    URL of another kind, StorageError where it is no such database, of a newer version, damaged or out of reach."""

    def __init__(self, place: str | Path, *, patience: float = 30.0, make: bool = True) -> None:
        if not 0 <= patience <= 3600:
            raise OptionError(f"patience is {patience!r}; it must be from 0 to 3600 seconds.")
        self.schema, self.patience, self.make = Schema(), patience, make
        self.sa = self.schema.sa
        self.path, url, self.name = _place(self.sa, place)
        self.dialect = "postgresql" if self.path is None else "sqlite"
        self._failures = (self.sa.exc.SQLAlchemyError, OSError, struct.error)
        self.process = os.getpid()
        self._inherited: list[Any] = []
        self.inode, self._closed = (0, 0), False
        options: dict[str, Any] = {"hide_parameters": True}
        if self.path is None:
            require("pg8000", "keeping judgements in PostgreSQL")
            options |= {"pool_size": 4, "max_overflow": 60, "connect_args": {"timeout": patience + 30}}
        else:
            options |= {"poolclass": self.sa.pool.QueuePool, "pool_size": 8, "max_overflow": -1}
            options["creator"] = partial(_connect, self.path, max(patience, 0.05))
        self.engine = self.sa.create_engine(url, **options)
        if self.path is None:
            self.sa.event.listen(self.engine, "do_connect", _dial)
        self.sa.event.listen(self.engine, "connect", self._connected)
        if self.path is not None:
            self.sa.event.listen(self.engine, "begin", _begin)
            self._prepare_file(self.path)
        try:
            self.read(self._check_version, OPEN)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"Database({self.name!r})"

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()
        with _GUARD:
            if self.inode in _OPEN and not self._closed:
                _OPEN[self.inode] -= 1
                self._closed = True

    # ------------------------------------------------------------------------------------------ transactions

    def write(self, work: Callable[[Any], T], what: str) -> T:
        """Do `work` in a transaction of a writer; on the disk when it returns. `what` is said to be not stored."""
        return self._do(work, what, writes=True)

    def read(self, work: Callable[[Any], T], what: str) -> T:
        """Do `work` in a transaction; each question of it sees one state of the database."""
        return self._do(work, what, writes=False)

    def read_one_state(self, work: Callable[[Any], T], what: str) -> T:
        """Do `work` in a transaction all of whose questions see the same state."""

        def still(connection: Any) -> T:
            if self.path is None:  # in SQLite it is so anyway
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return work(connection)

        return self._do(still, what, writes=False)

    def _do(self, work: Callable[[Any], T], what: str, writes: bool) -> T:
        end, pause = time.monotonic() + self.patience, 0.005
        while True:
            try:
                with self._transaction(writes) as connection:
                    made = work(connection)
                self._same_file()
                return made
            except LikelyError:
                raise
            except self._failures as error:
                if not self._again(error) or time.monotonic() + pause > end:
                    raise self._said(error, what, writes) from None  # its cause may hold the URL
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, 1.0)

    @contextmanager
    def _transaction(self, writes: bool) -> Iterator[Any]:
        if os.getpid() != self.process:  # after a fork: the parent's connections stay the parent's
            self._inherited.append(self.engine.pool)  # never closed here: that is the parent's to do
            self.engine.dispose(close=False)
            self.process = os.getpid()
        with self.engine.connect() as connection:
            connection = connection.execution_options(likely_writes=writes)
            self._same_file()
            transaction = connection.begin()
            try:
                if self.path is None and writes:
                    connection.execute(self.sa.text("SELECT pg_advisory_xact_lock(:n)"), {"n": LOCK})
                yield connection
                transaction.commit()
            except BaseException as error:
                if isinstance(error, self._failures) and self.path is None and self._again(error):
                    connection.invalidate()  # broken, perhaps: the pool would hand it out again
                else:
                    transaction.rollback()
                raise

    def _connected(self, connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        if self.path is None:
            cursor.execute(f"SET lock_timeout TO {max(int(self.patience * 1000), 1)}")
            cursor.execute("SHOW synchronous_commit")
            if cursor.fetchone()[0] in ("off", "local"):
                cursor.execute("SET synchronous_commit TO on")
            connection.commit()
        else:
            connection.isolation_level = None  # BEGIN is ours to say
            for pragma in ("synchronous = FULL", "foreign_keys = ON"):
                cursor.execute(f"PRAGMA {pragma}")
            if (mode := cursor.execute("PRAGMA journal_mode = WAL").fetchone()[0]) != "wal":
                raise StorageError(f"{self.name} cannot keep a write-ahead log (its journal is {mode!r}): put it on a "
                                   "local disk in a folder that can be written.")  # fmt: skip
        cursor.close()

    # ------------------------------------------------------------------------------------------------- files

    def _prepare_file(self, path: Path) -> None:
        try:
            if not path.exists():
                if not self.make:
                    raise StorageError(f"There is no database {self.name}: no file {str(path)!r}, and none was made.")
                self._make_file(path)
            with _GUARD:
                found = path.stat()
                inode = (found.st_dev, found.st_ino)
                if not _OPEN[inode]:
                    _check_file(path)
                _OPEN[inode] += 1
        except OSError as error:
            raise StorageError(f"Cannot keep judgements in {str(path)!r}: {error.strerror}.") from error
        self.inode = inode

    def _make_file(self, path: Path) -> None:
        """A database with tables, all or nothing; where another process was first, theirs."""
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
        creator = partial(_connect, beside, 60.0)
        engine = self.sa.create_engine("sqlite://", creator=creator, poolclass=self.sa.pool.NullPool)
        try:
            if not path.parent.is_dir():
                raise StorageError(f"No folder {str(path.parent)!r} to keep {path.name!r} in: make it first.")
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                self._make_tables(connection)
                connection.commit()
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(beside, path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except self.sa.exc.SQLAlchemyError as error:
            raise self._said(error, "a new database", writes=True) from None
        finally:
            beside.unlink(missing_ok=True)

    def _make_tables(self, connection: Any) -> None:
        self.schema.metadata.create_all(connection)
        connection.execute(self.schema.store.insert().values(version=VERSION, made=now()))

    def _same_file(self) -> None:
        """A file that was removed or replaced would take rows that nobody finds again."""
        if self.path is None or self.inode == (0, 0):
            return
        try:
            found = os.stat(self.path)
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self.inode:
            raise StorageError(f"{self.name} was removed or replaced while it was open; what was about to be stored "
                               "is not stored. Put it back, or open the store again.")  # fmt: skip

    def _check_version(self, connection: Any) -> None:
        inspector = self.sa.inspect(connection)
        ours = {name for name in self.schema.metadata.tables if inspector.has_table(name)}
        if not ours and self.path is None and self.make:
            self.write(self._make_tables_once, OPEN)
            return
        if missing := self.schema.metadata.tables.keys() - ours:
            what = "holds no judgements" if len(missing) == len(self.schema.metadata.tables) else "lacks tables"
            raise StorageError(f"{self.name} is a database, but {what} (no table {min(missing)}): nothing was changed. "
                               f"Give {'the path of a new file' if self.make else 'another one'}.")  # fmt: skip
        version = connection.execute(self.sa.select(self.schema.store.c.version)).scalar()
        if version is None or version > VERSION:
            raise StorageError(f"{self.name} has tables of version {version}; this version of likely knows "
                               f"{VERSION}: pip install -U likely")  # fmt: skip

    def _make_tables_once(self, connection: Any) -> None:
        if not self.sa.inspect(connection).has_table("likely_store"):
            self._make_tables(connection)

    # ------------------------------------------------------------------------------------------------ errors

    def _again(self, error: Exception) -> bool:
        """Whether the same work may succeed in a moment."""
        if getattr(error, "connection_invalidated", False):
            return True
        if self.path is not None:
            return bool(_BUSY.search(str(error)))
        code = _code(error)
        if code:
            return code in _AGAIN
        # No code: the connection was refused or broke off.
        return not isinstance(error, self.sa.exc.SQLAlchemyError) or isinstance(
            error, self.sa.exc.InterfaceError | self.sa.exc.OperationalError
        )

    def _said(self, error: Exception, what: str, writes: bool) -> StorageError:
        """One sentence: what is not stored, and why."""
        text = str(getattr(error, "orig", None) or error).splitlines()[0]
        code, patience = _code(error), f"{self.patience:g} seconds"
        sure = "Not stored" if self.path is not None or code else "Not known to be stored"
        head = f"Cannot open {self.name}: " if what == OPEN else (
            f"{sure if writes else 'Not read'}: {what}. {self.name}: ")  # fmt: skip
        if self.path is not None:
            reason = next((said for part, said in _SQLITE.items() if part in text), f"the database said: {text[:200]}")
        elif code:
            message = error.orig.args[0].get("M", code)  # type: ignore[attr-defined]
            reason = _POSTGRES.get(code, f"the database said: {str(message)[:200]}")
        else:
            reason = "the server was out of reach for {patience}."
        return StorageError(head + reason.replace("{patience}", patience))


def _connect(path: Path, timeout: float) -> sqlite3.Connection:
    """By its path, in which a URL would see a question mark as the end."""
    return sqlite3.connect(path, timeout=timeout, check_same_thread=False)


def _dial(dialect: Any, _record: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """Connect over a socket of our own: pg8000 leaves its own open where the server turns it away."""
    wire = socket.create_connection((options["host"], options.get("port") or 5432), options.get("timeout"))
    try:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return dialect.loaded_dbapi.Connection(*arguments, **options, sock=wire)
    except BaseException:
        wire.close()
        raise


def _begin(connection: Any) -> None:
    writes = connection.get_execution_options().get("likely_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _code(error: Exception) -> str:
    """The five letters of PostgreSQL, or ""."""
    arguments = getattr(getattr(error, "orig", None), "args", ())
    found = arguments[0].get("C", "") if arguments and isinstance(arguments[0], dict) else ""
    return str(found)


def _place(sa: Any, given: str | Path) -> tuple[Path | None, Any, str]:
    """(the file or None, the URL, how errors call it: never with a password)."""
    text = str(given)
    if not text or "\0" in text:
        raise OptionError("The place of a store is empty; give a file such as judgements.db or a PostgreSQL URL.")
    scheme, mark, rest = text.partition("://")
    if not mark or isinstance(given, Path):
        path = Path(text).absolute()
        return path, "sqlite://", repr(text)
    if scheme == "sqlite":
        if len(rest) < 2 or not rest.startswith("/"):
            raise OptionError("A SQLite URL is sqlite:///judgements.db (or sqlite:////from/the/root.db).")
        path = Path(rest[1:]).absolute()
        return path, "sqlite://", repr(text)
    if scheme not in ("postgresql", "postgres", "postgresql+pg8000"):
        raise OptionError(f"A store cannot be kept at {scheme[:40]}://...; give a file such as judgements.db, "
                          "sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/DATABASE.")  # fmt: skip
    try:
        url = sa.make_url(f"postgresql+pg8000://{rest}")
    except (sa.exc.ArgumentError, ValueError):
        url = None
    if url is None or not url.database or not url.host:
        raise OptionError("A PostgreSQL URL is postgresql://USER:PASSWORD@HOST:PORT/DATABASE (special characters of "
                          "the password as %XX); this one has another form.") from None  # fmt: skip
    return None, url, f"postgresql://{url.host}{f':{url.port}' if url.port else ''}/{url.database}"


def _check_file(path: Path) -> None:
    """Raise StorageError for a file that SQLite would not know, or that is shorter than it says."""
    if not path.is_file():
        raise StorageError(f"{str(path)!r} is no file: give the path of a file such as judgements.db.")
    log = path.with_name(path.name + "-wal")
    with path.open("rb") as file:
        head = file.read(100)
    if not head.startswith(MAGIC):
        what = "is empty" if not head else "is no SQLite database"
        raise StorageError(f"{str(path)!r} {what}; it was not touched. Give another path, or remove it to begin anew.")
    size = path.stat().st_size
    page = struct.unpack(">H", head[16:18])[0] if len(head) == 100 else 0
    page = 65536 if page == 1 else page
    changed, pages, valid = (struct.unpack(">I", head[k : k + 4])[0] if page else 0 for k in (24, 28, 92))
    # With a write-ahead log beside it the file may be repaired from that; SQLite decides.
    if not page or (changed == valid and size < pages * page and not (log.exists() and log.stat().st_size)):
        raise StorageError(
            f"{str(path)!r} is cut off: {size} bytes of {pages * page}. It was not touched: restore a copy."
        )
