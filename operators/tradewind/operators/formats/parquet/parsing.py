"""Blocks of CSV as columns of pyarrow: read by its parser, which is vectorised, and told apart where one is bad."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from tradewind.operators.formats.csv.records import Block, Scanner
from tradewind.operators.formats.parquet.arrow import constant, nothing, pyarrow
from tradewind.operators.formats.typed import Input
from tradewind.operators.formats.values import Number
from tradewind.operators.types import ColumnType

_MOST_DIGITS = 38
"""Of a decimal that all readers of Parquet know."""
_DIGITS_256 = 76
_TRUE, _FALSE = ["t", "true", "1", "True", "TRUE"], ["f", "false", "0", "False", "FALSE"]
_OFFSET = re.compile(r"(?:Z|[+-]\d\d(?::?\d\d)?)\Z")

Finish = Callable[[Any], Any]
"""Takes what the parser read, a chunked array, and returns what is stored."""


def arrow_type(kind: ColumnType) -> Any:
    """Return the type that a column is stored as.

    :param kind: its type between the ends; a decimal has a precision
    """
    pa = pyarrow()
    if kind.kind == "decimal":
        precision, scale = kind.precision or _MOST_DIGITS, kind.scale or 0
        return pa.decimal128(precision, scale) if precision <= _MOST_DIGITS else pa.decimal256(precision, scale)
    if kind.kind == "array":
        return pa.list_(arrow_type(_bounded(kind.item)))
    named = {"uuid": "uuid", "json": "json_"}.get(kind.kind, "")
    if hasattr(pa, named):
        return getattr(pa, named)()
    plain = {
        "boolean": pa.bool_(),
        "smallint": pa.int16(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
        "real": pa.float32(),
        "double": pa.float64(),
        "date": pa.date32(),
        "time": pa.time64("us"),
        "timestamp": pa.timestamp("us"),
        "timestamptz": pa.timestamp("us", "UTC"),
        "bytes": pa.binary(),
    }
    return plain.get(kind.kind, pa.string())


def _bounded(kind: ColumnType | None) -> ColumnType:
    if kind is not None and kind.kind == "decimal" and kind.precision is None:
        return ColumnType("text")  # the digits of elements that nobody bounds
    return kind or ColumnType("text")


def settled(kinds: Sequence[ColumnType], names: Sequence[str], first: Any) -> tuple[ColumnType, ...]:
    """Give decimals without a precision one: the scale is the largest of the first records.

    :param kinds: the types between the ends
    :param names: the columns
    :param first: the first records, as texts
    """
    return tuple(
        _with_scale(first.column(name)) if kind.kind == "decimal" and kind.precision is None else kind
        for kind, name in zip(kinds, names, strict=True)
    )


def _with_scale(texts: Any) -> ColumnType:
    pa = pyarrow()
    pc = pa.compute
    point = pc.find_substring(texts, ".")
    length = pc.utf8_length(texts)
    zero, one = constant(0, "int32"), constant(1, "int32")
    is_whole = pc.less(point, zero)
    scale = pc.max(pc.if_else(is_whole, zero, pc.subtract(pc.subtract(length, point), one))).as_py() or 0
    whole = pc.max(pc.if_else(is_whole, length, point)).as_py() or 0
    wide = whole + scale > _MOST_DIGITS
    return ColumnType(
        "decimal", _DIGITS_256 if wide else _MOST_DIGITS, min(scale, _DIGITS_256 if wide else _MOST_DIGITS)
    )


class Parser:
    """Parses the blocks of one input.

    :param given: the input
    :param kinds: the types of its columns, decimals with a precision; None to read all as texts
    """

    def __init__(self, given: Input, kinds: Sequence[ColumnType] | None) -> None:
        pa = pyarrow()
        self._given = given
        self._kinds = tuple(kinds or ())
        typed = list(zip(given.names, self._kinds, strict=False))
        dialect = given.source.dialect
        self.schema = pa.schema([(name, arrow_type(kind)) for name, kind in typed])
        doubled = dialect.escape_char == dialect.quote
        self._parse = pa.csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote,
            double_quote=doubled,
            escape_char=False if doubled else dialect.escape_char,
            newlines_in_values=True,
        )
        self._read_options = pa.csv.ReadOptions(column_names=list(given.names), block_size=1 << 30, use_threads=False)
        read = [_parsed_as(kind) for kind in self._kinds] or [pa.string() for _ in given.names]
        self._finish = [_finisher(kind) for kind in self._kinds] or [_same for _ in given.names]
        self._types = dict(zip(given.names, read, strict=True))
        self._moments = [name for name, kind in typed if kind.kind == "timestamptz"]
        self._zones_known = not self._moments
        self._null = dialect.null
        self._convert = self._options()

    def parse(self, block: Block) -> Any:
        """Return a block's records as a table.

        :param block: whole records
        :raises DataError: where a record is none of its columns, with its place, column and value
        """
        pa = pyarrow()
        try:
            return self._table(block.data)
        except (pa.ArrowException, ValueError) as error:
            self._refuse(block, error)
            raise  # not one record by itself

    def _options(self) -> Any:
        return pyarrow().csv.ConvertOptions(
            column_types=self._types,
            null_values=[self._null],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=_TRUE,
            false_values=_FALSE,
            check_utf8=True,
        )

    def _raw(self, data: bytes) -> Any:
        return pyarrow().csv.read_csv(pyarrow().BufferReader(data), self._read_options, self._parse, self._convert)

    def _table(self, data: bytes) -> Any:
        pa = pyarrow()
        if not self._zones_known:
            self._find_zones(data)
        table = self._raw(data)
        if not self._kinds:
            return table
        columns = [finish(column) for finish, column in zip(self._finish, table.columns, strict=True)]
        return pa.table(columns, schema=self.schema)

    def _find_zones(self, data: bytes) -> None:
        """See whether moments come with an offset, which the parser must know: without one they are in UTC."""
        pa = pyarrow()
        seen = {name: self._types[name] for name in self._moments}
        self._types |= dict.fromkeys(seen, pa.string())
        self._convert = self._options()
        table = self._raw(data)
        for name in self._moments:
            value = next((text for text in table.column(name).to_pylist() if text), None)
            zoned = value is None or _OFFSET.search(value, 11) is not None
            self._types[name] = pa.timestamp("us", "UTC") if zoned else pa.timestamp("us")
            self._zones_known = self._zones_known or value is not None
        self._convert = self._options()

    def _refuse(self, block: Block, error: Exception) -> None:
        """Halve the records until the bad one is found."""
        source = self._given.source
        records = list(Scanner(source.dialect).records(block.data, source.line_end))
        low, high = 0, len(records)
        while high - low > 1:
            middle = (low + high) // 2
            if self._fails(b"".join(records[low:middle])):
                high = middle
            else:
                low = middle
        fault = self._fails(records[low]) if records else None
        if fault is None:
            return
        at = self._column(records[low])
        if at is None:
            text = str(fault).split("CSV parse error: ")[-1].splitlines()[0]
            self._given.refuse(block, low, None, text)
        name, kind, value = self._given.names[at[0]], self._kinds[at[0]], at[1]
        self._given.refuse(block, low, name, f"{value[:60]!r} is no {kind}{_instead(kind, value)}", value)

    def _fails(self, data: bytes) -> Exception | None:
        try:
            self._table(data)
        except (pyarrow().ArrowException, ValueError) as error:
            return error
        return None

    def _column(self, record: bytes) -> tuple[int, str] | None:
        """Return which column of a bad record is bad, and its text; None where the record is no CSV."""
        plain = Parser(self._given, None)
        if plain._fails(record):
            return None
        row = plain._table(record)
        for at, (name, finish) in enumerate(zip(self._given.names, self._finish, strict=True)):
            text = row.column(name)[0].as_py()
            if text is None:
                continue
            alone = pyarrow().csv.ConvertOptions(
                column_types={"x": self._types[name]}, true_values=_TRUE, false_values=_FALSE, null_values=[]
            )
            quoted = '"' + text.replace('"', '""') + '"\n'
            options = pyarrow().csv.ReadOptions(column_names=["x"])
            parse = pyarrow().csv.ParseOptions(newlines_in_values=True)
            try:
                finish(pyarrow().csv.read_csv(io.BytesIO(quoted.encode()), options, parse, alone).column(0))
            except (pyarrow().ArrowException, ValueError):
                return at, text
        return None


def _instead(kind: ColumnType, value: str) -> str:
    if kind.kind != "decimal":
        return ""
    if value in ("NaN", "Infinity", "-Infinity"):
        return ": Parquet's decimals have no such value"
    return ": cast it to a numeric with enough digits, or to text"


def _parsed_as(kind: ColumnType) -> Any:
    """Return what the parser makes of a column; the rest is done by :func:`_finisher`."""
    pa = pyarrow()
    stored = arrow_type(kind)
    texts = ("bytes", "uuid", "json", "array")
    if kind.kind in texts or pa.types.is_decimal256(stored):
        return pa.string()
    return stored


def _same(column: Any) -> Any:
    return column


def _finisher(kind: ColumnType) -> Finish:
    pa = pyarrow()
    stored = arrow_type(kind)
    if kind.kind == "array":
        return _lists(kind, stored)
    if kind.kind == "bytes":
        return lambda column: _bytes(column, 2)
    if kind.kind == "uuid" and not pa.types.is_string(stored):
        return lambda column: _uuids(column, stored)
    if kind.kind == "json" and isinstance(stored, pa.BaseExtensionType):
        return lambda column: pa.ExtensionArray.from_storage(stored, _one(column).cast(stored.storage_type))
    if kind.kind == "timestamptz" or pa.types.is_decimal256(stored):
        return lambda column: column.cast(stored)
    return _same


def _one(column: Any) -> Any:
    """Return the chunks of a column as one array."""
    pa = pyarrow()
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _bytes(column: Any, skip: int) -> Any:
    """Read hex digits: those of all values at once, then the offsets halved.

    :param skip: characters before the digits
    """
    pa = pyarrow()
    pc = pa.compute
    texts = _one(column)
    valid = pc.is_valid(texts)
    if skip and not pc.all(pc.or_kleene(pc.starts_with(texts, "\\x"), pc.is_null(texts))).as_py():
        raise ValueError("bytes begin with \\x")
    digits = pc.fill_null(pc.utf8_slice_codeunits(texts, skip), constant("", "string")).cast(pa.large_string())
    one, two = constant(1, "int64"), constant(2, "int64")
    if pc.any(pc.equal(pc.bit_wise_and(pc.binary_length(digits), one), one)).as_py():
        raise ValueError("bytes have two digits each")
    _, offsets, data = digits.buffers()
    size = len(digits)
    ends = pa.Array.from_buffers(pa.int64(), size + 1, [None, offsets], offset=digits.offset)
    text = bytes(memoryview(data)[ends[0].as_py() : ends[size].as_py()]) if data is not None else b""
    plain = bytes.fromhex(text.decode())
    halved = pc.divide(pc.subtract(ends, ends[0]), two)
    made = pa.LargeBinaryArray.from_buffers(pa.large_binary(), size, [None, halved.buffers()[1], pa.py_buffer(plain)])
    return pc.if_else(valid, made, nothing(pa.large_binary())).cast(pa.binary())


def _uuids(column: Any, stored: Any) -> Any:
    pa = pyarrow()
    pc = pa.compute
    plain = _bytes(pc.replace_substring(_one(column), "-", ""), 0).cast(pa.binary(16))
    return pa.ExtensionArray.from_storage(stored, plain)


def _lists(kind: ColumnType, stored: Any) -> Finish:
    pa = pyarrow()
    decoder = json.JSONDecoder(parse_float=Number, parse_int=Number)
    moment = arrow_type(_bounded(kind.item))
    read = str if pa.types.is_string(moment) else _ELEMENTS.get(_bounded(kind.item).kind, str)

    def element(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, list | dict) and read is not str:
            raise ValueError("a list within a list")
        return read(value)

    def finish(column: Any) -> Any:
        rows = [
            None if text is None else [element(item) for item in decoder.decode(text)] for text in column.to_pylist()
        ]
        if pa.types.is_temporal(moment):
            flat = pa.array([item for row in rows if row for item in row], pa.string()).cast(moment)
            items = iter(flat.to_pylist())
            rows = [None if row is None else [next(items) for _ in row] for row in rows]
        return pa.array(rows, stored)

    return finish


_ELEMENTS: dict[str, Callable[[Any], Any]] = {
    "boolean": bool,
    "smallint": int,
    "integer": int,
    "bigint": int,
    "real": float,
    "double": float,
    "decimal": Decimal,
    "bytes": lambda text: bytes.fromhex(text[2:]),
    "uuid": lambda text: bytes.fromhex(text.replace("-", "")),
}
