"""Every operator, sensor and end of a copy, each at least once; what can wait without a worker, in both ways.

``tests/stack/test_every_operator.py`` compares what is here with what the packages have, and looks at the results.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

try:
    from airflow.sdk import DAG, TaskGroup
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.utils.task_group import TaskGroup

from tradewind.amazon.redshift.operators import (
    RedshiftDataOperator,
    RedshiftPauseClusterOperator,
    RedshiftResumeClusterOperator,
    RedshiftSQLOperator,
)
from tradewind.amazon.redshift.sensors import RedshiftClusterSensor
from tradewind.amazon.redshift.tables import RedshiftQuery, RedshiftTable
from tradewind.amazon.redshift.unload_operators import RedshiftUnloadOperator
from tradewind.amazon.s3.files import S3File
from tradewind.amazon.s3.sensors import S3KeySensor
from tradewind.mysql.operators import MySqlOperator
from tradewind.mysql.queries import MySqlQuery
from tradewind.mysql.tables import MySqlTable
from tradewind.operators.bash import BashOperator
from tradewind.operators.checks import (
    SqlCheckOperator,
    SqlColumnCheckOperator,
    SqlIntervalCheckOperator,
    SqlRowCountCheckOperator,
    SqlTableCheckOperator,
    SqlThresholdCheckOperator,
    SqlValueCheckOperator,
)
from tradewind.operators.copy import CopyOperator
from tradewind.operators.local_files import LocalFile
from tradewind.operators.python import PythonOperator
from tradewind.postgres.operators import PostgresOperator
from tradewind.postgres.tables import PostgresQuery, PostgresTable
from tradewind.snowflake.operators import SnowflakeOperator
from tradewind.snowflake.queries import SnowflakeQuery
from tradewind.snowflake.tables import SnowflakeTable
from tradewind.snowflake.unload_operators import SnowflakeUnloadOperator

BUCKET = "mwaa-local"
LAKE = f"s3://{BUCKET}/every"
CSV = S3File(f"{LAKE}/people.csv")
PEOPLE = 'id,name,joined\n1,Ada,2026-01-01\n2,"Grace, Admiral",2026-01-02\n3,Zoë,\n'
DDL = "CREATE TABLE people (id {integer}, name varchar(40), joined date)"
CLUSTER: dict[str, Any] = {"cluster_identifier": "sales", "database": "shift", "db_user": "etl"}
WAREHOUSE: dict[str, Any] = {"conn_id": "warehouse"}
WAYS = {"deferred": True, "on_worker": False}
"""How what can wait without a worker waits, by the end of its task's id."""
SHORTLY: dict[str, Any] = {"poll_interval": 1, "defer_after": 0}


def put(key: str, text: str) -> str:
    """Write an object."""
    from tradewind.amazon.s3.hooks import S3Hook

    S3Hook().put(BUCKET, key, text)
    return key


def make_cluster(name: str) -> None:
    """Make a cluster, as a person does before there are tasks."""
    from tradewind.amazon.hooks import AwsHook

    AwsHook().client("redshift").create_cluster(
        ClusterIdentifier=name,
        NodeType="ra3.large",
        ClusterType="single-node",
        MasterUsername="etl",
        MasterUserPassword="Secret-42",
    )


def copy(task_id: str, source: Any, target: Any, mode: Any = "replace", **more: Any) -> CopyOperator:
    """Make a copy."""
    return CopyOperator(task_id=task_id, source=source, target=target, mode=mode, **more)


def table(name: str) -> PostgresTable:
    """Return a table of the warehouse."""
    return PostgresTable(name, **WAREHOUSE)


with DAG(
    dag_id="every_operator",
    doc_md=__doc__,
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    max_active_tasks=64,
):
    people = PythonOperator(task_id="people", python_callable=put, op_args=["every/people.csv", PEOPLE])

    with TaskGroup("s3"):
        bash = BashOperator(task_id="bash", bash_command="sleep 8; echo waited")
        bash >> PythonOperator(task_id="late", python_callable=put, op_args=["every/late.txt", "late"])
        for way, deferrable in WAYS.items():
            S3KeySensor(
                task_id=f"key_{way}", bucket_key=f"{LAKE}/late*", deferrable=deferrable, poke_interval=1, timeout=300
            )
        S3KeySensor(
            task_id="key_rescheduled", bucket_key=f"{LAKE}/late.txt", mode="reschedule", poke_interval=2, timeout=300
        )
        on_disk = LocalFile("/tmp/every-{{ run_id }}.csv")
        people >> copy("to_disk", CSV, on_disk) >> copy("from_disk", on_disk, table("from_disk"), create=True)

    with TaskGroup("postgres"):
        tables = PostgresOperator(
            task_id="tables",
            sql=[
                f"{DDL.format(integer='int PRIMARY KEY')}; CREATE TABLE added (LIKE people)",
                "CREATE TABLE counted (ds date, n int)",
                "INSERT INTO counted VALUES ('{{ ds }}', 11), ('{{ macros.ds_add(ds, -7) }}', 10)",
            ],
            **WAREHOUSE,
        )
        merge = copy("merge", CSV, table("people"), mode="merge", key="id")
        [people, tables] >> merge
        [people, tables] >> copy("append", CSV, table("added"), mode="append")
        some = PostgresQuery("SELECT name, id FROM people WHERE id > %(least)s ORDER BY id", {"least": 1}, **WAREHOUSE)
        merge >> copy("query_to_csv", some, S3File(f"{LAKE}/some.csv.gz"))
        parquet = S3File(f"{LAKE}/people.parquet")
        to_parquet = copy("to_parquet", table("people"), parquet)
        merge >> to_parquet >> copy("from_parquet", parquet, table("from_parquet"), create=True)

    with TaskGroup("checks") as checks:
        SqlCheckOperator(task_id="check", sql="SELECT count(*) FROM people", **WAREHOUSE)
        SqlValueCheckOperator(task_id="value", sql="SELECT count(*) FROM people", pass_value=3, **WAREHOUSE)
        SqlThresholdCheckOperator(
            task_id="threshold", sql="SELECT max(id) FROM people", min_threshold=1, max_threshold=3, **WAREHOUSE
        )
        SqlIntervalCheckOperator(task_id="interval", table="counted", metrics_thresholds={"n": 1.5}, **WAREHOUSE)
        SqlRowCountCheckOperator(task_id="rows", table="people", min_rows=3, max_rows=3, **WAREHOUSE)
        SqlColumnCheckOperator(
            task_id="columns", table="people", column_mapping={"id": {"unique_check": {"equal_to": 0}}}, **WAREHOUSE
        )
        SqlTableCheckOperator(
            task_id="table", table="people", checks={"named": {"check_statement": "name <> ''"}}, **WAREHOUSE
        )

    with TaskGroup("mysql"):
        mart = MySqlOperator(task_id="table", sql=DDL.format(integer="int PRIMARY KEY"))
        to_mart = copy("merge", table("people"), MySqlTable("people"), mode="merge", key="id")
        upper = MySqlQuery("SELECT id, UPPER(name) AS name FROM people")
        [merge, mart] >> to_mart
        to_mart >> copy("query", upper, table("from_mysql"), create=True)
        to_mart >> copy("to_csv", MySqlTable("people"), S3File(f"{LAKE}/mysql.csv"))

    with TaskGroup("redshift"):
        shift = RedshiftSQLOperator(task_id="table", sql=DDL.format(integer="int"))
        staging = f"{LAKE}/staging/"
        over_the_wire = copy("load", CSV, RedshiftTable("people", staging=staging))
        through_the_api = copy(
            "load_by_data_api", CSV, RedshiftTable("people", staging=staging, **CLUSTER), mode="merge", key="id"
        )
        [people, shift] >> over_the_wire >> through_the_api
        through_the_api >> RedshiftUnloadOperator(
            task_id="unload", source=RedshiftTable("people"), to=f"{LAKE}/redshift/", format="csv"
        )
        names = RedshiftQuery("SELECT id, name FROM people", **CLUSTER)
        through_the_api >> copy("query", names, table("from_redshift"), create=True)
        for way, deferrable in WAYS.items():
            through_the_api >> RedshiftDataOperator(
                task_id=f"data_{way}",
                sql="SELECT count(*), pg_sleep(3)::text FROM people",
                return_sql_result=True,
                deferrable=deferrable,
                **CLUSTER,
                **SHORTLY,
            )

    with TaskGroup("clusters"):
        for way, deferrable in WAYS.items():
            cluster = way.replace("_", "-")
            waits: dict[str, Any] = {"cluster_identifier": cluster, "deferrable": deferrable}
            through: dict[str, Any] = {**waits, "wait_for_completion": True, "poll_interval": 1}
            made = PythonOperator(task_id=f"make_{way}", python_callable=make_cluster, op_args=[cluster])
            paused = RedshiftClusterSensor(
                task_id=f"paused_{way}", target_status="paused", poke_interval=1, timeout=300, **waits
            )
            meanwhile = BashOperator(task_id=f"meanwhile_{way}", bash_command="sleep 6")
            pause = RedshiftPauseClusterOperator(task_id=f"pause_{way}", **through)
            made >> [paused, meanwhile]
            meanwhile >> pause
            [pause, paused] >> RedshiftResumeClusterOperator(task_id=f"resume_{way}", **through)

    with TaskGroup("snowflake"):
        lodge = SnowflakeOperator(
            task_id="table",
            sql=[DDL.format(integer="NUMBER(9, 0)"), f"CREATE STAGE lake URL = '{LAKE}/snowflake/'"],
            deferrable=False,
        )
        load = copy("load", CSV, SnowflakeTable("people"), mode="merge", key="id")
        [people, lodge] >> load
        load >> SnowflakeUnloadOperator(
            task_id="unload",
            source=SnowflakeTable("people"),
            to=S3File(f"{LAKE}/snowflake/_manifest.json", manifest=True),
            stage="lake",
            format="csv",
        )
        named = SnowflakeQuery("SELECT id, name FROM people")
        load >> copy("query", named, table("from_snowflake"), create=True)
        for way, deferrable in WAYS.items():
            load >> SnowflakeOperator(
                task_id=f"sql_{way}",
                sql="CALL SYSTEM$WAIT(3); SELECT count(*) FROM people",
                deferrable=deferrable,
                **SHORTLY,
            )

    merge >> checks
