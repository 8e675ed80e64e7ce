"""What asks Airflow's REST API bears a web server that is just replaced."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from tradewind.local.api import Api
from tradewind.local.errors import LocalError

ANSWERS: list[str | None] = []


@pytest.fixture
def web() -> Iterator[str]:
    """Serve one answer after the other, None by hanging up; the last one again and again."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    channel, _ = server.accept()
                except OSError:
                    return
                with channel:
                    channel.recv(65536)
                    state = ANSWERS.pop(0) if len(ANSWERS) > 1 else ANSWERS[0]
                    if state is not None:
                        body = json.dumps({"state": state})
                        channel.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_run_is_waited_for_though_the_server_hangs_up(web: str) -> None:
    ANSWERS[:] = ["running", None, None, "running", "success"]
    assert Api(web, 2, "a", "b").wait_run("dag", "run", timeout=30, interval=0.01) == "success"


def test_a_server_that_never_answers_is_told(web: str) -> None:
    ANSWERS[:] = [None]
    with pytest.raises(LocalError, match="run run of dag is not known"):
        Api(web, 2, "a", "b").wait_run("dag", "run", timeout=0.1, interval=0.01)
