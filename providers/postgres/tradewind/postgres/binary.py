"""Records that come as columns, sent in the binary format of COPY, which costs the server less than any text.

Only what means the same in both formats goes this way: the types of a file and of a table have to fit each other
exactly, and where a value does not, all goes as a text, so that the server names the record and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tradewind.operators.ends import Batches
from tradewind.operators.formats.parquet.arrow import constant, pyarrow
from tradewind.operators.types import ColumnType
from tradewind.postgres.catalog import Column
from tradewind.postgres.encoding import (
    NULL,
    Encode,
    booleans,
    dates,
    documents,
    floats,
    integers,
    moments,
    texts,
    times,
    uuids,
)
from tradewind.postgres.numerics import numerics

HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Signature, flags, and the length of an extension that there is none of."""

_WHOLE = ("smallint", "integer", "bigint")
_MOMENTS = ("timestamp without time zone", "timestamp with time zone")
_TEXTS = ("text", "character varying", "bpchar", "json")

_ENCODERS: dict[str, dict[str, Encode]] = {
    "boolean": {"boolean": booleans},
    **{kind: {"smallint": integers(16), "integer": integers(32), "bigint": integers(64)} for kind in _WHOLE},
    "real": {"real": floats(32)},
    "double": {"double precision": floats(64)},
    "date": {"date": dates},
    "time": {"time without time zone": times},
    "timestamp": dict.fromkeys(_MOMENTS, moments),
    "timestamptz": dict.fromkeys(_MOMENTS, moments),
    "text": {**dict.fromkeys(_TEXTS, texts), "jsonb": documents},
    "json": {"json": texts, "jsonb": documents},
    "bytes": {"bytea": texts},
    "uuid": {"uuid": uuids},
}
"""By the kind of a column of the file, and by the type of the table's column."""


class Unfit(ValueError):
    """A value that has to go as a text."""


class BinaryWriter:
    """Writes batches as records of the binary format.

    :param encoders: one for each column
    """

    def __init__(self, encoders: Sequence[Encode]) -> None:
        self._encoders = encoders
        self._count = constant(len(encoders).to_bytes(2, "big"), "binary")

    def __call__(self, batch: Any) -> bytes:
        """Write a batch.

        :param batch: of pyarrow
        :raises Unfit: where a value must not go this way
        """
        pa = pyarrow()
        fields: list[Any] = []
        try:
            for encode, column in zip(self._encoders, batch.columns, strict=True):
                fields += encode(column)
            records = pa.compute.binary_join_element_wise(
                self._count, *fields, constant(b"", "binary"), null_handling="replace", null_replacement=NULL
            )
        except (pa.ArrowException, ValueError, OverflowError) as error:
            raise Unfit(str(error)) from error
        return records.buffers()[2].to_pybytes()  # type: ignore[no-any-return]


def binary_writer(
    batches: Batches, types: Sequence[ColumnType | None] | None, columns: Sequence[Column]
) -> BinaryWriter | None:
    """Return what writes a source's batches for columns of a table, None where a type has no way but a text.

    :param batches: the source
    :param types: the types of its columns between the ends
    :param columns: the table's columns, one for each of the source
    """
    if types is None or not columns:
        return None
    found = [
        None if kind is None else _encoder(field.type, kind, column)
        for field, kind, column in zip(batches.schema, types, columns, strict=True)
    ]
    encoders = [encode for encode in found if encode is not None]
    return BinaryWriter(encoders) if len(encoders) == len(found) else None


def _encoder(stored: Any, kind: ColumnType, column: Column) -> Encode | None:
    """Return what encodes a column.

    :param stored: its type in pyarrow
    :param kind: its type between the ends
    :param column: where it goes
    """
    pa = pyarrow()
    if pa.types.is_dictionary(stored):
        return _of_inner(_encoder(stored.value_type, kind, column), lambda array: array.dictionary_decode())
    if isinstance(stored, pa.BaseExtensionType):
        return _of_inner(_encoder(stored.storage_type, kind, column), lambda array: array.storage)
    if pa.types.is_nested(stored):
        return None
    if column.base == "numeric":
        return _number(stored, kind)
    return _ENCODERS.get(kind.kind, {}).get(column.base)


def _of_inner(encode: Encode | None, inner: Callable[[Any], Any]) -> Encode | None:
    return None if encode is None else lambda array: encode(inner(array))


def _number(stored: Any, kind: ColumnType) -> Encode | None:
    pa = pyarrow()
    if pa.types.is_decimal128(stored) and stored.scale >= 0:
        return numerics(stored.scale)
    return numerics(0) if kind.kind in _WHOLE else None
