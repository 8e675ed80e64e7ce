"""S3File with columns and constants: what comes out of it, joined into one file or told apart by its fingerprint."""

from __future__ import annotations

import io
import pickle
import random
from contextlib import closing
from typing import Any

import pytest

from tests.fix_copies import WORK, MemoryFiles, copy, drain
from tests.services import pyarrow
from tradewind.amazon.s3.files import S3File
from tradewind.amazon.s3.hooks import S3Hook
from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.operators.copy import CopyOperator
from tradewind.operators.files.reading import FileReading
from tradewind.operators.formats.csv.records import open_csv
from tradewind.operators.projection import FILE_NAME, Constant, Field


@pytest.fixture
def url(s3_hook: S3Hook, bucket: str) -> str:
    """Return where two files are; the connection is there."""
    s3_hook.put(bucket, "in/a.csv", b"id,name,n\n1,a,1\n2,,2")
    s3_hook.put(bucket, "in/b.csv", b"n,id,name\n3,3,c\n")
    return f"s3://{bucket}/"


def test_files_of_other_orders_become_one(url: str) -> None:
    source = S3File(
        f"{url}in/*.csv",
        columns={"id": Field("key", type="bigint"), "name": "who"},
        constants={"day": "2026-01-02", "file": FILE_NAME},
    )
    result = copy(source, S3File(f"{url}out.csv"))

    assert drain(S3File(f"{url}out.csv")).decode() == (
        f"key,who,day,file\n1,a,2026-01-02,{url}in/a.csv\n2,,2026-01-02,{url}in/a.csv\n3,c,2026-01-02,{url}in/b.csv\n"
    )
    assert result.plan == f"streamed to {url}out.csv"


def test_a_single_file_is_renamed_without_a_look_at_its_records(url: str) -> None:
    columns = {"id": "key", "name": "who", "n": "n"}
    copy(S3File(f"{url}in/a.csv", columns=columns), S3File(f"{url}out.csv"))
    assert drain(S3File(f"{url}out.csv")) == b"key,who,n\n1,a,1\n2,,2"


def test_of_parquet_only_the_chosen_columns_are_fetched(s3_hook: S3Hook, bucket: str, url: str) -> None:
    some = random.Random(2013)
    wide = pyarrow().table({"wide": [some.randbytes(300) for _ in range(2_000)], "id": range(2_000)})
    file = io.BytesIO()
    pyarrow().parquet.write_table(wide, file)
    s3_hook.put(bucket, "in/c.parquet", file.getvalue())
    source = S3File(f"{url}in/c.parquet", columns={"id": Field("key", type="text")}, constants={"file": FILE_NAME})
    with source.open(WORK) as reading:
        [part] = reading.parts()
        with closing(open_csv(part)) as records:
            assert records.stream.read(1 << 20).startswith(f"0,{url}in/c.parquet\n1,".encode())
        assert isinstance(reading, FileReading)
        assert reading.read_bytes < 140_000 < 600_000 < reading.total_bytes  # the footer twice


def test_a_list_names_the_fields_and_constants_follow(url: str) -> None:
    source = S3File(f"{url}in/a.csv", columns=["a", "b", "c"], header=True, constants={"d": 4})
    copy(source, S3File(f"{url}out.csv"))
    assert drain(S3File(f"{url}out.csv")) == b"a,b,c,d\n1,a,1,4\n2,,2,4\n"


def test_a_failure_leaves_no_file(s3_hook: S3Hook, bucket: str, url: str) -> None:
    with pytest.raises(DataError, match=r"a.csv, line 2, column name: 'a' is no integer"):
        copy(S3File(f"{url}in/a.csv", columns={"name": Field("n", "integer")}), S3File(f"{url}out.csv"))
    assert not s3_hook.exists(bucket, "out.csv")


def test_all_of_it_is_part_of_the_fingerprint(url: str) -> None:
    found = set()
    declared: list[dict[str, Any]] = [
        {},
        {"columns": {"id": "a"}},
        {"columns": {"id": "b"}},
        {"columns": {"id": Field("a", "text")}},
        {"columns": {"id": "a"}, "constants": {"x": "1"}},
        {"columns": {"id": "a"}, "constants": {"x": "2"}},
        {"columns": {"id": "a"}, "constants": {"x": FILE_NAME}},
    ]
    for how in declared:
        with pickle.loads(pickle.dumps(S3File(f"{url}in/a.csv", **how))).open(WORK) as reading:
            found.add(reading.fingerprint)
    assert len(found) == len(declared)


def test_templates_are_rendered_and_targets_have_no_columns_of_their_own(context: Any) -> None:
    constants: dict[str, Constant] = {"day": "{{ ds }}", "file": FILE_NAME, "n": 1}
    source = S3File("s3://b/{{ ds }}.csv", columns={"a": Field("b", "date")}, constants=constants)
    task = CopyOperator(task_id="copy", source=source, target=S3File("s3://b/out.csv"))
    task.render_template_fields({"ds": "2026-01-02"})

    assert task.source.constants == {"day": "2026-01-02", "file": FILE_NAME, "n": 1}  # type: ignore[attr-defined]
    assert task.source.columns == {"a": Field("b", "date")}  # type: ignore[attr-defined]
    for target in (S3File("s3://b/k", columns={"a": "b"}), S3File("s3://b/k", constants={"a": 1})):
        with pytest.raises(InvalidArgument, match=r"columns= and constants= are the source's: take them off S3File"):
            CopyOperator(task_id="copy", source=MemoryFiles(), target=target)
    with pytest.raises(InvalidArgument, match="constants must be a dict"):
        S3File("s3://b/k", constants=["a"]).check()  # type: ignore[arg-type]
