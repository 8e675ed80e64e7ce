"""What the server's errors become: each provoked on a real server where it can be."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest

from tests.fix_mysql import MySqlDatabase
from tradewind.hooks.errors import (
    AccessDenied,
    ConnectionFailed,
    DataError,
    InvalidArgument,
    NotFound,
    PermanentError,
    Throttled,
    TimedOut,
    TradewindError,
    TransientError,
)
from tradewind.mysql.errors import _BY_NUMBER, QueryCancelled, SerializationFailed, classify
from tradewind.mysql.hooks import MySqlHook

SCHEMA = (
    "CREATE TABLE t (a int PRIMARY KEY, b varchar(3) NOT NULL, c tinyint UNSIGNED, d date, "
    "e decimal(4,2), f enum('x','y'), CHECK (c < 100)) ENGINE=InnoDB;"
    "CREATE TABLE child (a int, FOREIGN KEY (a) REFERENCES t (a)) ENGINE=InnoDB;"
    "INSERT INTO t VALUES (1, 'one', 1, NULL, NULL, NULL);"
    "INSERT INTO child VALUES (1)"
)

pytestmark = pytest.mark.anywhere


@pytest.mark.parametrize(
    ("sql", "number", "kind", "message"),
    [
        ("SELECT * FROM no_such_table", 1146, NotFound, "no_such_table"),
        ("SELECT numbr FROM t", 1054, NotFound, "Unknown column 'numbr'"),
        ("SELECT no_such_function()", 1305, NotFound, "no_such_function"),
        ("CALL no_such_procedure()", 1305, NotFound, "no_such_procedure"),
        ("USE no_such_database", 1049, NotFound, "no_such_database"),
        ("DROP TABLE no_such_table", 1051, NotFound, "no_such_table"),
        ("DROP DATABASE no_such_database", 1008, NotFound, "no_such_database"),
        ("ALTER TABLE t DROP COLUMN z", 1091, NotFound, "z"),
        ("SELEC 1", 1064, InvalidArgument, "syntax error near SELEC 1, in line 1"),
        ("SELECT (", 1064, InvalidArgument, "syntax error near the end"),
        ("SELECT 1 FROM t t1, t t2 WHERE a = 1", 1052, InvalidArgument, "ambiguous"),
        ("INSERT INTO t (a, b) VALUES (1)", 1136, InvalidArgument, "Column count"),
        ("CREATE TABLE t (a int)", 1050, InvalidArgument, "already exists"),
        ("CREATE TABLE u (a int, a int)", 1060, InvalidArgument, "Duplicate column"),
        ("SET GLOBAL no_such_variable = 1", 1193, InvalidArgument, "no_such_variable"),
        ("INSERT INTO t VALUES (1, 'two', 1, NULL, NULL, NULL)", 1062, DataError, "Duplicate entry '1'"),
        ("INSERT INTO t VALUES (2, NULL, 1, NULL, NULL, NULL)", 1048, DataError, "cannot be null"),
        ("INSERT INTO t (a) VALUES (2)", 1364, DataError, "doesn't have a default value"),
        ("INSERT INTO t VALUES (2, 'toolong', 1, NULL, NULL, NULL)", 1406, DataError, "too long for column 'b'"),
        ("INSERT INTO t VALUES (2, 'b', 256, NULL, NULL, NULL)", 1264, DataError, "Out of range"),
        ("INSERT INTO t VALUES (2, 'b', -1, NULL, NULL, NULL)", 1264, DataError, "Out of range"),
        ("INSERT INTO t VALUES ('x', 'b', 1, NULL, NULL, NULL)", 1366, DataError, "Incorrect integer value: 'x'"),
        ("INSERT INTO t VALUES (2, 'b', 1, '2013-02-30', NULL, NULL)", 1292, DataError, "2013-02-30"),
        ("INSERT INTO t VALUES (2, 'b', 1, 'soon', NULL, NULL)", 1292, DataError, "soon"),
        ("INSERT INTO t VALUES (2, 'b', 1, NULL, 123.45, NULL)", 1264, DataError, "Out of range"),
        ("INSERT INTO t VALUES (2, 'b', 1, NULL, NULL, 'z')", 1265, DataError, "truncated for column 'f'"),
        ("INSERT INTO t VALUES (2, 'b', 101, NULL, NULL, NULL)", (3819, 4025), DataError, "(?i)constraint"),
        ("INSERT INTO t SELECT 2, 'b', 1 / 0, NULL, NULL, NULL", 1365, DataError, "Division by 0"),
        ("INSERT INTO child VALUES (9)", 1452, DataError, "foreign key constraint fails"),
        ("DELETE FROM t", 1451, DataError, "foreign key constraint fails"),
        ("SELECT (SELECT 1 UNION SELECT 2)", 1242, DataError, "more than 1 row"),
        ("SELECT 9223372036854775807 + 1", 1690, DataError, "out of range"),
        ("LOAD DATA LOCAL INFILE '/x' INTO TABLE t", (1148, 3948, 4166, 2000), TradewindError, "local_infile"),
        ("KILL QUERY 4294967295", 1094, TradewindError, "Unknown thread id"),
        ("KILL CONNECTION_ID()", (1317, 1927, 2013), TransientError, "(?i)interrupted|killed|lost"),
    ],
)
def test_what_a_statement_fails_with(
    mysql_database: MySqlDatabase, sql: str, number: Any, kind: type[TradewindError], message: str
) -> None:
    mysql_database.query(SCHEMA)
    with pytest.raises(kind, match=message) as failure:
        MySqlHook(mysql_database.conn_id).run(sql)
    told = str(failure.value)
    assert told.startswith(f"mysql connection {mysql_database.conn_id}: ")
    assert any(f"[{one}]" in told for one in (number if isinstance(number, tuple) else (number,)))
    assert str(pickle.loads(pickle.dumps(failure.value))) == told
    assert "\n" not in told
    assert not told.endswith(".")


def test_a_data_error_has_its_column_row_and_value(mysql_database: MySqlDatabase) -> None:
    mysql_database.query(SCHEMA)
    with pytest.raises(DataError) as failure:
        MySqlHook(mysql_database.conn_id).run("INSERT INTO t (a, b) VALUES (2, 'b'), ('x', 'b')")
    assert (failure.value.line, failure.value.column, failure.value.value) == (2, "a", "x")


def test_an_exception_of_the_users_own_is_retried_as_the_task_says(mysql_database: MySqlDatabase) -> None:
    hook = MySqlHook(mysql_database.conn_id)
    hook.run("CREATE PROCEDURE p() SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no rows yet'")
    with pytest.raises(TradewindError, match="no rows yet") as failure:
        hook.run("CALL p()")
    assert not isinstance(failure.value, TransientError | PermanentError)


def test_a_deadlock(mysql_database: MySqlDatabase) -> None:
    mysql_database.query("CREATE TABLE t (a int PRIMARY KEY, b int) ENGINE=InnoDB; INSERT INTO t VALUES (1, 0), (2, 0)")
    hook = MySqlHook(mysql_database.conn_id, lock_timeout=20)
    errors: list[BaseException] = []
    both = threading.Barrier(2)

    def update(first: int, second: int) -> None:
        try:
            with hook.session() as session:
                session.execute("UPDATE t SET b = b + 1 WHERE a = %s", [first])
                both.wait(20)
                session.execute("UPDATE t SET b = b + 1 WHERE a = %s", [second])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=update, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error) for error in errors] == [SerializationFailed]
    assert isinstance(errors[0], TransientError)
    assert mysql_database.query("SELECT SUM(b) FROM t") == [(2,)]  # the other one's


def test_rights_that_are_missing(mysql_database: MySqlDatabase, connection: Any) -> None:
    mysql_database.query(SCHEMA)
    address, user = mysql_database.address, f"r_{mysql_database.name}"
    address.query(f"CREATE USER {user} IDENTIFIED BY %s", (address.password,))
    address.query(f"GRANT SELECT ON {mysql_database.name}.child TO {user}")
    connection("reader", {**mysql_database.connection(), "login": user})
    hook = MySqlHook("reader")
    try:
        assert hook.get_first("SELECT * FROM child") == (1,)
        refused = [
            "SELECT * FROM t",
            "INSERT INTO child VALUES (1)",
            "CREATE TABLE u (a int)",
            "SET GLOBAL wait_timeout=9",
        ]
        for sql in refused:
            with pytest.raises(AccessDenied, match=r"denied|privilege"):
                hook.run(sql)
        connection("reader", {**mysql_database.connection(), "login": user, "schema": "mysql"})
        with pytest.raises(AccessDenied, match="Access denied"):
            MySqlHook("reader").get_conn()
    finally:
        address.query(f"DROP USER {user}")


def test_no_connection_left(mysql_database: MySqlDatabase, connection: Any) -> None:
    address, user = mysql_database.address, f"c_{mysql_database.name}"
    address.query(f"CREATE USER {user} IDENTIFIED BY %s WITH MAX_USER_CONNECTIONS 1", (address.password,))
    connection("few", {**mysql_database.connection(), "login": user, "schema": None})
    try:
        with MySqlHook("few").session():
            with pytest.raises(Throttled, match=r"max_user_connections"):
                MySqlHook("few").get_conn()
    finally:
        address.query(f"DROP USER {user}")


def test_a_server_that_became_a_reader(mysql_database: MySqlDatabase, connection: Any) -> None:
    """After a failover the next connect finds the new writer."""
    address, user = mysql_database.address, f"w_{mysql_database.name}"
    mysql_database.query("CREATE TABLE t (a int)")
    address.query(f"CREATE USER {user} IDENTIFIED BY %s", (address.password,))
    address.query(f"GRANT ALL ON {mysql_database.name}.* TO {user}")
    connection("writer", {**mysql_database.connection(), "login": user})
    address.query("SET GLOBAL read_only = 1")
    try:
        with pytest.raises(ConnectionFailed, match=r"read.only"):
            MySqlHook("writer").run("INSERT INTO t VALUES (1)")
    finally:
        address.query("SET GLOBAL read_only = 0")
        address.query(f"DROP USER {user}")


@pytest.mark.parametrize(
    ("parameters", "sql", "message"),
    [
        ((1,), "SELECT %s, %s", "sql and parameters do not fit: not enough arguments"),
        ((1, 2), "SELECT %s", "sql and parameters do not fit: not all arguments"),
        ({"a": 1}, "SELECT %(b)s", "sql names the parameter 'b', which parameters does not have"),
        ({"a": 1}, "SELECT %s, %(a)s, %s %", "sql and parameters do not fit|a plain percent sign is written %%"),
        ((1,), "SELECT %s LIKE '%'", "a plain percent sign is written %%"),
        ((object(),), "SELECT %s", "cannot write a value of type object"),
        ((float("inf"),), "SELECT %s", "MySQL has no such number"),
    ],
)
def test_parameters_that_do_not_fit(mysql_database: MySqlDatabase, parameters: Any, sql: str, message: str) -> None:
    with pytest.raises((InvalidArgument, DataError), match=message):
        MySqlHook(mysql_database.conn_id).run(sql, parameters=parameters)


@pytest.mark.parametrize(
    ("number", "text", "kind"),
    [
        (1040, "Too many connections", Throttled),
        (1053, "Server shutdown in progress", ConnectionFailed),
        (1129, "Host 'x' is blocked", AccessDenied),
        (1290, "The MySQL server is running with the --secure-file-priv option", InvalidArgument),
        (1290, "The MySQL server is running with the --super-read-only option", ConnectionFailed),
        (1317, "Query execution was interrupted", QueryCancelled),
        (1836, "Running in read-only mode", ConnectionFailed),
        (1927, "Connection was killed", ConnectionFailed),
        (1969, "Query execution was interrupted (max_statement_time exceeded)", TimedOut),
        (3024, "Query execution was interrupted, maximum statement execution time exceeded", TimedOut),
        (3118, "Account is locked", AccessDenied),
        (3159, "Connections using insecure transport are prohibited", AccessDenied),
        (3572, "Statement aborted because lock(s) could not be acquired immediately and NOWAIT is set", TimedOut),
        (3819, "Check constraint 'c' is violated", DataError),
        (3948, "Loading local data is disabled", InvalidArgument),
        (2006, "MySQL server has gone away", ConnectionFailed),
        (2013, "Lost connection to MySQL server during query", ConnectionFailed),
        (2013, "Lost connection to MySQL server during query (timed out)", TimedOut),
        (2999, "a client's error of tomorrow", ConnectionFailed),
        (9999, "a server's error of tomorrow", TradewindError),
    ],
)
def test_errors_that_a_test_cannot_provoke(number: int, text: str, kind: type[TradewindError]) -> None:
    import pymysql

    made = classify(pymysql.err.OperationalError(number, text), "mysql connection x")
    assert type(made) is kind
    assert str(made).startswith(f"mysql connection x: {text} [{number}]")


def test_every_number_is_of_a_known_range() -> None:
    assert all(1000 <= number < 5000 for number in _BY_NUMBER)
    assert {kind for number, kind in _BY_NUMBER.items() if 2000 <= number < 3000} <= {
        ConnectionFailed,
        AccessDenied,
        InvalidArgument,
    }
