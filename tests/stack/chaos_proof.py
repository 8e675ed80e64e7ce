"""What must be true after chaos: every row once, every task in success, nothing left anywhere."""

from __future__ import annotations

import csv
import io
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.stack.chaos_dag import BUCKET, KINDS, ROWS, kind, name, payload, sensor_name
from tests.stack.environment import Environment, patiently
from tradewind.local.metadata import database
from tradewind.local.stack import compose

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TABLES = {"append": "appended", "merge": "merged", "sql": "sql_rows", "python": "python_rows"}
FILES = ("unload", "bash")
OURS = ("appended", "merged", "sql_rows", "python_rows", "tradewind_ledger")
CHILD = re.compile(
    r"\bsleep [\d.]+$|\bbash\b.*(rows\.csv|seq 1)|rows\.csv|airflow worker -- |airflow task (runner|supervisor)"
)
"""The command line of a process that belongs to a task."""
AGAIN = ("heartbeat timeout", "state mismatch", "stuck in queued reschedule", "stuck in queued tries exceeded")
"""What Airflow notes in its log where a task's try ends without its doing."""
PATIENCE = 60.0
"""Seconds that what belongs to a dead process has to go: the services notice such an end by themselves."""


def airflow_dsn(environment: Environment) -> str:
    """Return the address of Airflow's database."""
    server: str = environment.facts["warehouse"].rpartition("/")[0]
    return f"{server}/{database(environment.version)}"


class Proof:
    """Looks for what is wrong once a run has ended.

    :param environment: where it ran
    :param s3: its bucket's client
    :param tasks: how many tasks ran
    :param sensors: how many sensors
    :param run_id: the run
    """

    def __init__(self, environment: Environment, s3: S3Client, tasks: int, sensors: int, run_id: str) -> None:
        self._environment = environment
        self._s3 = s3
        self._run_id = run_id
        self._names = {what: {name(n): n for n in range(tasks) if kind(n) == what} for what in KINDS}
        self._sensors = {sensor_name(n) for n in range(sensors)}
        self.tries: Counter[int] = Counter()
        """Tasks by their number of tries."""
        self.rows = 0
        """Rows that were found right."""

    def problems(self) -> list[str]:
        """Return all that is wrong."""
        return [*self._tasks(), *self._tables(), *self._objects(), *self._left()]

    def reasons(self) -> str:
        """Return why Airflow had tasks run again, as it says itself, and how often each."""
        rows = self._environment.query(
            "select event, count(*) from log where event in %s group by 1 order by 1",
            AGAIN,
            dsn=airflow_dsn(self._environment),
        )
        return ", ".join(f"{event}: {count}" for event, count in rows) or "none"

    def _tasks(self) -> list[str]:
        """Every task and every sensor ended in success."""
        found = patiently(lambda: self._environment.api.task_instances("chaos", self._run_id))
        self.tries = Counter(each["try_number"] for each in found)
        wrong = [
            f"{each['task_id']} is {each['state']} after {each['try_number']} tries"
            for each in found
            if each["state"] != "success"
        ]
        expected = self._sensors.union(*self._names.values())
        return wrong + [f"there is no task {name}" for name in expected - {each["task_id"] for each in found}]

    def _tables(self) -> list[str]:
        """Every row that a task should have written to a table is there once, and no other."""
        wrong = []
        for what, table in TABLES.items():
            rows = self._environment.query(
                f"select task, count(*), count(distinct n), min(n), max(n), "
                f"bool_and(payload = task || '-' || n || repeat('x', 20)) from {table} group by 1"
            )
            got = {row[0]: row[1:] for row in rows}
            for task in sorted(self._names[what].keys() | got.keys()):
                if got.get(task) == (ROWS, ROWS, 1, ROWS, True) and task in self._names[what]:
                    self.rows += ROWS
                else:
                    wrong.append(f"{table} has of {task}: {got.get(task)}, not {ROWS} rows once each")
        return wrong

    def _objects(self) -> list[str]:
        """Every object holds its task's rows once each, and there is no other object."""
        wrong, keys = [], self._keys("out/")
        expected = {f"out/{task}.csv": n for what in FILES for task, n in self._names[what].items()}
        wrong += [f"there is an object {key}" for key in sorted(keys - expected.keys())]
        for key, number in expected.items():
            lines = self._lines(key) if key in keys else []
            if lines[:1] == [["task", "n", "payload"]]:  # an unload has a header
                del lines[0]
            if sorted(lines) == sorted([name(number), str(n), payload(number, n)] for n in range(1, ROWS + 1)):
                self.rows += ROWS
            else:
                wrong.append(f"s3://{BUCKET}/{key} has {len(lines)} rows, not the {ROWS} of its task once each")
        return wrong

    def _keys(self, prefix: str) -> set[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def _lines(self, key: str) -> list[list[str]]:
        body = self._s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
        return list(csv.reader(io.StringIO(body)))

    def _left(self) -> list[str]:
        """Nothing is left: no process, session, lock, table, upload, or task that would still go on."""
        deadline = time.monotonic() + PATIENCE
        while (left := [*self._in_warehouse(), *self._in_airflow(), *self._in_containers(), *self._uploads()]) and (
            time.monotonic() < deadline
        ):
            time.sleep(1)
        return left

    def _in_warehouse(self) -> list[str]:
        sessions = self._environment.query(
            "select state, left(query, 80) from pg_stat_activity "
            "where datname = 'warehouse' and pid <> pg_backend_pid() and backend_type = 'client backend'"
        )
        locks = self._environment.query("select objid from pg_locks where locktype = 'advisory'")
        tables = self._environment.query(
            "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where "
            "c.relkind in ('r', 'v', 'm', 'f', 'S') "
            "and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')"
        )
        return [
            *(f"a session in the warehouse, {state}: {query}" for state, query in sessions),
            *(f"an advisory lock {lock}" for (lock,) in locks),
            *(f"a table {schema}.{table}" for schema, table in tables if table not in OURS),
        ]

    def _in_airflow(self) -> list[str]:
        dsn = airflow_dsn(self._environment)
        tasks = self._environment.query(
            "select task_id, state from task_instance where state is null or state not in ('success', 'failed', "
            "'upstream_failed', 'skipped', 'removed')",
            dsn=dsn,
        )
        ((triggers,),) = self._environment.query("select count(*) from trigger", dsn=dsn)
        stuck = self._environment.query(
            "select left(query, 80) from pg_stat_activity where datname = %s "
            "and state like 'idle in transaction%%' and state_change < now() - interval '30 s'",
            database(self._environment.version),
            dsn=dsn,
        )
        queued = self._environment.queued()
        return [
            *(f"{task} is {state}" for task, state in tasks),
            *(f"a transaction in Airflow's database: {query}" for (query,) in stuck),
            *([f"{triggers} triggers"] if triggers else []),
            *([f"{queued} messages in the queue"] if queued else []),
        ]

    def _in_containers(self) -> list[str]:
        found = []
        for service in ("worker", "scheduler"):
            for each in self._environment.found(service):
                lines = compose.docker("top", each.id, "-eo", "pid,args").splitlines()[1:]
                found += [
                    f"a process in {service} {each.id[:12]}: {line.strip()[:120]}"
                    for line in lines
                    if CHILD.search(line)
                ]
        return found

    def _uploads(self) -> list[str]:
        found: list[Any] = list(self._s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))
        return [f"an upload of {each['Key']}" for each in found]
