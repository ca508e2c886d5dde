"""The store in SQLite: the cases of both databases, and what can happen to a file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from likely.errors import MissingExtra, OptionError, StorageError
from likely.server.store import Store
from tests.align.judged import item, say
from tests.server.crowd import crowd
from tests.server.store_cases import Cases

Q = item("q", "abc")


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "judgements.db")


class TestSqlite(Cases):
    pass


def filled(place: str, n: int = 1) -> str:
    """A closed store with judgements."""
    with Store(place) as store:
        store.add_item(Q)
        store.add_all([say(Q, "left", reason="x" * 100) for _ in range(n)])
    return place


def test_every_commit_is_synced_and_logged_ahead(place: str) -> None:
    with Store(place) as store:

        def pragmas(connection):  # type: ignore[no-untyped-def]
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]

        assert store._database.read(pragmas, "pragmas") == ["wal", 2]
    assert os.listdir(Path(place).parent) == ["judgements.db"]  # nothing is left beside it


def test_places_by_path_and_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    filled("a b?c=d.db")
    for place in (Path("a b?c=d.db"), f"sqlite:///{tmp_path}/a b?c=d.db", "sqlite:///a b?c=d.db"):
        with Store(place) as store:
            assert store.counts()["comparisons"] == 1
    assert "a b?c=d.db" in repr(store)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("", "empty"),
        ("mysql://me:secret@host/db", "cannot be kept at mysql://"),
        ("postgresql://me:secret@host", "has another form"),
        ("postgresql://me:secret@host:port/db", "has another form"),
        ("sqlite://x.db", "sqlite:///judgements.db"),
    ],
)
def test_places_that_are_none(place: str, words: str) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        Store(place)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_store_that_has_to_be_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("typo.db", Path("typo.db"), "sqlite:///typo.db", f"sqlite:///{tmp_path}/typo.db"):
        with pytest.raises(StorageError, match=r"There is no database '.*typo.db': no file '/.*typo.db'"):
            Store(place, make=False)
    assert os.listdir(tmp_path) == []
    filled("there.db")
    with Store("sqlite:///there.db", make=False) as store:
        assert len(store.judgements()) == 1


def test_a_file_that_is_no_database_is_not_touched(tmp_path: Path) -> None:
    for content, words in [(b"dear diary", "is no SQLite database"), (b"", "is empty"),
                           (b"SQLite format 3\0 and then not", "cut off")]:  # fmt: skip
        path = tmp_path / "diary.db"
        path.write_bytes(content)
        with pytest.raises(StorageError, match=words):
            Store(path)
        assert path.read_bytes() == content
        assert os.listdir(tmp_path) == ["diary.db"]


def test_a_database_of_something_else_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE songs (name TEXT)")
    other.close()
    with pytest.raises(StorageError, match="holds no judgements"):
        Store(path)
    with sqlite3.connect(path) as other:
        assert [name for (name,) in other.execute("SELECT name FROM sqlite_master")] == ["songs"]
    other.close()


def test_a_newer_version_and_missing_tables_are_said(place: str) -> None:
    filled(place)
    with sqlite3.connect(place) as other:
        other.execute("UPDATE likely_store SET version = 7")
    other.close()
    with pytest.raises(StorageError, match=r"version 7.*pip install -U"):
        Store(place)
    with sqlite3.connect(place) as other:
        other.execute("DROP TABLE likely_comparison")
    other.close()
    with pytest.raises(StorageError, match=r"lacks tables .no table likely_comparison"):
        Store(place)


def test_a_cut_or_damaged_file_is_said_and_not_overwritten(place: str) -> None:
    whole = Path(filled(place, 500)).read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:50], whole[:100]):
        Path(place).write_bytes(damaged)
        with pytest.raises(StorageError, match="cut off"):
            Store(place)
        assert Path(place).read_bytes() == damaged
    noise = whole[:4096] + os.urandom(len(whole) - 4096)
    Path(place).write_bytes(noise)
    with pytest.raises(StorageError, match="damaged"), Store(place) as store:
        store.judgements()
    assert Path(place).read_bytes() == noise


def test_no_folder_or_one_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No folder"):
        Store(tmp_path / "no" / "judgements.db")
    with pytest.raises(StorageError, match="is no file"):
        Store(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"No folder|Not a directory"):
        Store(tmp_path / "file" / "judgements.db")
    with pytest.raises(StorageError, match=r"cannot be opened or written|No such file"):
        Store("/proc/judgements.db")


READ_ONLY = """
import os, sys
from likely.errors import StorageError
from likely.server.store import Store
from tests.align.judged import item, say
import sqlalchemy.dialects.sqlite
if os.geteuid() == 0:  # root may write anything
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    Store(sys.argv[1], patience=1).add(say(item("q", "abc"), "left"))
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize("folder", [0o555, 0o777])
def test_a_file_that_may_only_be_read(folder: int) -> None:
    place = Path(tempfile.mkdtemp()) / "judgements.db"
    try:
        filled(str(place))
        place.chmod(0o444)
        place.parent.chmod(folder)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(place)], capture_output=True, text=True, check=False
        )
        assert "written" in done.stdout, done.stdout + done.stderr
        assert str(place) in done.stdout
    finally:
        place.parent.chmod(0o755)
        shutil.rmtree(place.parent)


def test_a_locked_database_is_waited_for_then_said(place: str) -> None:
    filled(place)
    other = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    one = say(Q, "left", id="late")
    with Store(place, patience=0.3) as store:
        with pytest.raises(StorageError, match=r"Not stored: judgement 'late'.*locked for 0.3 seconds"):
            store.add(one)
        assert store.counts()["comparisons"] == 1  # readers are not kept out
    with Store(place, patience=20) as store:
        free = threading.Timer(0.5, lambda: other.execute("COMMIT"))
        free.start()
        store.add(one)
        free.join()
        assert store.counts()["comparisons"] == 2
    other.close()


def test_a_full_disk_is_said_and_loses_nothing(place: str) -> None:
    with Store(filled(place)) as store:
        sa = store._sa

        def limit(connection, _record, _proxy):  # type: ignore[no-untyped-def]
            connection.execute("PRAGMA max_page_count = 60")  # what SQLite itself calls a full disk

        sa.event.listen(store._database.engine, "checkout", limit)
        stored = 1

        def fill() -> None:
            nonlocal stored
            while True:
                store.add(say(Q, "left", reason="y" * 20_000))
                stored += 1

        with pytest.raises(StorageError, match=r"Not stored: judgement.*the disk is full"):
            fill()
        assert 1 < stored < 20
        assert store.counts()["comparisons"] == stored
    with Store(place) as store:
        assert store.counts()["comparisons"] == stored
        store.add(say(Q, "left", reason="y" * 20_000))


def test_a_file_removed_or_replaced_meanwhile_takes_no_more(place: str) -> None:
    with Store(filled(place)) as store:
        shutil.copy(place, place + ".copy")
        os.remove(place)
        with pytest.raises(StorageError, match="removed or replaced"):
            store.add(say(Q, "left"))
        shutil.copy(place + ".copy", place)
        with pytest.raises(StorageError, match="removed or replaced"):
            store.add(say(Q, "left"))


def test_tables_dropped_meanwhile_are_said(place: str) -> None:
    with Store(filled(place)) as store:
        with sqlite3.connect(place) as other:
            other.execute("DROP TABLE likely_comparison")
        other.close()
        with pytest.raises(StorageError, match=r"Not stored: judgement.*its tables are gone"):
            store.add(say(Q, "left"))


def test_a_second_store_of_the_process_does_not_take_the_locks_of_the_first(place: str) -> None:
    """To read a file's head and close it would drop this process's POSIX locks on it: another could then remove the
    log under an open transaction."""
    filled(place)
    with Store(place) as store:

        def work(connection):  # type: ignore[no-untyped-def]
            before = locks(place)
            with Store(place) as second:
                second.counts()
            return before, locks(place)

        before, after = store._database.read(lambda c: (c.execute(store._sa.text("SELECT 1")), work(c))[1], "locks")
        assert before > 0
        assert after == before


def locks(place: str) -> int:
    """How many locks this process holds on the file."""
    inode = os.stat(place).st_ino
    with open("/proc/locks", encoding="ascii") as file:
        rows = [line.split() for line in file]
    return sum(row[5].endswith(f":{inode}") and int(row[4]) == os.getpid() for row in rows if row[1] == "POSIX")


def test_many_may_make_the_same_new_file_at_once(place: str) -> None:
    assert crowd(place, 8) == []
    with Store(place) as store:
        assert store.counts()["comparisons"] == 8


def test_a_forked_process_has_connections_of_its_own(place: str) -> None:
    with Store(filled(place)) as store:
        store.counts()
        program = (
            "import os, sys\nfrom likely.server.store import Store\nfrom tests.align.judged import item, say\n"
            f"store = Store({place!r}); store.counts(); child = os.fork()\n"
            "for _ in range(20): store.add(say(item('q', 'abc'), 'left'))\n"
            "if child == 0: os._exit(0)\n"
            "sys.exit(os.waitpid(child, 0)[1])"
        )
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
        assert store.counts()["comparisons"] == 41


def test_waiting_is_bounded(place: str) -> None:
    with pytest.raises(OptionError, match="patience"):
        Store(place, patience=-1)
    start = time.monotonic()
    with Store(filled(place), patience=0) as store:
        other = sqlite3.connect(place, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            store.add(say(Q, "left"))
        other.close()
    assert time.monotonic() - start < 60


def test_without_sqlalchemy_it_says_what_to_install(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises((MissingExtra, ModuleNotFoundError), match=r"likely\[store\]|sqlalchemy"):
        Store(place)
