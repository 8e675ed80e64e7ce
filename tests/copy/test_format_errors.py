"""A record of JSON lines or Parquet that a table refuses is named by its number: nobody sees its lines on the way."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fix_tables import Tables
from tests.services import pyarrow
from tradewind.hooks.errors import DataError
from tradewind.operators.copy import CopyOperator
from tradewind.operators.local_files import LocalFile

ROWS = [{"id": number, "note": 'two\nlines, "quoted"', "n": str(number)} for number in range(1, 301)]
BAD = 250


def write(path: Path) -> None:
    rows = [{**row, "n": "x"} if row["id"] == BAD else row for row in ROWS]
    if path.suffix == ".parquet":
        pyarrow().parquet.write_table(pyarrow().Table.from_pylist(rows), path, row_group_size=100)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture(params=["a.jsonl", "a.parquet"])
def file(request: pytest.FixtureRequest, tables: Tables, tmp_path: Path) -> Path:
    tables.query("CREATE TABLE t (id int, note text, n int)")
    path = tmp_path / str(request.param)
    write(path)
    return path


def test_the_record_is_named(file: Path, tables: Tables, context: Callable[..., Any]) -> None:
    operator = CopyOperator(task_id="copy", source=LocalFile(file), target=tables.table())
    with pytest.raises(DataError, match=rf"{file}, record {BAD}, column n: .*x") as caught:
        operator.execute(context(operator))

    assert (caught.value.source, caught.value.line, caught.value.column) == (str(file), BAD, "n")
    assert tables.query("SELECT count(*) FROM t") == [(0,)]


def test_a_bad_record_is_set_aside_by_its_number(
    file: Path, tables: Tables, context: Callable[..., Any], tmp_path: Path
) -> None:
    rejects = tmp_path / "rejects.csv"
    operator = CopyOperator(
        task_id="copy",
        source=LocalFile(file),
        target=tables.table(),
        max_errors=1,
        rejects=LocalFile(rejects),
    )
    result = operator.execute(context(operator))

    assert (result["rows"], result["rejected"]) == (len(ROWS) - 1, 1)
    with rejects.open(newline="") as written:
        [row] = list(csv.DictReader(written))
    assert (row["file"], row["line"], row["column"]) == (str(file), str(BAD), "n")
    assert tables.query("SELECT count(*), max(id) FROM t") == [(len(ROWS) - 1, 300)]
