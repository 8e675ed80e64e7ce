"""Columns of pyarrow made such that its writer of CSV writes them as :mod:`tradewind.operators.types` says.

All is vectorised but for lists, structs and maps, which no function of pyarrow writes as a text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

from tradewind.hooks.errors import DataError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.formats.parquet.arrow import as_binary, constant, nothing, pyarrow
from tradewind.operators.formats.parquet.reading import MOST_ROWS
from tradewind.operators.formats.values import braces, json_text, scalar_text
from tradewind.operators.types import Arrays, ColumnType, Spelling, spelling

Render = Callable[[Any], Any]
"""Takes an array of pyarrow, returns another one."""


class ArrowColumns(Protocol):
    """The columns of batches that come one after the other."""

    @property
    def name(self) -> str:
        """What is read, for messages."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""

    @property
    def types(self) -> tuple[ColumnType, ...]:
        """Their types between the ends."""

    @property
    def schema(self) -> Any:
        """What they are in pyarrow."""


class CsvWriter:
    """Writes batches as records of CSV.

    :param opened: the columns of what they come from
    :param dialect: how to write the records
    :param arrays: how to write lists
    """

    def __init__(self, opened: ArrowColumns, dialect: CsvDialect, arrays: Arrays) -> None:
        pa = pyarrow()
        self._name, self._columns = opened.name, opened.columns
        self._records = 0
        self._renders: list[Render] = [
            renderer(opened.schema.field(name).type, kind, spelling(arrays, name))
            for name, kind in zip(opened.columns, opened.types, strict=True)
        ]
        options = {"include_header": False, "delimiter": dialect.delimiter, "batch_size": MOST_ROWS}
        self._quoted = pa.csv.WriteOptions(quoting_style="needed", **options)
        self._bare = pa.csv.WriteOptions(quoting_style="none", **options)

    def __call__(self, batch: Any) -> bytes:
        """Write a batch; where no text needs quotes there are none, which databases read faster.

        :param batch: the next one
        :raises DataError: where a value has no text that keeps it
        """
        pa = pyarrow()
        made = pa.record_batch(self._rendered(batch), names=list(self._columns))
        self._records += batch.num_rows
        if len(made.columns) > 1 and not any(_has_empty(pa, column) for column in made.columns):
            sink = pa.BufferOutputStream()
            with contextlib.suppress(pa.ArrowInvalid):  # a text that needs quotes
                pa.csv.write_csv(made, sink, self._bare)
                return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]
        sink = pa.BufferOutputStream()
        pa.csv.write_csv(made, sink, self._quoted)
        return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]

    def _rendered(self, batch: Any) -> list[Any]:
        pa = pyarrow()
        made = []
        for name, render, column in zip(self._columns, self._renders, batch.columns, strict=True):
            try:
                made.append(render(column))
            except (pa.ArrowException, ValueError, TypeError) as error:
                raise self._refused(name, render, column, error) from error
        return made

    def _refused(self, name: str, render: Render, column: Any, error: Exception) -> DataError:
        """Find the value that has no text."""
        pa = pyarrow()
        for index in range(len(column)):
            try:
                render(column.slice(index, 1))
            except (pa.ArrowException, ValueError, TypeError):
                shown_value = str(column.cast(pa.int64())[index]) if pa.types.is_temporal(column.type) else ""
                number = self._records + index + 1
                return DataError(
                    f"{self._name}, record {number:,}, column {name}: {error}",
                    source=self._name,
                    line=number,
                    column=name,
                    value=shown_value or None,
                )
        return DataError(f"{self._name}, column {name}: {error}", source=self._name, column=name)


def _has_empty(pa: Any, column: Any) -> bool:
    """Say whether a column holds an empty text, which without quotes would be NULL."""
    kinds = pa.types
    if not (kinds.is_string(column.type) or kinds.is_large_string(column.type)):
        return False
    return bool(pa.compute.min(pa.compute.binary_length(column)).as_py() == 0)


def renderer(kind: Any, column: ColumnType, spelling: Spelling) -> Render:
    """Return what makes a column ready to be written.

    :param kind: its type in pyarrow
    :param column: its type between the ends
    :param spelling: how arrays are written
    """
    pa = pyarrow()
    if pa.types.is_dictionary(kind):
        plain = renderer(kind.value_type, column, spelling)
        return lambda array: plain(array.dictionary_decode())
    if isinstance(kind, pa.BaseExtensionType):
        stored = _uuids if column.kind == "uuid" else renderer(kind.storage_type, column, spelling)
        return lambda array: stored(array.storage)
    if column.kind == "array":
        return lambda array: _texts(array, braces if spelling == "braces" else json_text)
    if column.kind == "json" and pa.types.is_nested(kind):
        return lambda array: _texts(array, json_text)
    special: dict[str, Render] = {
        "bytes": _hex,
        "uuid": _uuids,
        "decimal": _decimals,
        "real": _floats,
        "double": _floats,
        "date": lambda array: array.cast(pa.date32()),
        "time": lambda array: array.cast(pa.time64("us")),
        "timestamp": lambda array: array.cast(pa.timestamp("us")),
        "timestamptz": _moments,
        "interval": lambda array: _texts(array, scalar_text),
        "boolean": lambda array: array.cast(pa.bool_()),
    }
    return special.get(column.kind, _as_it_is)


def _as_it_is(array: Any) -> Any:
    pa = pyarrow()
    return array.cast(pa.string()) if str(array.type) in ("string_view", "null") else array


def _moments(array: Any) -> Any:
    """Write moments in UTC; pyarrow takes thirty times as long for one with a zone."""
    pa = pyarrow()
    local = array.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
    return pa.compute.binary_join_element_wise(
        local.cast(pa.string()), constant("+00", "string"), constant("", "string")
    )


def _texts(array: Any, write: Callable[[Any], str | None]) -> Any:
    pa = pyarrow()
    maps = pa.types.is_map(array.type)
    values = (None if value is None else write(dict(value) if maps else value) for value in array.to_pylist())
    return pa.array(values, pa.string())


def _floats(array: Any) -> Any:
    pa = pyarrow()
    pc = pa.compute
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    if pc.all(pc.is_finite(array)).as_py() is not False:
        return array
    texts = array.cast(pa.string())
    for word, text in (("nan", "NaN"), ("-nan", "NaN"), ("inf", "Infinity"), ("-inf", "-Infinity")):
        found = pc.equal(texts, constant(word, "string"))
        texts = pc.if_else(found, constant(text, "string"), texts)
    return texts


def _decimals(array: Any) -> Any:
    """Write decimals without the exponent that small ones get."""
    pa = pyarrow()
    if not pa.types.is_decimal(array.type):
        return array
    texts = array.cast(pa.string())
    if not pa.compute.any(pa.compute.match_substring(texts, "E")).as_py():
        return texts
    return pa.array((text and format(Decimal(text), "f") for text in texts.to_pylist()), pa.string())


def _hex(array: Any, mark: str = "\\x") -> Any:
    """Write bytes as hex digits: those of all values at once, then the offsets doubled."""
    pa = pyarrow()
    pc = pa.compute
    valid, whole = pc.is_valid(array), pc.fill_null(as_binary(array, large=True), constant(b"", "large_binary"))
    _, offsets, data = whole.buffers()
    size = len(whole)
    ends = pa.Array.from_buffers(pa.int64(), size + 1, [None, offsets], offset=whole.offset)
    digits = memoryview(data)[ends[0].as_py() : ends[size].as_py()].hex().encode() if data is not None else b""
    doubled = pc.multiply(pc.subtract(ends, ends[0]), constant(2, "int64"))
    texts = pa.LargeStringArray.from_buffers(size, doubled.buffers()[1], pa.py_buffer(digits))
    marked = pc.binary_join_element_wise(constant(mark, "large_string"), texts, constant("", "large_string"))
    return pc.if_else(valid, marked, nothing(pa.large_string()))


def _uuids(array: Any) -> Any:
    pa = pyarrow()
    pc = pa.compute
    digits = _hex(as_binary(array), "")
    pieces = [pc.utf8_slice_codeunits(digits, *cut) for cut in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))]
    return pc.binary_join_element_wise(*pieces, constant("-", "large_string"))
