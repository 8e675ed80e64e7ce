"""SQL over the wire: connections as users have them, credentials of IAM, sessions, the operator."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.redshift.fix_standin import CLUSTER, Warehouse
from tradewind.amazon.redshift.column_types import Described
from tradewind.amazon.redshift.data import RedshiftDataHook
from tradewind.amazon.redshift.data import Warehouse as Place
from tradewind.amazon.redshift.hooks import RedshiftSQLHook
from tradewind.amazon.redshift.operators import RedshiftSQLOperator
from tradewind.amazon.redshift.sessions import Session, bound, data_session
from tradewind.hooks.errors import (
    AccessDenied,
    ConnectionFailed,
    InvalidArgument,
    NotFound,
    PermanentError,
    TransientError,
)
from tradewind.operators.types import ColumnType

Connect = Callable[..., str]


@pytest.fixture
def hook(warehouse: Warehouse) -> RedshiftSQLHook:
    return RedshiftSQLHook(warehouse.conn_id)


@pytest.fixture(params=["wire", "data api"])
def open_session(request: pytest.FixtureRequest, warehouse: Warehouse) -> Callable[[], Any]:
    """Return a function that opens a session, in each of the two ways."""
    if request.param == "wire":
        return lambda: RedshiftSQLHook(warehouse.conn_id).session()
    return lambda: data_session(RedshiftDataHook(), Place(**CLUSTER), "work")


def test_the_generic_sql_methods_work(hook: RedshiftSQLHook) -> None:
    assert hook.run(["CREATE TABLE t (id int)", "INSERT INTO t VALUES (1), (2)"]) is None
    assert hook.get_records("SELECT id FROM t WHERE id > %s", [1]) == [(2,)]
    assert hook.get_first("SELECT count(*) FROM t") == (2,)
    assert hook.test_connection() == (True, "connected to Redshift as tradewind, without TLS")


def test_a_session_commits_or_rolls_back_as_a_whole(open_session: Callable[[], Any], warehouse: Warehouse) -> None:
    with open_session() as session:
        session.execute("CREATE TABLE t (id int, name text)")
        assert session.execute("INSERT INTO t VALUES (%s, %s), (2, %s)", [1, "it's 100%", ""]) == 2
    assert warehouse.query("SELECT * FROM t ORDER BY id") == [(1, "it's 100%"), (2, "")]

    def fail() -> None:
        with open_session() as session:
            session.execute("DELETE FROM t")
            assert session.query("SELECT count(*) FROM t") == [(0,)]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert warehouse.query("SELECT count(*) FROM t") == [(2,)]

    with open_session() as session:
        session.execute("DELETE FROM t WHERE id = %s", [1])
        session.rollback()
        session.execute("UPDATE t SET name = %s WHERE name = '' OR name LIKE 'it%%'", [None])
    assert warehouse.query("SELECT * FROM t ORDER BY id") == [(1, None), (2, None)]


def test_both_ways_tell_the_same_columns_and_values(open_session: Callable[[], Any]) -> None:
    query = "SELECT 1::smallint AS a, 1.50::numeric(20,6) AS b, 'x'::varchar(9) AS c, "
    query += "timestamptz '2026-01-01 00:00+00' AS d"
    with open_session() as session:
        assert session.columns(query) == [
            Described("a", ColumnType("smallint")),
            Described("b", ColumnType("decimal", 20, 6)),
            Described("c", ColumnType("text")),
            Described("d", ColumnType("timestamptz")),
        ]
        assert session.query(query) == [(1, Decimal("1.500000"), "x", datetime(2026, 1, 1, tzinfo=UTC))]
        with pytest.raises(InvalidArgument, match="column 'v' is varbyte"):
            session.columns("SELECT '\\x00'::bytea AS v")


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT * FROM none", NotFound),
        ("SELEC 1", InvalidArgument),
        ("SELECT 1/0", PermanentError),
        ("COPY t FROM 's3://b/none/' IAM_ROLE default CSV", NotFound),
    ],
)
def test_errors_are_told_by_kind(open_session: Callable[[], Any], sql: str, kind: type[Exception]) -> None:
    with open_session() as session:
        session.execute("CREATE TEMPORARY TABLE t (id int)")
        with pytest.raises(kind):
            session.execute(sql)
        session.rollback()


def test_a_session_that_is_cancelled_stops_in_the_service(
    open_session: Callable[[], Any], warehouse: Warehouse
) -> None:
    def cancel(session: Session) -> None:
        while not warehouse.query(
            "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
        ):
            pass
        session.cancel()

    def sleep() -> None:
        with open_session() as session:
            threading.Thread(target=cancel, args=[session]).start()
            session.query("SELECT pg_sleep(60)")

    with pytest.raises(TransientError, match="cancel"):
        sleep()
    left = warehouse.query("SELECT query FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND state = 'active'")
    assert left == []


def test_a_lost_connection_is_worth_a_retry(hook: RedshiftSQLHook, warehouse: Warehouse) -> None:
    warehouse.server.fault = lambda sql, number: "before" if "SELECT 7" in sql else None
    with pytest.raises(ConnectionFailed), hook.session() as session:
        session.query("SELECT 7")


@pytest.mark.parametrize(
    ("statement", "values", "made"),
    [
        ("a = %s AND b = '10%'", None, ("a = %s AND b = '10%'", None)),
        ("a = %s AND b LIKE 'x%%'", [1], ("a = :p1 AND b LIKE 'x%'", {"p1": 1})),
        ("%s, %s, %s, %s", ["x", None, "", 2], (":p1, NULL, '', :p2", {"p1": "x", "p2": 2})),
    ],
)
def test_values_for_the_data_api(statement: str, values: Any, made: Any) -> None:
    assert bound(statement, values) == made


@pytest.mark.parametrize(("statement", "values"), [("%s", [1, 2]), ("%s, %s", [1])])
def test_values_that_do_not_match_their_marks_are_refused(statement: str, values: list[int]) -> None:
    with pytest.raises(InvalidArgument, match="than there are values"):
        bound(statement, values)


# credentials and options


class Moto:
    """Stands in moto's place for what it does not know: answers of the reference, and what was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def call(**given: Any) -> Any:
            self.asked.append((name, given))
            return self.answers[name]

        return call


@pytest.fixture
def iam(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Moto]:
    """Return a function that lets the services of credentials answer."""

    def answer(**answers: Any) -> Moto:
        client = Moto(**answers)
        monkeypatch.setattr("tradewind.amazon.hooks.AwsHook.client", lambda self, service=None: client)
        return client

    return answer


GIVEN = {"DbUser": "IAM:etl", "DbPassword": "secret-1"}


@pytest.mark.parametrize(
    ("login", "extra", "call"),
    [
        ("etl", {}, ("get_cluster_credentials", {"DbUser": "etl", "AutoCreate": False})),
        ("", {"db_user": "x", "db_groups": ["g"], "auto_create": True},
         ("get_cluster_credentials", {"DbUser": "x", "AutoCreate": True, "DbGroups": ["g"]})),
        ("etl", {"group_federation": True}, ("get_cluster_credentials_with_iam", {})),
        ("", {}, ("get_cluster_credentials_with_iam", {})),
    ],
)  # fmt: skip
def test_a_cluster_gives_credentials(
    connection: Connect, iam: Callable[..., Moto], login: str, extra: dict[str, Any], call: tuple[str, dict[str, Any]]
) -> None:
    client = iam(
        get_cluster_credentials=GIVEN,
        get_cluster_credentials_with_iam=GIVEN,
        describe_clusters={
            "Clusters": [{"Endpoint": {"Address": "sales.abc.eu-west-1.redshift.amazonaws.com", "Port": 5440}}]
        },
    )
    name, given = call
    conn_id = connection("rs", {"conn_type": "redshift", "login": login, "schema": "dev",
                                "extra": {"iam": True, "cluster_identifier": "sales", **extra}})  # fmt: skip
    hook = RedshiftSQLHook(conn_id)
    options = hook.with_credentials(hook.connect_options())
    assert client.asked[0] == (name, {"DbName": "dev", "ClusterIdentifier": "sales", **given})
    assert {key: options[key] for key in ("user", "password", "host", "port", "dbname", "sslmode")} == {
        "user": "IAM:etl", "password": "secret-1", "host": "sales.abc.eu-west-1.redshift.amazonaws.com", "port": 5440,
        "dbname": "dev", "sslmode": "require",
    }  # fmt: skip


def test_the_host_names_the_cluster(connection: Connect, iam: Callable[..., Moto]) -> None:
    client = iam(get_cluster_credentials=GIVEN)
    host = "sales.abc.eu-west-1.redshift.amazonaws.com"
    conn_id = connection(
        "rs", {"conn_type": "redshift", "login": "etl", "host": host, "extra": {"iam": True, "database": "dev"}}
    )
    hook = RedshiftSQLHook(conn_id)
    options = hook.with_credentials(hook.connect_options())
    assert client.asked[0][1]["ClusterIdentifier"] == "sales"
    assert (options["host"], options["port"]) == (host, 5439)


def test_a_workgroup_gives_credentials(connection: Connect, iam: Callable[..., Moto]) -> None:
    client = iam(
        get_credentials={"dbUser": "IAMR:etl", "dbPassword": "secret-2"},
        get_workgroup={
            "workgroup": {"endpoint": {"address": "wg.1.eu-west-1.redshift-serverless.amazonaws.com", "port": 5439}}
        },
    )
    extra = {
        "iam": True,
        "is_serverless": True,
        "serverless_work_group": "wg",
        "serverless_token_duration_seconds": 900,
    }
    hook = RedshiftSQLHook(connection("rs", {"conn_type": "redshift", "schema": "dev", "extra": extra}))
    options = hook.with_credentials(hook.connect_options())
    assert client.asked[0] == ("get_credentials", {"dbName": "dev", "workgroupName": "wg", "durationSeconds": 900})
    assert (options["user"], options["password"]) == ("IAMR:etl", "secret-2")
    assert options["host"].startswith("wg.1.")
    assert "secret-2" not in repr(hook.sqlalchemy_url)
    assert "secret-2" in hook.get_uri()


def test_moto_gives_credentials_of_a_cluster(
    connection: Connect, warehouse: Warehouse, s3_endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The real boto3 client asks a real server; the password it gets is no user's, and stays out of all messages."""
    aws = connection("aws_iam", {"conn_type": "aws", "login": "a", "password": "b",
                                 "extra": {"endpoint_url": s3_endpoint, "region_name": "us-east-1"}})  # fmt: skip
    from tradewind.amazon.redshift.clusters import RedshiftHook

    RedshiftHook(aws).client().create_cluster(
        ClusterIdentifier="sales",
        NodeType="ra3.large",
        MasterUsername="u",
        MasterUserPassword="Passw0rd1",
        DBName="dev",
    )
    base = warehouse.database
    extra = {"iam": True, "cluster_identifier": "sales", "db_user": "etl", "aws_conn_id": aws, "sslmode": "disable"}
    given = {
        "conn_type": "redshift",
        "host": "127.0.0.1",
        "port": warehouse.server.port,
        "schema": base.name,
        "extra": extra,
    }
    hook = RedshiftSQLHook(connection("rs", given))
    options = hook.with_credentials(hook.connect_options())
    assert options["user"] == "IAM:etl"
    assert options["password"]
    with caplog.at_level(logging.DEBUG), pytest.raises(AccessDenied) as caught:
        hook.get_conn()
    assert options["password"] not in caplog.text + str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"extra": {"iam": True}, "schema": "dev"}, "iam needs cluster_identifier"),
        ({"extra": {"iam": True, "cluster_identifier": "x"}}, "iam needs the database"),
        ({"extra": {"iam": True, "is_serverless": True}, "schema": "dev"}, "needs serverless_work_group"),
        ({"extra": {"clusteridentifier": "x"}}, "did you mean 'cluster_identifier'"),
        ({"extra": {"lock_timeout": 3}}, "unknown option 'lock_timeout'"),
    ],
)
def test_a_connection_that_cannot_work_is_refused(connection: Connect, given: dict[str, Any], message: str) -> None:
    hook = RedshiftSQLHook(connection("rs", {"conn_type": "redshift", **given}))
    with pytest.raises(InvalidArgument, match=message):
        hook.with_credentials(hook.connect_options())


def test_names_of_the_official_driver_are_understood(connection: Connect) -> None:
    extra = {"database": "sales", "ssl": False, "timeout": 3}
    options = RedshiftSQLHook(
        connection("rs", {"conn_type": "redshift", "host": "h", "extra": extra})
    ).connect_options()
    wanted = {"dbname": "sales", "sslmode": "disable", "connect_timeout": 3, "port": 5439, "host": "h"}
    assert wanted.items() <= options.items()


class Watched(RedshiftSQLHook):
    """Notes which of its attributes are set."""

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__.setdefault("noted", []).append(name)
        super().__setattr__(name, value)


def test_asking_for_the_options_changes_nothing_for_another_thread(connection: Connect) -> None:
    extra = {"database": "sales", "ssl": False, "timeout": 3, "sslmode": "prefer"}
    hook = Watched(connection("rs_watched", {"conn_type": "redshift", "host": "h", "extra": extra}), connect_timeout=7)
    hook.connect_options()  # Airflow keeps what it found of the connection
    hook.__dict__["noted"] = []
    options = hook.connect_options()
    assert (options["dbname"], options["sslmode"], options["connect_timeout"]) == ("sales", "prefer", 7)
    assert hook.__dict__["noted"] == []


def test_parameters_of_the_session_are_set(hook: RedshiftSQLHook, warehouse: Warehouse) -> None:
    hook = RedshiftSQLHook(warehouse.conn_id, statement_timeout=1.5, settings={"search_path": "redshift"})
    with hook.session() as session:
        assert session.query("SELECT current_setting('statement_timeout'), current_schema()") == [
            ("1500ms", "redshift")
        ]
    with pytest.raises(InvalidArgument, match="statement_timeout must be seconds"):
        RedshiftSQLHook(warehouse.conn_id, statement_timeout="soon").get_conn()  # type: ignore[arg-type]


# the operator


def test_the_operator_runs_sql_in_one_transaction(warehouse: Warehouse, context: Callable[..., Any]) -> None:
    sql = "CREATE TABLE t (id int); INSERT INTO t VALUES (1); SELECT count(*) FROM t WHERE id = %(id)s"
    task = RedshiftSQLOperator(task_id="run", redshift_conn_id=warehouse.conn_id, sql=sql, parameters={"id": 1})
    assert task.execute(context(task)) == [(1,)]
    broken = RedshiftSQLOperator(task_id="run", conn_id=warehouse.conn_id, sql="DELETE FROM t; SELECT * FROM none")
    with pytest.raises(NotFound):
        broken.execute(context(broken))
    assert warehouse.query("SELECT count(*) FROM t") == [(1,)]


def test_a_kill_cancels_the_query_in_the_server(warehouse: Warehouse, context: Callable[..., Any]) -> None:
    active = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
    task = RedshiftSQLOperator(task_id="run", conn_id=warehouse.conn_id, sql="SELECT pg_sleep(60)")

    def kill() -> None:
        while not warehouse.query(active):
            time.sleep(0.02)
        task.on_kill()

    threading.Thread(target=kill).start()
    with pytest.raises(TransientError):
        task.execute(context(task))
    assert warehouse.query(active) == []
