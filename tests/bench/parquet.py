"""The flights as a Parquet object, written and looked at by pyarrow itself."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

from tests.flights import NULL

ROW_GROUP = 122_880
"""Rows of a row group, as DuckDB writes them."""


def upload(client: Any, file: Path, bucket: str, key: str) -> None:
    """Write the CSV as Parquet, and put it there.

    :param client: of S3
    :param file: the CSV
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    convert = pa.csv.ConvertOptions(null_values=[NULL], strings_can_be_null=True)
    reader = pa.csv.open_csv(file, convert_options=convert)
    with tempfile.TemporaryFile() as made:
        writer = pa.parquet.ParquetWriter(made, reader.schema, compression="zstd")
        held: list[Any] = []
        for batch in reader:
            held.append(batch)
            if sum(each.num_rows for each in held) >= ROW_GROUP:
                writer.write_table(pa.Table.from_batches(held), row_group_size=ROW_GROUP)
                held = []
        if held:
            writer.write_table(pa.Table.from_batches(held), row_group_size=ROW_GROUP)
        writer.close()
        made.seek(0)
        client.upload_fileobj(made, bucket, key)


def rows_of(client: Any, bucket: str, key: str) -> int:
    """Return the rows of a Parquet object."""
    import pyarrow.parquet as pq

    body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return int(pq.ParquetFile(io.BytesIO(body)).metadata.num_rows)
