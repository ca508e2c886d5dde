"""Many threads that open one store at once."""

from __future__ import annotations

import threading

from likely.server.store import Store
from tests.align.judged import item, say


def crowd(place: str, threads: int) -> list[BaseException]:
    """Each makes the tables if need be, and adds one judgement; what went wrong comes back."""
    errors: list[BaseException] = []
    asked = item("q", "abc")

    def make() -> None:
        try:
            with Store(place) as store:
                store.add_item(asked)
                store.add(say(asked, "left"))
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=make) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return errors
