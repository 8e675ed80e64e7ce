"""The sessions on a test's database, seen from the server: to wait for a state, and act when it is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.fix_postgres import Database

OTHERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def until(condition: Callable[[], object], patience: float = 10.0) -> float:
    """Wait until something is so.

    :param patience: the seconds after which the test fails
    :return: the seconds it took
    """
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < patience, f"it is not so after {patience} s"
        time.sleep(0.02)
    return time.monotonic() - started


def until_it_sleeps(database: Database) -> None:
    """Wait until the server is within ``pg_sleep``: a statement that was sent may not run yet."""
    until(lambda: database.query(OTHERS + " AND wait_event = 'PgSleep'"))


def until_alone(database: Database, patience: float = 10.0) -> float:
    """Wait until no other session is left on the database.

    :return: the seconds it took
    """
    return until(lambda: not database.query(OTHERS), patience)


@contextmanager
def once_it_sleeps(database: Database, act: Callable[[], object]) -> Iterator[None]:
    """Act from another thread as soon as the server is within ``pg_sleep``, which the block is to call.

    What the other thread raises is raised at the block's end.
    """

    def wait_and_act() -> None:
        until_it_sleeps(database)
        act()

    with ThreadPoolExecutor(1) as other:
        acted = other.submit(wait_and_act)
        yield
        acted.result()
