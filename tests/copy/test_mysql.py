"""S3 to MySQL through the operator, as a DAG author would write it; and bad input, which leaves the table as it was."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.copy.cases import COMPRESSION, ENCODINGS, HEADER, HEADERS, RECORDS, Case, lines
from tests.fix_mysql import MySqlDatabase
from tests.stage import LAKE, Stage
from tradewind.hooks.errors import DataError

CASES = {
    f"{group}: {name}": case
    for group, cases in {
        "headers": HEADERS,
        "encodings": ENCODINGS,
        "records": RECORDS,
        "compression": COMPRESSION,
    }.items()
    for name, case in cases.items()
}
# What differs: MySQL stores NUL, knows no end mark, and has words of its own.
GOOD_HERE = {"records: a NUL in a record", "records: an end mark"}
WORDS = {
    "headers: a required column is missing": ("name", "default"),
    "records: a quote left open": ("people.csv", "quoted"),
    "records: too few fields": ("people.csv, line 3", "doesn't contain data"),
    "records: too many fields": ("people.csv, line 3", "more data"),
    "records: a number with too many digits": ("line 2, column score", "out of range"),
    "records: a date that is none": ("line 2, column born",),
    "records: a text that is too long": ("line 2, column code", "truncated"),
    "records: a key that is there": ("line 3", "duplicate entry '1'"),
    "records: a key twice in the file": ("line 3", "duplicate entry '3'"),
    "records: a value that is checked": ("line 2", "constraint"),
    "records: a reference to nothing": ("line 2", "foreign key", "teams"),
}


@pytest.fixture
def people(mysql_database: MySqlDatabase, stage: Stage, connection: Callable[..., str]) -> Iterator[MySqlDatabase]:
    """Make the tables of the cases."""
    connection(LAKE, stage.connections()[f"AIRFLOW_CONN_{LAKE.upper()}"])
    mysql_database.query(
        "CREATE TABLE teams (id int PRIMARY KEY);"
        "INSERT INTO teams VALUES (1), (2);"
        "CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, born date, "
        "score numeric(6, 2) CHECK (score >= 0), member boolean, code varchar(3), team int, "
        "twice int GENERATED ALWAYS AS (id * 2) STORED, "
        "FOREIGN KEY (team) REFERENCES teams (id));"
        "INSERT INTO people (id, name, born, score) VALUES (1, 'Ada', '1815-12-10', 9.5), (2, 'Blaise', NULL, 8)"
    )
    yield mysql_database
    client = stage.client()
    for item in client.list_objects_v2(Bucket=stage.bucket).get("Contents", []):
        client.delete_object(Bucket=stage.bucket, Key=item["Key"])


def execute(case: Case, people: MySqlDatabase, stage: Stage, context: Callable[..., Any], **asked: Any) -> Any:
    from tradewind.amazon.s3.files import S3File
    from tradewind.mysql.tables import MySqlTable
    from tradewind.operators.copy import CopyOperator

    stage.client().put_object(Bucket=stage.bucket, Key=case.key, Body=case.body)
    arguments = dict(case.copy)
    if "rejects" in arguments:
        arguments["rejects"] = S3File(str(arguments["rejects"]).format(bucket=stage.bucket), conn_id=LAKE)
    operator = CopyOperator(
        task_id="copy",
        source=S3File(f"s3://{stage.bucket}/{case.key}", conn_id=LAKE, **case.file),
        target=MySqlTable("people", conn_id=people.conn_id),
        **{**arguments, **asked},
    )
    return operator.execute(context(operator))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.error and name not in GOOD_HERE])
def test_bad_input_is_named_and_the_table_stays(
    name: str, people: MySqlDatabase, stage: Stage, context: Callable[..., Any]
) -> None:
    case = CASES[name]
    assert case.error
    before = people.query("SELECT * FROM people ORDER BY id")

    with pytest.raises(case.error) as caught:
        execute(case, people, stage, context)

    text = str(caught.value).lower()
    assert [said for said in WORDS.get(name, case.says) if said.lower() not in text] == [], text
    assert people.query("SELECT * FROM people ORDER BY id") == before


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.error])
def test_odd_input_is_loaded_right(name: str, people: MySqlDatabase, stage: Stage, context: Callable[..., Any]) -> None:
    case = CASES[name]
    result = execute(case, people, stage, context)
    names = [row[0] for row in people.query("SELECT name FROM people WHERE id > 2 ORDER BY id")]
    assert (case.rows, case.rows) == (result["rows"], len(names))
    assert [each for each in names if each.split(",")[0] not in ("Carl", "Emmy", "Käthe")] == []


def test_a_zipped_file_is_merged_once_and_its_bad_records_are_set_aside(
    people: MySqlDatabase, stage: Stage, context: Callable[..., Any]
) -> None:
    from tradewind.amazon.s3.files import S3File

    body = gzip.compress(HEADER + b"1,Ada,1815-12-10,9.5\n2,Pascal,,8\n3,Carl,,\nx,Emmy,,\n")
    case = Case(key="in/people.csv.gz", body=body)
    rejects = S3File(f"s3://{stage.bucket}/rejects.csv", conn_id=LAKE)
    asked = {"mode": "merge", "key": ["id"], "max_errors": 1, "rejects": rejects}
    for again in (False, True):
        result = execute(case, people, stage, context, **asked)
        assert [result[name] for name in ("inserted", "updated", "unchanged", "rejected")] == [1, 1, 1, 1]
        assert (result["loaded_before"] is not None) is again
    assert people.query("SELECT id, name FROM people ORDER BY id") == [(1, "Ada"), (2, "Pascal"), (3, "Carl")]
    told = stage.client().get_object(Bucket=stage.bucket, Key="rejects.csv")["Body"].read()
    assert b"/in/people.csv.gz,5,id,Incorrect integer value: 'x'" in told
    with pytest.raises(DataError, match="line 3, column id"):
        execute(Case(body=lines(b"4,Emmy,,", b"y,Emmy,,")), people, stage, context)
