"""A dry run: the plan is told, errors are those of a run, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fix_tables import Tables
from tests.stage import LAKE, Stage
from tradewind.hooks.compat import BaseOperator
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound
from tradewind.operators.copy import CopyOperator
from tradewind.operators.ends import Source, Target
from tradewind.operators.expectations import NotNull, Unique
from tradewind.operators.local_files import LocalFile
from tradewind.operators.plan import FILES_TOLD, Plan, Right, truth
from tradewind.operators.projection import Field


@pytest.fixture
def target(tables: Tables) -> Tables:
    name = tables.pick(postgres='"Odd % name"', mysql="`Odd % name`")
    tables.query(f"CREATE TABLE t (id int PRIMARY KEY, {name} varchar(20), n int)")
    tables.query("INSERT INTO t (id) VALUES (1), (2)")
    return tables


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_bytes(b"ID,odd % NAME\n1,x\n")
    (tmp_path / "b.csv").write_bytes(b"odd % name,id\n")
    (tmp_path / "c.csv").write_bytes(b"")
    return tmp_path


@pytest.fixture
def run(context: Callable[..., Any]) -> Callable[..., Any]:
    def execute(source: Source, target: Target, **asked: Any) -> Any:
        operator = CopyOperator(task_id="copy", source=source, target=target, **{"dry_run": True, **asked})
        return operator.execute(context(operator, render=True))

    return execute


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines that the operator logs: each Airflow has a logger of its own."""
    lines: list[str] = []
    log = SimpleNamespace(**dict.fromkeys(("info", "warning"), lambda text, *args: lines.append(text % args)))
    monkeypatch.setattr(CopyOperator, "log", log)
    return lines


def state(tables: Tables) -> list[Any]:
    """Return what could have been changed."""
    names = tables.pick(
        postgres="SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
        mysql="SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1",
    )
    return [tables.query(names), tables.query("SELECT * FROM t ORDER BY id")]


WAYS = {
    "append": ({}, {"postgres": "COPY into public.t", "mysql": "LOAD DATA into "}),
    "replace": ({"mode": "replace"}, {"postgres": "DELETE and COPY into", "mysql": "DELETE and LOAD DATA into"}),
    "merge": (
        {"mode": "merge", "key": "ID", "duplicates": "last"},
        {
            "postgres": "COPY into a temporary table, merge into",
            "mysql": "LOAD DATA into a temporary table, merge into",
        },
    ),
}
RUNS = {
    ("postgres", "append"): ['COPY "public"."t" ("id", "Odd % name") FROM STDIN WITH (FORMAT csv'],
    ("postgres", "replace"): [
        'LOCK TABLE "public"."t" IN SHARE ROW',
        'DELETE FROM "public"."t"',
        'COPY "public"."t" (',
    ],
    ("postgres", "merge"): [
        'CREATE TEMPORARY TABLE "tradewind_stage" (LIKE "public"."t"',
        'COPY "tradewind_stage" ("Odd % name", "id") FROM STDIN',
        'DELETE FROM "tradewind_stage" AS s USING',
        'INSERT INTO "public"."t" AS t ("id", "Odd % name")',
    ],
    ("mysql", "append"): ["LOAD DATA LOCAL INFILE 'stream' INTO TABLE {db}.`t`"],
    ("mysql", "replace"): ["DELETE FROM {db}.`t`", "LOAD DATA LOCAL INFILE 'stream' INTO TABLE {db}.`t`"],
    ("mysql", "merge"): [
        "CREATE TEMPORARY TABLE `tradewind_stage`",
        "INTO TABLE `tradewind_stage`",
        "DELETE s FROM `tradewind_kept`",
        "UPDATE {db}.`t` t JOIN `tradewind_stage` s",
        "INSERT INTO {db}.`t` (`id`, `Odd % name`)",
    ],
}


@pytest.mark.parametrize("mode", WAYS)
def test_the_plan_says_everything_and_changes_nothing(
    mode: str, target: Tables, files: Path, run: Callable[..., Any], told: list[str]
) -> None:
    asked, ways = WAYS[mode]
    before = state(target)
    plan = run(LocalFile(f"{files}/*.csv"), target.table(), expect=NotNull("id"), **asked)

    assert state(target) == before
    assert (plan["dry_run"], plan["lacking"], plan["loaded_before"]) == (True, [], None)
    assert plan["plan"].startswith(ways[target.service])
    assert plan["files"] == [f"{files}/{name}.csv" for name in "abc"]
    assert (plan["file_count"], plan["bytes"]) == (3, 32)
    assert plan["columns"] == {
        f"{files}/a.csv": {"ID": "id", "odd % NAME": "Odd % name"},
        f"{files}/b.csv": {"odd % name": "Odd % name", "id": "id"},
    }
    statements = "\n".join(plan["statements"])
    wanted = [text.replace("{db}", f"`{target.name}`") for text in RUNS[target.service, mode]]
    assert [text for text in wanted if text not in statements] == [], statements
    assert any("is not there, this creates it: CREATE TABLE IF NOT EXISTS" in note for note in plan["notes"])
    assert "before the commit NotNull('id') must hold" in plan["notes"]
    for text in (f"plan: {plan['plan']}", f"reads {files}/a.csv (0.0 kB)", "ID -> id", "held"):
        assert text in "\n".join(told)


@pytest.mark.parametrize("mode", WAYS)
def test_a_run_does_as_it_was_planned(mode: str, target: Tables, files: Path, run: Callable[..., Any]) -> None:
    asked, _ = WAYS[mode]
    (files / "a.csv").write_bytes(b"ID,odd % NAME\n5,x\n")
    source, end = LocalFile(f"{files}/*.csv"), target.table()
    planned = run(source, end, **asked)
    done = run(source, end, dry_run="{{ 1 == 2 }}", **asked)
    assert (done["dry_run"], done["rows"], done["plan"]) == (False, 1, planned["plan"])
    again = run(source, end, **asked)
    assert again["loaded_before"] == run(source, end, dry_run="no", **asked)["loaded_before"]
    assert any("holds this input: reload=True loads it again" in note for note in again["notes"])
    assert target.query("SELECT count(*) FROM t") == [(1 if mode == "replace" else 3,)]


WRONG: dict[str, tuple[bytes, dict[str, Any], type[Exception], str]] = {
    "a column": (b"id,nothing\n", {}, DataError, "has no column 'nothing'"),
    "a table": (b"id\n", {"table": "tt"}, NotFound, "there is no table .*tt"),
    "a key": (b"n\n", {"mode": "merge", "key": "id"}, InvalidArgument, "has no column 'id'"),
    "an expectation": (b"id\n", {"expect": Unique("nothing")}, InvalidArgument, "has no column 'nothing'"),
    "a file": (b"id\n", {"file": "x.csv"}, NotFound, "x.csv"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_as_in_a_run(name: str, target: Tables, tmp_path: Path, run: Callable[..., Any]) -> None:
    body, asked, error, says = WRONG[name]
    (tmp_path / "a.csv").write_bytes(body)
    before = state(target)
    given = dict(asked)
    source = LocalFile(f"{tmp_path}/{given.pop('file', 'a.csv')}")
    end = target.table(given.pop("table", "t"))
    told = []
    for dry_run in (True, False):
        with pytest.raises(error, match=says) as caught:
            run(source, end, dry_run=dry_run, **given)
        told.append(str(caught.value))
        if dry_run:
            assert state(target) == before
    assert told[0] == told[1]


def test_a_table_that_would_be_made(tables: Tables, files: Path, run: Callable[..., Any]) -> None:
    tables.query("CREATE TABLE t (id int PRIMARY KEY)")
    before = state(tables)
    asked: dict[str, Any] = {"create": True, "mode": "merge", "key": "ID"}
    plan = run(LocalFile(f"{files}/a.csv"), tables.table("made"), **asked)
    assert state(tables) == before
    assert plan["statements"][0].startswith("CREATE TABLE")
    assert plan["statements"][0].replace("`", '"').count('"odd % NAME"') == 1
    assert any(right.startswith("CREATE on") for right in plan["rights"])
    assert run(LocalFile(f"{files}/a.csv"), tables.table("made"), dry_run=False, **asked)["rows"] == 1


def test_rights_that_are_missing_are_listed(
    target: Tables, files: Path, run: Callable[..., Any], connection: Callable[..., str], told: list[str]
) -> None:
    source = LocalFile(f"{files}/a.csv")
    asked: dict[str, Any] = {"mode": "merge", "key": "id"}
    # PostgreSQL lets everybody make temporary tables, MySQL nobody.
    with target.role(connection, "SELECT ON t") as conn_id:
        plan = run(source, target.table(conn_id=conn_id), **asked)
    place = target.pick(postgres="public", mysql=target.name)
    wanted = [f"INSERT on {place}.t", f"UPDATE on {place}.t"]
    wanted += target.pick(postgres="", mysql=f"CREATE TEMPORARY TABLES on database {place}").split("\n")
    wanted += [target.pick(postgres="CREATE on schema public", mysql=f"CREATE on {place}.tradewind_ledger")]
    assert plan["lacking"] == [text for text in wanted if text]
    assert f"SELECT on {place}.t" in plan["rights"]
    assert told[-1] == f"a run would fail for want of rights: {', '.join(plan['lacking'])}"

    run(source, target.table(), dry_run=False, mode="replace")  # makes the ledger
    columns = target.pick(postgres='id, "Odd % name"', mysql="id, `Odd % name`")
    with target.role(connection, f"INSERT ({columns}) ON t", "SELECT ON tradewind_ledger") as conn_id:
        plan = run(source, target.table(conn_id=conn_id))
    ledger = target.pick(postgres="tradewind_ledger", mysql=f"{place}.tradewind_ledger")
    assert plan["lacking"] == [f"{what} on {ledger}" for what in ("INSERT", "UPDATE", "DELETE")]


def test_from_a_query_nothing_but_its_columns_is_asked_for(target: Tables, run: Callable[..., Any]) -> None:
    if target.service == "postgres":
        from tradewind.postgres.tables import PostgresQuery as Query
    else:
        from tradewind.mysql.queries import MySqlQuery as Query  # type: ignore[assignment]
    slow = target.pick(postgres="pg_sleep(20)", mysql="SLEEP(20)")
    source = Query(f"SELECT id, n FROM t WHERE {slow} IS NOT NULL", conn_id=target.conn_id)
    plan = run(source, target.table())
    assert plan["columns"] == {f"query on {target.conn_id}": {"id": "id", "n": "n"}}
    assert (plan["bytes"], plan["file_count"]) == (None, 1)


@pytest.mark.parametrize("same", [True, False])
def test_files(
    same: bool, stage: Stage, connection: Callable[..., str], run: Callable[..., Any], told: list[str]
) -> None:
    from tradewind.amazon.s3.files import S3File

    connection(LAKE, stage.connections()[f"AIRFLOW_CONN_{LAKE.upper()}"])
    client, folder = stage.client(), f"s3://{stage.bucket}/plan-{same}"
    key = folder.rpartition("/")[2]
    client.put_object(Bucket=stage.bucket, Key=f"{key}/in.csv", Body=b"id,name\n1,a\n")
    compression: dict[str, Any] = {} if same else {"compression": "gzip"}
    source, target = S3File(f"{folder}/in.csv", conn_id=LAKE), S3File(f"{folder}/out.csv", conn_id=LAKE, **compression)
    plan = run(source, target)
    way = f"copied within S3 to {folder}/out.csv" if same else f"streamed to {folder}/out.csv"
    assert (plan["plan"], plan["bytes"], plan["lacking"]) == (way, 12, [])
    assert plan["columns"] == ({} if same else {f"{folder}/in.csv": {"id": "id", "name": "name"}})
    assert f"s3:PutObject on arn:aws:s3:::{stage.bucket}/{key}/out.csv" in plan["rights"]
    assert any("a file is written whole" in note for note in plan["notes"])
    assert client.list_objects_v2(Bucket=stage.bucket, Prefix=f"{key}/")["KeyCount"] == 1
    assert run(source, target, dry_run=False)["plan"] == way


def test_files_that_cannot_be_joined(tmp_path: Path, run: Callable[..., Any]) -> None:
    (tmp_path / "a.csv").write_bytes(b"id\n1\n")
    (tmp_path / "b.csv").write_bytes(b"name\n1\n")
    for dry_run in (True, False):
        with pytest.raises(DataError, match=r"b.csv has other columns than .*a.csv: name, not id"):
            run(LocalFile(f"{tmp_path}/*.csv"), LocalFile(f"{tmp_path}/out"), dry_run=dry_run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("value", "means"),
    [("True", True), (" yes", True), (1, True), ("false", False), ("None", False), ("", False), (None, False)],
)
def test_a_rendered_text_is_read_with_care(value: object, means: bool) -> None:
    assert truth(value, "dry_run") is means


def test_what_is_neither_is_refused() -> None:
    assert truth("{{ params.dry_run }}", "dry_run") is None
    with pytest.raises(InvalidArgument, match="dry_run must be true or false, not 'tru'"):
        CopyOperator(task_id="t", source=LocalFile("/a"), target=LocalFile("/b"), dry_run="tru")


def test_a_plan_of_many_files_stays_small() -> None:
    plan = Plan("a way", files=[(f"f{number}", 5) for number in range(1000)], rights=[Right("x", "y")])
    plan.columns = {name: {"a": "a"} for name, _ in plan.files}
    told = plan.as_dict()
    assert (len(told["files"]), told["file_count"], told["bytes"], len(told["columns"])) == (
        FILES_TOLD,
        1000,
        5000,
        100,
    )
    assert sum("reads" in line for line in plan.lines()) == FILES_TOLD + 1


@pytest.mark.skipif(not hasattr(BaseOperator, "dry_run"), reason="Airflow 3.0 has no dry run of an operator")
def test_airflows_own_dry_run_stays_what_it_is() -> None:
    operator = CopyOperator(task_id="t", source=LocalFile("/a"), target=LocalFile("/b"), dry_run=True)
    assert operator.dry_run() is None  # type: ignore[func-returns-value]


def test_columns_that_the_source_makes(target: Tables, files: Path, run: Callable[..., Any]) -> None:
    target.query("INSERT INTO t (id) VALUES (9)")
    columns: dict[str, Any] = {"ID": Field("id", type="bigint")}
    source = LocalFile(f"{files}/a.csv", columns=columns, constants={"n": "7"})
    before = state(target)
    for mode in ({"mode": "append"}, {"mode": "merge", "key": "id"}):
        plan = run(source, target.table(), **mode)
        assert state(target) == before
        assert plan["columns"] == {f"{files}/a.csv": {"id": "id", "n": "n"}}
        made = target.pick(postgres="::bigint", mysql="AS SIGNED")
        assert any(made in statement for statement in plan["statements"]), plan["statements"]


def test_a_set_of_numbered_files(files: Path, run: Callable[..., Any]) -> None:
    plan = run(LocalFile(f"{files}/a.csv"), LocalFile(f"{files}/out/part-{{n}}.csv", max_rows=1))
    assert plan["plan"] == f"streamed to files {files}/out/part-{{n}}.csv, listed in {files}/out/_manifest.json"
    assert not (files / "out").exists()
