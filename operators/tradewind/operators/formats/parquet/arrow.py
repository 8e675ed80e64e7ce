"""``pyarrow``, imported when it is needed, and what its types are between the ends of a copy."""

from __future__ import annotations

from array import array
from functools import cache
from typing import Any

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.types import TEXT, ColumnType, array_of


def pyarrow() -> Any:
    """Import pyarrow.

    :raises InvalidArgument: where it is not installed
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise InvalidArgument(
            "Parquet needs the package pyarrow: install tradewind[parquet], or use CSV or JSON lines"
        ) from error
    return pyarrow


@cache
def constant(value: int | str | bytes, kind: str) -> Any:
    """Return a scalar of pyarrow.

    Whatever makes one of a Python value, ``pyarrow.scalar`` and each function that is given a plain value, imports
    pandas where that is installed: 45 MB, and half a second of CPU.

    :param value: what it holds
    :param kind: the name of its type: ``int16``, ``int32``, ``int64``, ``string``, ``large_string``, ``binary``
    """
    pa = pyarrow()
    typecode = {"int16": "h", "int32": "i", "int64": "q"}.get(kind)
    if isinstance(value, int):
        buffers = [None, pa.py_buffer(array(typecode or "q", [value]))]
    else:
        data = value.encode() if isinstance(value, str) else value
        ends = array("q" if kind.startswith("large_") else "i", [0, len(data)])
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(data)]
    return pa.Array.from_buffers(getattr(pa, kind)(), 1, buffers)[0]


def nothing(kind: Any) -> Any:
    """Return the scalar that is NULL.

    :param kind: its type in pyarrow
    """
    return pyarrow().nulls(1, kind)[0]


def as_binary(column: Any, *, large: bool = False) -> Any:
    """Cast an array of bytes or texts to ``binary``.

    :param column: the array
    :param large: whether to cast to ``large_binary``
    """
    pa = pyarrow()
    if column.offset and pa.types.is_fixed_size_binary(column.type):
        # pyarrow 16, which Airflow 2.10's constraints have, reads beyond the memory of a slice: copy it.
        column = pa.concat_arrays([column, column.slice(0, 0)])
    return column.cast(pa.large_binary() if large else pa.binary())


def column_type(kind: Any, *, uuid: bool = False) -> ColumnType:
    """Return the type of a column of Parquet.

    :param kind: its type in pyarrow
    :param uuid: whether the file says that its bytes are UUIDs, which an older pyarrow does not show
    """
    pa = pyarrow()
    is_type = pa.types
    if uuid:
        return ColumnType("uuid")
    if isinstance(kind, pa.BaseExtensionType):
        named = {"arrow.uuid": "uuid", "arrow.json": "json", "arrow.bool8": "boolean"}.get(kind.extension_name)
        return ColumnType(named) if named else column_type(kind.storage_type)  # type: ignore[arg-type]
    if is_type.is_dictionary(kind):
        return column_type(kind.value_type)
    if is_type.is_decimal(kind):
        return ColumnType("decimal", max(kind.precision, kind.scale), max(kind.scale, 0))
    if is_type.is_timestamp(kind):
        return ColumnType("timestamptz" if kind.tz else "timestamp")
    if is_type.is_nested(kind):
        return _nested(pa, kind)
    return _PLAIN.get(str(kind), TEXT) if not is_type.is_fixed_size_binary(kind) else ColumnType("bytes")


def _nested(pa: Any, kind: Any) -> ColumnType:
    is_type = pa.types
    views = [getattr(is_type, name) for name in ("is_list_view", "is_large_list_view") if hasattr(is_type, name)]
    lists = (is_type.is_list, is_type.is_large_list, is_type.is_fixed_size_list, *views)
    if not any(is_list(kind) for is_list in lists):
        return ColumnType("json")
    item = column_type(kind.value_type)
    return ColumnType("json") if item.kind in ("json", "array") else array_of(item)


_PLAIN: dict[str, ColumnType] = {
    "bool": ColumnType("boolean"),
    "int8": ColumnType("smallint"),
    "int16": ColumnType("smallint"),
    "int32": ColumnType("integer"),
    "int64": ColumnType("bigint"),
    "uint8": ColumnType("smallint"),
    "uint16": ColumnType("integer"),
    "uint32": ColumnType("bigint"),
    "uint64": ColumnType("decimal", 20, 0),
    "halffloat": ColumnType("real"),
    "float": ColumnType("real"),
    "double": ColumnType("double"),
    "date32[day]": ColumnType("date"),
    "date64[ms]": ColumnType("date"),
    "time32[s]": ColumnType("time"),
    "time32[ms]": ColumnType("time"),
    "time64[us]": ColumnType("time"),
    "time64[ns]": ColumnType("time"),
    "binary": ColumnType("bytes"),
    "large_binary": ColumnType("bytes"),
    "binary_view": ColumnType("bytes"),
    "duration[s]": ColumnType("interval"),
    "duration[ms]": ColumnType("interval"),
    "duration[us]": ColumnType("interval"),
    "duration[ns]": ColumnType("interval"),
}
