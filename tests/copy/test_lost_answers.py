"""Calls that S3 did, and whose answers never came: each is made again, and nothing of the first is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.fix_proxy import Faults, Proxy
from tests.stage import LAKE, WAREHOUSE, Stage

SQL = "select n, repeat(md5(n::text), 32) as text from generate_series(1, 20000) n"
"""About 20 MB: three parts."""


@pytest.mark.parametrize("call", ["?uploads", "partNumber=1", "partNumber=2", "POST /", "uploadId", "PUT /"])
def test_a_lost_answer_leaves_no_second_upload(
    call: str,
    stage: Stage,
    faulty: Callable[[str, Faults, int], Proxy],
    connection: Callable[..., str],
    context: Callable[..., Any],
) -> None:
    from tradewind.amazon.s3.files import S3File
    from tradewind.operators.copy import CopyOperator
    from tradewind.postgres.tables import PostgresQuery

    proxy = faulty(stage.endpoint, Faults(), 0)
    for name, value in replace(stage, endpoint=proxy.url).connections().items():
        connection(name.removeprefix("AIRFLOW_CONN_"), value)
    operator = CopyOperator(
        task_id="unload",
        source=PostgresQuery(SQL, conn_id=WAREHOUSE),
        target=S3File(f"s3://{stage.bucket}/out/lost.csv", conn_id=LAKE),
    )
    proxy.lose = call

    result = operator.execute(context(operator))

    client = stage.client()
    assert (result["rows"], proxy.made["drops"]) == (20_000, 1)
    assert client.head_object(Bucket=stage.bucket, Key="out/lost.csv")["ContentLength"] == result["bytes"]
    assert client.list_multipart_uploads(Bucket=stage.bucket).get("Uploads", []) == []
