"""What fakesnow's server lacks or does otherwise than the service, mended in place."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.snowflake.service.external import OUTSIDE


def apply(s3: str | None) -> None:
    """Mend fakesnow, once for the process.

    :param s3: where S3 is
    """
    import fakesnow.arrow
    import fakesnow.server
    import pyarrow as pa
    import pyarrow.compute as pc

    to_struct = fakesnow.arrow.timestamp_to_sf_struct

    def keep_nulls(column: Any) -> Any:
        # 0.12.1 loses NULLs of timestamps: they came back as 1970-01-01.
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        if not column.null_count:
            return to_struct(column)
        zero = pa.scalar(0, pa.int64()).cast(column.type)
        made = to_struct(pc.fill_null(column, zero))
        parts = [made.field(number) for number in range(made.type.num_fields)]
        return pa.StructArray.from_arrays(parts, fields=list(made.type), mask=pc.is_null(column))

    fakesnow.arrow.timestamp_to_sf_struct = keep_nulls
    write = fakesnow.server._write_bucket_file

    def write_compressed(path: str, body: bytes) -> str | None:
        # Connector 5 uploads the compressed file under the uncompressed name.
        name = path + ".gz" if body[:2] == b"\x1f\x8b" and not path.endswith(".gz") else path
        found: str | None = write(name, body)
        return found

    fakesnow.server._write_bucket_file = write_compressed
    stage_info = fakesnow.server.gcs_stage_info

    def signed(*given: Any) -> dict[str, Any]:
        # Connector 5 checks that the presigned URL allows the headers of its conditional upload.
        info: dict[str, Any] = stage_info(*given)
        headers = "content-encoding;host;x-goog-if-generation-match;x-goog-meta-encryptiondata;x-goog-meta-matdesc"
        info["presignedUrl"] += f"?X-Goog-SignedHeaders={headers};x-goog-meta-sfc-digest".replace(";", "%3B")
        return info | {"region": "us-central1", "storageAccount": None}

    fakesnow.server.gcs_stage_info = signed
    _exact_bindings()
    OUTSIDE.s3 = s3
    if s3:
        import s3fs

        files = s3fs.S3FileSystem(
            key="test",
            secret="test",
            endpoint_url=s3,
            client_kwargs={"region_name": "us-east-1"},
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        fakesnow.server.shared_fs.duck_conn.register_filesystem(files)


def _exact_bindings() -> None:
    """Read numbers with a fraction, and NULL, among the values of a request."""
    import fakesnow.server

    plain = fakesnow.server.from_binding

    def exact(binding: dict[str, Any]) -> Any:
        kind, value = binding["type"], binding["value"]
        if value is None:
            return None
        if kind == "FIXED" and not str(value).lstrip("-").isdigit():
            return Decimal(value)
        return float(value) if kind == "REAL" else plain(binding)

    fakesnow.server.from_binding = exact
