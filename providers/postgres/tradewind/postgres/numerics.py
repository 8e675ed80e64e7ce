"""Decimals of pyarrow as PostgreSQL's numeric in binary: digits to the base of 10,000 (numeric.c, ``numeric_recv``).

All values of a batch get as many digits: the server drops the zeros before and after them.
"""

from __future__ import annotations

from array import array
from typing import Any

from tradewind.operators.formats.parquet.arrow import constant, pyarrow
from tradewind.postgres.encoding import Encode, Pieces, big_endian, dealt, pieces, values

_BASE = 10_000
_DIGITS = 4
_NEGATIVE = 0x4000
_HEAD = 4
"""The words of a numeric before its digits: their number, the weight of the first one, the sign, the scale."""
_LONG = (1 << 63) - 1


def numerics(scale: int) -> Encode:
    """Return what encodes decimals, and whole numbers as such of no scale.

    :param scale: digits after the point
    """
    after = -(-scale // _DIGITS)
    padding = after * _DIGITS - scale

    def encode(column: Any) -> Pieces:
        pa = pyarrow()
        unscaled = column.cast(pa.int64()) if pa.types.is_integer(column.type) else _small(column)
        if unscaled is not None and _reach(unscaled) <= _LONG // 10**padding:
            negative, digits = _split(unscaled, 10**padding)
        else:
            negative, digits = _cut(column, padding)
        digits += [array("h", bytes(2 * len(column)))] * (after + 1 - len(digits))  # at least one before the point
        return _fields(column, negative, digits[::-1], after, scale)

    return encode


def _small(column: Any) -> Any:
    """Return the digits of decimals as whole numbers, None where one has too many of them."""
    pa = pyarrow()
    pc = pa.compute
    words = memoryview(values(column)).cast("q")
    low, high = (_from_words(column, array("q", words[half::2])) for half in (0, 1))
    fits = pc.all(pc.equal(high, pc.shift_right(low, constant(63, "int64")))).as_py()
    return low if fits is not False else None


def _from_words(column: Any, words: array[int]) -> Any:
    pa = pyarrow()
    valid = pa.compute.is_valid(column).buffers()[1] if column.null_count else None
    return pa.Array.from_buffers(pa.int64(), len(column), [valid, pa.py_buffer(words)])


def _reach(unscaled: Any) -> int:
    found = pyarrow().compute.min_max(unscaled)
    return max(-(found["min"].as_py() or 0), found["max"].as_py() or 0)


def _split(unscaled: Any, factor: int) -> tuple[Any, list[array[int]]]:
    """Return which numbers are negative, and their digits, the last ones first."""
    pa = pyarrow()
    pc = pa.compute
    rest, left = pc.multiply(pc.abs(unscaled), constant(factor, "int64")), _reach(unscaled) * factor
    found, base = [], constant(_BASE, "int64")
    while left:
        above = pc.divide(rest, base)
        digits = pc.subtract(rest, pc.multiply(above, base))
        found.append(big_endian("h", values(digits.cast(pa.int16(), safe=False))))
        rest, left = above, left // _BASE
    return pc.less(unscaled, constant(0, "int64")), found


def _cut(column: Any, padding: int) -> tuple[Any, list[array[int]]]:
    """Do the same for numbers of any length, by way of their texts."""
    pa = pyarrow()
    pc = pa.compute
    whole = column if pa.types.is_integer(column.type) else _unscaled(column)
    texts = pc.fill_null(whole.cast(pa.string()), constant("0", "string"))
    negative = pc.starts_with(texts, "-")
    plain = pc.binary_join_element_wise(
        pc.utf8_ltrim(texts, "-"), constant("0" * padding, "string"), constant("", "string")
    )
    width = -(-(pc.max(pc.binary_length(plain)).as_py() or 0) // _DIGITS) * _DIGITS
    even = pc.utf8_lpad(plain, width, "0")
    found = [
        big_endian("h", values(pc.utf8_slice_codeunits(even, start, start + _DIGITS).cast(pa.int16())))
        for start in range(0, width, _DIGITS)
    ]
    return negative, found[::-1]


def _unscaled(column: Any) -> Any:
    """Return decimals without their point."""
    pa = pyarrow()
    kind = pa.decimal128(38, 0) if pa.types.is_decimal128(column.type) else pa.decimal256(76, 0)
    return pa.Array.from_buffers(kind, len(column), column.buffers(), column.null_count, column.offset)


def _fields(column: Any, negative: Any, digits: list[array[int]], after: int, scale: int) -> Pieces:
    """Put numbers together.

    :param digits: the first ones first
    :param after: how many of them are after the point
    """
    pc = pyarrow().compute
    rows, count = len(column), len(digits)
    head = array("h", [0, 2 * (_HEAD + count), count, count - after - 1])
    head = big_endian("h", head.tobytes())
    positive = constant(0, "int16")
    signs = pc.if_else(negative, constant(_NEGATIVE, "int16"), positive).fill_null(positive)
    scales = big_endian("h", array("h", [scale]).tobytes()) * rows
    words = [big_endian("h", values(signs)), scales, *digits]
    made = dealt(head, words.__getitem__, len(words), rows)
    return [pieces(column, memoryview(made).cast("B"), 4 + 2 * (_HEAD + count))]
