"""LOAD DATA LOCAL out of a stream: the way in that the table ends are built on."""

from __future__ import annotations

import io
import signal
from typing import Any

import pytest

from tests.fix_mysql import MySqlDatabase, mysql_child
from tests.mysql.test_hook_interrupts import gone_after
from tradewind.hooks.errors import AccessDenied, InvalidArgument, NotFound
from tradewind.mysql.hooks import MySqlHook

pytestmark = pytest.mark.anywhere

LOAD = "LOAD DATA LOCAL INFILE 'stream' INTO TABLE t FIELDS TERMINATED BY ','"
STALLS = f"""
class Stalled:
    def read(self, size):
        if self.data:
            self.data -= 1
            return b"1,x\\n" * 4000
        print("ready", flush=True)
        time.sleep(600)
stream = Stalled()
stream.data = 20
with hook.session(autocommit=AUTOCOMMIT) as session:
    session.load({LOAD!r}, stream)
"""


@pytest.fixture
def table(mysql_database: MySqlDatabase) -> MySqlDatabase:
    mysql_database.query("CREATE TABLE t (a int PRIMARY KEY, b varchar(5)) ENGINE=InnoDB")
    return mysql_database


def test_a_stream_is_loaded(table: MySqlDatabase, tmp_path: Any) -> None:
    data = "".join(f"{number},é{number % 1000}\n" for number in range(50_000)).encode()
    with MySqlHook(table.conn_id).session() as session:
        assert session.load(LOAD, io.BytesIO(data)) == 50_000
        assert session.warnings == 0
        assert session.load(LOAD, io.BytesIO(b"")) == 0
        # The stream is for one statement: the next one may have a file, and only where that is allowed.
        with pytest.raises(AccessDenied, match="and local_infile is off"):
            session.execute(LOAD)
    assert table.query("SELECT COUNT(*), SUM(a) FROM t") == [(50_000, sum(range(50_000)))]


def test_a_stream_goes_to_the_server_whatever_file_it_asks_for(table: MySqlDatabase) -> None:
    with MySqlHook(table.conn_id, local_infile=True).session() as session:
        assert session.load(LOAD.replace("stream", "/etc/passwd"), io.BytesIO(b"1,ours\n")) == 1
    assert table.query("SELECT * FROM t") == [(1, "ours")]


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_stream_that_breaks_leaves_no_row(table: MySqlDatabase, autocommit: bool) -> None:
    class Breaks:
        left = 10

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            if not self.left:
                raise OSError("the source broke")
            return b"".join(b"%d,x\n" % (self.left * 2000 + number) for number in range(1000))

    def load() -> None:
        with MySqlHook(table.conn_id).session(autocommit=autocommit) as session:
            session.load(LOAD, Breaks())

    with pytest.raises(OSError, match="the source broke"):
        load()
    gone_after(table, 5.0)
    assert table.query("SELECT COUNT(*) FROM t") == [(0,)]


def test_what_does_not_fit_is_counted(table: MySqlDatabase) -> None:
    """With LOCAL the server warns where it would otherwise fail, and goes on."""
    with MySqlHook(table.conn_id).session() as session:
        assert session.load(LOAD, io.BytesIO(b"1,ok\nx,ok\n2,toolong\n3\n1,again\n")) == 4
        assert session.warnings == 4
        notices = session.take_notices()
    assert [notice.rpartition("[")[2] for notice in notices] == ["1366]", "1265]", "1261]", "1062]"]


def test_a_statement_that_fails_takes_no_stream(table: MySqlDatabase) -> None:
    class Unread:
        def read(self, size: int = -1) -> bytes:
            pytest.fail("it was read")

    with MySqlHook(table.conn_id).session() as session:
        with pytest.raises(NotFound, match="no_such_table"):
            session.load(LOAD.replace("TABLE t", "TABLE no_such_table"), Unread())
        with pytest.raises(InvalidArgument, match="syntax error"):
            session.load("LOAD DATA LOCAL", Unread())
        assert session.query("SELECT 1") == [(1,)]
    assert session.conn.infile is None


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_load_leaves_no_row(table: MySqlDatabase, number: int, autocommit: bool) -> None:
    """A server that waits for data takes no KILL QUERY: its connection is cut."""
    with mysql_child(table, STALLS.replace("AUTOCOMMIT", str(autocommit))) as child:
        child.send_signal(number)
        gone_after(table, 8.0)
    assert table.query("SELECT COUNT(*) FROM t") == [(0,)]
