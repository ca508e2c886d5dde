"""The store in PostgreSQL: the cases of both databases, and what can happen to a server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest

from likely.errors import StorageError
from likely.server.store import Store
from tests.align.judged import item, say
from tests.server.crowd import crowd
from tests.server.postgres import PASSWORD, QUOTED, Postgres, binaries, serve
from tests.server.store_cases import Cases

Q = item("q", "abc")
NUMBER = count()


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    programs = binaries()
    if programs is None:
        said = "no PostgreSQL server (initdb) on this machine: apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    with serve(programs) as running:
        yield running


@pytest.fixture
def place(server: Postgres) -> str:
    return server.database(f"d{next(NUMBER)}")


class TestPostgres(Cases):
    pass


def name_of(place: str) -> str:
    return place.rpartition("/")[2]


def test_a_commit_is_on_the_disk_even_where_the_database_would_not_wait(server: Postgres, place: str) -> None:
    server.ask(f"ALTER DATABASE {name_of(place)} SET synchronous_commit TO off")
    with Store(place) as store:

        def ask(connection):  # type: ignore[no-untyped-def]
            return connection.exec_driver_sql("SHOW synchronous_commit").scalar()

        assert store._database.read(ask, "a setting") == "on"


def test_tables_that_have_to_be_there_are_not_made(server: Postgres, place: str) -> None:
    with pytest.raises(StorageError, match=r"holds no judgements .*: nothing was changed. Give another one"):
        Store(place, make=False)
    with Store(place) as store:
        store.add_item(Q)
    with Store(place, make=False) as store:
        assert len(store.items()) == 1


def test_the_password_is_never_shown(server: Postgres, place: str) -> None:
    with Store(place) as store:
        assert str(store) == f"Store(postgresql://127.0.0.1:{server.port}/{name_of(place)})"
        shown = [repr(store), repr(store._database)]
    for wrong, words in [
        (server.url("nowhere"), "no database of that name"),
        (place.replace(QUOTED, "not-it"), "user or password is wrong"),
        (place.replace(str(server.port), "1"), "out of reach for 0.2 seconds"),
    ]:
        with pytest.raises(StorageError, match=words) as caught:
            Store(wrong, patience=0.2)
        error: BaseException | None = caught.value
        shown.append(str(error))
        assert error is not None
        assert error.__suppress_context__
    for text in shown:
        for secret in (PASSWORD, QUOTED, "not-it", "likely:"):
            assert secret not in text


def test_other_tables_are_left_alone_and_a_newer_version_is_said(server: Postgres, place: str) -> None:
    server.ask("CREATE TABLE songs (name TEXT)", name_of(place))
    with Store(place) as store:
        store.add_item(Q)
    server.ask("UPDATE likely_store SET version = 7", name_of(place))
    with pytest.raises(StorageError, match="version 7"):
        Store(place)
    server.ask("DROP TABLE likely_comparison", name_of(place))
    with pytest.raises(StorageError, match="lacks tables"):
        Store(place)
    assert server.ask("SELECT count(*) FROM songs", name_of(place)) == [[0]]


def test_many_may_make_the_tables_at_once(place: str) -> None:
    assert crowd(place, 6) == []
    with Store(place) as store:
        assert store.counts()["comparisons"] == 6


def test_connections_that_the_server_ends_are_made_again(server: Postgres, place: str) -> None:
    with Store(place) as store:
        store.add_item(Q)
        for _ in range(3):
            server.ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name", name=name_of(place)
            )
            store.add(say(Q, "left"))
        assert store.counts()["comparisons"] == 3


def test_a_database_dropped_meanwhile_is_said(server: Postgres, place: str) -> None:
    with Store(place, patience=1) as store:
        store.add_item(Q)
        server.ask("DROP TABLE likely_comparison", name_of(place))
        with pytest.raises(StorageError, match=r"Not stored: judgement.*tables are gone"):
            store.add(say(Q, "left"))
        server.ask(f"DROP DATABASE {name_of(place)} WITH (FORCE)")
        with pytest.raises(StorageError, match="no database of that name"):
            store.add(say(Q, "left"))


def test_a_lock_is_waited_for_then_said(server: Postgres, place: str) -> None:
    with Store(place, patience=0.5) as store, Store(place) as other:
        store.add_item(Q)

        def hold(connection):  # type: ignore[no-untyped-def]
            with pytest.raises(StorageError, match=r"Not stored: judgement.*locked for 0.5 seconds"):
                store.add(say(Q, "left"))
            assert store.counts()["comparisons"] == 0

        other._database.write(hold, "nothing")
        store.add(say(Q, "left"))
        assert store.counts()["comparisons"] == 1


def test_a_server_that_crashes_and_comes_back_loses_nothing(server: Postgres, place: str) -> None:
    acknowledged: list[str] = []
    errors: list[BaseException] = []
    over = threading.Event()
    with Store(place, patience=120) as store:
        store.add_item(Q)

        def work() -> None:
            try:
                while not over.is_set():
                    one = say(Q, "left")
                    store.add(one)
                    acknowledged.append(one.id)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 30 and not errors:
            time.sleep(0.01)
        server.stop("immediate")  # a crash: nothing is written on the way
        server.start()
        before = len(acknowledged)
        while len(acknowledged) < before + 30 and not errors:
            time.sleep(0.01)
        over.set()
        for thread in threads:
            thread.join()
        assert errors == []
        stored = [one.id for one in store.judgements().comparisons]
    assert sorted(stored) == sorted(acknowledged)


def test_a_server_that_stays_away_is_said(server: Postgres, place: str) -> None:
    with Store(place, patience=0.5) as store:
        store.add_item(Q)
        server.stop("immediate")
        try:
            with pytest.raises(StorageError, match=r"Not known to be stored: judgement 'x'.*out of reach"):
                store.add(say(Q, "left", id="x"))
        finally:
            server.start()
        store.add(say(Q, "left", id="x"))
        assert store.counts()["comparisons"] == 1
