"""``COPY INTO`` a location: objects that are written to the real S3, as the manual has them."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import io
import re
import uuid
from typing import Any

from tests.snowflake.service import copying
from tests.snowflake.service.external import NAME, OUTSIDE, Failed, text, whole

_COPY = re.compile(
    rf"\s*copy\s+into\s+(?:@(?P<stage>{NAME})/(?P<path>\S*)|(?P<quoted>'(?:[^'\\]|\\.)*'))\s+from\s+\(\n(?P<query>.*)\n\)"
    r"(?:\s+partition\s+by\s+\((?P<by>.*)\))?\s+file_format\s*=\s*\((?P<format>.*?)\)"
    r"(?:\s+max_file_size\s*=\s*(?P<most>\d+))?\s+(?P<which>include_query_id|single)\s*=\s*true\s+"
    r"detailed_output\s*=\s*true\s+header\s*=\s*(?P<header>true|false)\s*;?\s*",
    re.I | re.S,
)
_ENDS = {"GZIP": ".gz", "BZ2": ".bz2", "ZSTD": ".zst", "NONE": ""}
ANSWER = ("FILE_NAME", "FILE_SIZE", "ROW_COUNT")


def unload(connection: Any, sql: str) -> list[tuple[Any, ...]] | None:
    """Write the objects; None for what is no such statement.

    :return: of each its name below the location, its bytes and its rows
    """
    found = _COPY.fullmatch(sql)
    if found is None:
        return None
    name, path = found["stage"], found["path"]
    if name is None:
        name, _, path = text(found["quoted"])[1:].partition("/")
    stage = OUTSIDE.stages[whole(name, connection)]
    options = copying.read_options(found["format"])
    single = found["which"].lower() == "single"
    if single and found["by"]:
        raise Failed("002242", "42601", "SINGLE = TRUE is not supported with PARTITION BY.")
    by = found["by"] or "''"
    cursor = connection.cursor()
    cursor.execute(f'SELECT *, {by} AS "_FOLDER" FROM (\n{found["query"]}\n)')
    table = cursor._arrow_table
    folders = table.column("_FOLDER").to_pylist()
    table = table.drop_columns(["_FOLDER"])
    answer: list[tuple[Any, ...]] = []
    id = uuid.uuid4()
    for folder in dict.fromkeys(folders):
        rows = table.take([at for at, each in enumerate(folders) if each == folder])
        # Several threads write at once.
        half = rows.num_rows if single or rows.num_rows < 2 else (rows.num_rows + 1) // 2
        for number, start in enumerate(range(0, rows.num_rows, half)):
            part = rows.slice(start, half)
            data, end = _data(part, options, header=found["header"].lower() == "true")
            below = "" if single else f"{folder}{'/' if folder else ''}data_{id}_0_{number}_0{end}"
            OUTSIDE.write(f"{stage.url}{path}{below}", data)
            answer.append((below or path.rpartition("/")[2], len(data), part.num_rows))
    return answer


def _data(table: Any, options: dict[str, str], *, header: bool) -> tuple[bytes, str]:
    if options["TYPE"] == "PARQUET":
        import pyarrow.parquet as pq

        file = io.BytesIO()
        pq.write_table(table, file, compression="snappy")
        return file.getvalue(), ".snappy.parquet"
    between, null = options["FIELD_DELIMITER"], options["NULL_IF"]
    lines = [between.join(f'"{name}"' for name in table.column_names)] if header else []
    columns = [column.to_pylist() for column in table.columns]
    lines += [between.join(_field(value, null) for value in row) for row in zip(*columns, strict=True)]
    data = "".join(f"{line}\n" for line in lines).encode()
    kind = options["COMPRESSION"]
    if kind == "ZSTD":
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data)
        return sink.getvalue().to_pybytes(), ".csv.zst"
    packed = gzip.compress(data) if kind == "GZIP" else bz2.compress(data) if kind == "BZ2" else data
    return packed, f".csv{_ENDS[kind]}"


def _field(value: Any, null: str) -> str:
    if value is None:
        return null
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, dt.time):
        return value.strftime("%H:%M:%S.%f")
    return '"' + value.replace('"', '""') + '"' if isinstance(value, str) else str(value)
