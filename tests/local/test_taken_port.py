"""A port that another program has is named, whichever server is to have it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tradewind.local.errors import StartFailed
from tradewind.local.postgres import PostgresServer
from tradewind.local.s3 import S3Server


@pytest.mark.parametrize("server", [PostgresServer, S3Server])
def test_a_taken_port_is_named(server: type[PostgresServer] | type[S3Server], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(StartFailed, match=f"port {port} is in use"):
            server(tmp_path, port).start()
