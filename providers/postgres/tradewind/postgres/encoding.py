"""Arrays of pyarrow as the fields of PostgreSQL's binary COPY: each value's length, then the value, big end first.

All is vectorised by pyarrow and by the standard library's arrays, whose bytes are swapped and dealt out in C; a list
of the pieces of each field comes out, which one call of pyarrow joins to records. What a value is in the server's
binary format, its own functions say (``int4recv``, ``timestamptz_recv``, ``numeric_recv`` ... in PostgreSQL's source).
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from functools import cache
from typing import Any

from tradewind.operators.formats.parquet.arrow import as_binary, constant, pyarrow

Pieces = list[Any]
"""Arrays of binary, one after the other in each record; a NULL has its mark in the first one and nothing after it."""

Encode = Callable[[Any], Pieces]
"""Takes an array of pyarrow; raises an ArrowException or a ValueError where a value must not go this way."""

NULL = b"\xff\xff\xff\xff"
"""What stands in place of a length for NULL; the arrays have NULL there."""

_SWAPPED = sys.byteorder == "little"
_EPOCH_DAYS = 10957
_EPOCH = _EPOCH_DAYS * 86_400_000_000
"""From 1970 to 2000, where PostgreSQL's time begins (timestamp.h, POSTGRES_EPOCH_JDATE)."""
_FIRST_DAY, _LAST_DAY = -719162, 2932896
"""0001-01-01 and 9999-12-31: what lies beyond goes as a text, for the server to say what it thinks of it."""
_DAY = 86_400_000_000


def big_endian(typecode: str, data: Any) -> array[int]:
    """Return numbers in the order of bytes that the server reads.

    :param typecode: of the numbers, as :class:`array.array` names it
    :param data: their bytes in this machine's order
    """
    made = array(typecode)
    made.frombytes(data)
    if _SWAPPED:
        made.byteswap()
    return made


def values(column: Any) -> memoryview:
    """Return the bytes of the values of a column whose values have one width.

    :param column: an array of pyarrow
    """
    width = column.type.bit_width // 8
    return memoryview(column.buffers()[1])[column.offset * width : (column.offset + len(column)) * width]


def pieces(column: Any, data: Any, width: int) -> Any:
    """Return bytes as an array, NULL where a column is NULL.

    :param column: the column
    :param data: the bytes of all rows
    :param width: those of each row
    """
    pa = pyarrow()
    valid = pa.compute.is_valid(column).buffers()[1] if column.null_count else None
    made = [valid, _offsets(len(column), width), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(column), made)


@cache
def _offsets_of(rows: int, width: int) -> Any:
    return pyarrow().py_buffer(memoryview(array("i", range(0, (rows + 1) * width, width))))


def _offsets(rows: int, width: int) -> Any:
    """Return where each of the rows begins, remembered for the number of rows of a usual batch."""
    return _offsets_of(-(-rows // 4096) * 4096, width)


def dealt(head: array[int], columns: Callable[[int], array[int]], count: int, rows: int) -> array[int]:
    """Return rows of words: the same head in each, then one word of each column.

    :param head: the words that all rows begin with
    :param columns: returns the words of a column, one for each row
    :param count: how many columns there are
    """
    width = len(head) + count
    made = (head + array(head.typecode, bytes(count * head.itemsize))) * rows
    for number in range(count):
        made[len(head) + number :: width] = columns(number)
    return made


def fixed(column: Any, data: Any, size: int) -> Pieces:
    """Return the fields of values that all have one size.

    :param column: tells the NULLs
    :param data: the values, big end first
    :param size: bytes of each
    """
    typecode = {1: "B", 2: "H"}.get(size, "I")
    words = array(typecode)
    words.frombytes(memoryview(data).cast("B"))
    each = size // words.itemsize
    length = array(typecode)
    length.frombytes(size.to_bytes(4, "big"))
    made = dealt(length, lambda number: words[number::each], each, len(column))
    return [pieces(column, memoryview(made).cast("B"), 4 + size)]


def integers(bits: int) -> Encode:
    """Return what encodes whole numbers, and refuses those that the server's type has no room for.

    :param bits: 16, 32 or 64
    """

    def encode(column: Any) -> Pieces:
        pa = pyarrow()
        cast = column.cast({16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[bits])
        return fixed(column, big_endian({16: "h", 32: "i", 64: "q"}[bits], values(cast)), bits // 8)

    return encode


def floats(bits: int) -> Encode:
    """Return what encodes floating-point numbers.

    :param bits: 32 or 64
    """

    def encode(column: Any) -> Pieces:
        pa = pyarrow()
        cast = column.cast(pa.float32() if bits == 32 else pa.float64())
        return fixed(column, big_endian("f" if bits == 32 else "d", values(cast)), bits // 8)

    return encode


def booleans(column: Any) -> Pieces:
    """Encode truth values."""
    pa = pyarrow()
    return fixed(column, values(column.cast(pa.bool_()).cast(pa.uint8())), 1)


def dates(column: Any) -> Pieces:
    """Encode days."""
    pa = pyarrow()
    days = column.cast(pa.date32()).view(pa.int32())
    _within(days, _FIRST_DAY, _LAST_DAY)
    return fixed(column, big_endian("i", values(pa.compute.subtract(days, constant(_EPOCH_DAYS, "int32")))), 4)


def times(column: Any) -> Pieces:
    """Encode times of day."""
    pa = pyarrow()
    since = column.cast(pa.time64("us")).view(pa.int64())
    _within(since, 0, _DAY - 1)
    return fixed(column, big_endian("q", values(since)), 8)


def moments(column: Any) -> Pieces:
    """Encode moments, those with a zone and those without."""
    pa = pyarrow()
    since = column.cast(pa.timestamp("us", column.type.tz)).view(pa.int64())
    _within(since, _FIRST_DAY * _DAY, (_LAST_DAY + 1) * _DAY - 1)
    return fixed(column, big_endian("q", values(pa.compute.subtract(since, constant(_EPOCH, "int64")))), 8)


def uuids(column: Any) -> Pieces:
    """Encode UUIDs."""
    pa = pyarrow()
    return fixed(column, values(column.cast(pa.binary(16))), 16)


def texts(column: Any) -> Pieces:
    """Encode texts and bytes: their lengths, then they themselves."""
    pa = pyarrow()
    plain = _plain(column)
    lengths = pa.compute.binary_length(plain)
    return [pieces(column, memoryview(big_endian("i", values(lengths))).cast("B"), 4), _without_nulls(plain)]


def documents(column: Any) -> Pieces:
    """Encode JSON for ``jsonb``, whose format has a version before the text."""
    pa = pyarrow()
    plain = _plain(column)
    longer = pa.compute.add(pa.compute.binary_length(plain), constant(1, "int32"))
    lengths = memoryview(big_endian("i", values(longer))).cast("B")
    heads = array("B", [0, 0, 0, 0, 1]) * len(column)
    for byte in range(4):
        heads[byte::5] = array("B", bytes(lengths[byte::4]))
    return [pieces(column, memoryview(heads), 5), _without_nulls(plain)]


def _plain(column: Any) -> Any:
    """Return texts or bytes of any kind as binary."""
    pa = pyarrow()
    if pa.types.is_null(column.type) or str(column.type) == "string_view":
        column = column.cast(pa.string())
    return as_binary(column)


def _without_nulls(plain: Any) -> Any:
    return plain.fill_null(constant(b"", "binary")) if plain.null_count else plain


def _within(column: Any, least: int, most: int) -> None:
    found = pyarrow().compute.min_max(column)
    low, high = found["min"].as_py(), found["max"].as_py()
    if low is not None and not (least <= low and high <= most):
        raise ValueError("a day or a time that PostgreSQL's text format is to judge")
