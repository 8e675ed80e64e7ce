"""Services on demand: MariaDB and a warehouse of its own, reached by tasks and from this machine, their data kept."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fix_up import Up, command, is_there, wait_for
from tests.stack.fix_stack import Containers, docker
from tradewind.local.api import Api
from tradewind.local.errors import InvalidInput
from tradewind.local.s3 import client
from tradewind.local.stack.engine import Stack

COPY = """
import datetime as dt
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
from tradewind.amazon.s3.files import S3File
from tradewind.mysql.operators import MySqlOperator
from tradewind.mysql.tables import MySqlTable
from tradewind.operators.copy import CopyOperator
from tradewind.postgres.tables import PostgresTable

with DAG("copy", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False):
    source = S3File("s3://landing/cities.csv")
    table = MySqlTable("cities")
    make = MySqlOperator(task_id="make", sql="create table cities (name varchar(40) primary key, people int)")
    load = CopyOperator(task_id="load", source=source, target=table)
    double = MySqlOperator(task_id="double", sql="update cities set people = people * 2")
    over = CopyOperator(
        task_id="over", source=table, target=PostgresTable("cities", conn_id="warehouse"), create=True
    )
    make >> load >> double >> over
"""


def ask_mariadb(address: str, sql: str) -> list[tuple[Any, ...]]:
    import pymysql

    at = urlsplit(address)
    connection = pymysql.connect(
        host=at.hostname,
        port=at.port or 0,
        user=at.username,
        password=at.password or "",
        database=at.path[1:],
        ssl_disabled=True,
    )
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def ask_warehouse(address: str, sql: str) -> list[tuple[Any, ...]]:
    import psycopg2

    with closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_mariadb_and_a_warehouse_of_its_own(stack: Callable[..., Up], project: Path, containers: Containers) -> None:
    (project / "dags" / "copy.py").write_text(COPY)
    environment = stack("--with", "mariadb", "--with", "warehouse")
    facts = environment.ready(600)
    assert facts["with"] == ["mariadb", "warehouse"]
    found = containers.inspect()
    for name in ("mariadb", "warehouse"):
        assert found[name]["State"]["Health"]["Status"] == "healthy"
        assert set(found[name]["NetworkSettings"]["Networks"]) == {f"{containers.project}_inside"}
        assert not found[name]["HostConfig"]["PortBindings"]
        assert found[name]["HostConfig"]["ReadonlyRootfs"]
        assert docker("exec", found[name]["Id"], "id", "-u").strip() != "0"
        password = urlsplit(facts[name]).password
        assert password
        assert password not in json.dumps(found[name]) + docker("logs", found[name]["Id"])
    status = subprocess.run(command("status", project), capture_output=True, text=True, timeout=60, check=True).stdout
    assert "with     mariadb, warehouse" in status

    s3 = client(facts["s3"])
    s3.create_bucket(Bucket="landing")
    s3.put_object(Bucket="landing", Key="cities.csv", Body=b"name,people\nBern,134\nChur,38\n")
    api = Api(facts["web"], 3, facts["user"], facts["password"])
    wait_for(lambda: is_there(api, "copy"), 120, "the DAG in Airflow")
    api.unpause("copy")
    run_id = api.trigger("copy")
    assert api.wait_run("copy", run_id, timeout=240) == "success"

    rows = [("Bern", 268), ("Chur", 76)]
    assert ask_mariadb(facts["mariadb"], "select name, people from cities order by 1") == rows
    assert ask_warehouse(facts["warehouse"], "select name, people from cities order by 1") == rows

    assert ask_mariadb(facts["mariadb"], "select user, host from mysql.user where user <> 'mariadb.sys'") == [
        ("tradewind", "%")
    ]

    signal = ("exec", found["mariadb"]["Id"], "sh", "-c")
    docker(*signal, "kill -STOP $(cat /tmp/mariadb.pid)")
    wait_for(lambda: "mariadb (" in environment.talk.read_text(), 120, "the server that hangs told")
    docker(*signal, "kill -CONT $(cat /tmp/mariadb.pid)")
    wait_for(lambda: "is well again" in environment.talk.read_text(), 120, "its recovery told")

    environment.process.terminate()
    assert environment.process.wait(180) in (0, 143)
    assert containers.left() == []
    again = stack("--with", "mariadb", "--with", "warehouse").ready(600)
    assert ask_mariadb(again["mariadb"], "select name, people from cities order by 1") == rows
    assert ask_warehouse(again["warehouse"], "select name, people from cities order by 1") == rows


def test_a_service_that_there_is_not_is_refused(project: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no service 'oracle': choose of mariadb, warehouse"):
        Stack(project, services=["oracle"])


def test_services_of_the_other_engine_are_refused(project: Path) -> None:
    done = subprocess.run(
        command("up", project, "--with", "mariadb"), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "--with is of the engine docker: add --engine docker" in done.stderr
