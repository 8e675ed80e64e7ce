"""The sessions of a reading: what looked at the catalog reads the rows, unless it waited too long or failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tradewind.operators.tables.unloads import Sessions

pytestmark = pytest.mark.anywhere


class Session:
    """A session that remembers what was done with it."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def rollback(self) -> None:
        self.did.append("rollback")


class Server:
    """What is connected to."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []

    @contextlib.contextmanager
    def connect(self) -> Iterator[Session]:
        session = Session()
        self.sessions.append(session)
        try:
            yield session
        finally:
            session.did.append("close")

    @property
    def did(self) -> list[list[str]]:
        return [session.did for session in self.sessions]


def test_what_looked_reads_too() -> None:
    server = Server()
    with contextlib.closing(Sessions(server.connect, keeps=60)) as sessions:
        with sessions.short() as first, sessions.short() as other:
            assert first is not other
        with sessions.short() as second:
            pass
        stack, third = sessions.take()
        assert third is second
        assert server.did.count(["rollback", "close"]) == 1  # one of two at once is kept
        stack.close()

    assert "close" in third.did


def test_what_is_kept_ends_with_the_reading() -> None:
    server = Server()
    with contextlib.closing(Sessions(server.connect, keeps=60)) as sessions, sessions.short():
        pass

    assert server.did == [["rollback", "close"]]


@pytest.mark.parametrize("keeps", [0.0, -1.0])  # not at all; over as soon as it is kept
def test_what_waited_too_long_is_left(keeps: float) -> None:
    server = Server()
    with contextlib.closing(Sessions(server.connect, keeps)) as sessions:
        with sessions.short():
            pass
        stack, session = sessions.take()
        stack.close()

    assert server.did == [["rollback", "close"], ["close"]]
    assert session is server.sessions[1]


def test_what_failed_is_not_kept() -> None:
    server = Server()
    with contextlib.closing(Sessions(server.connect, keeps=60)) as sessions:
        with pytest.raises(ZeroDivisionError), sessions.short():
            raise ZeroDivisionError

        assert server.did == [["close"]]
