"""A server that hangs up in the middle of a load is seen at once, though nothing can be sent to it any more."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tradewind.mysql.hanging_up import hanging_up_with

pytestmark = pytest.mark.anywhere


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Connect two sockets over TCP; the second one never reads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    with ours, theirs:
        yield ours, theirs


def test_a_send_that_waits_for_a_peer_that_hung_up_fails(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    failures: list[BaseException] = []

    def send() -> None:
        try:
            with hanging_up_with(ours):
                while True:
                    ours.sendall(bytes(1 << 20))
        except OSError as error:
            failures.append(error)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    sender.join(0.2)  # both buffers are full by then
    theirs.shutdown(socket.SHUT_RDWR)  # the socket stays: no reset is sent
    sender.join(20)

    assert [type(failure) for failure in failures] == [BrokenPipeError]


def test_a_socket_whose_peer_is_there_stays_open(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with hanging_up_with(ours):
        theirs.sendall(b"something to read")
    ours.sendall(b"an answer")

    assert theirs.recv(100) == b"an answer"
    assert ours.recv(100) == b"something to read"


def test_a_socket_that_is_closed_meanwhile_is_left_alone(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    with hanging_up_with(ours):
        ours.close()
