"""Rows as MySQL sends them, written in a style without a look at each field where that is possible.

A row of the text protocol is a text for each column with its length before it: one byte up to 250, then 0xFB for NULL,
0xFC to 0xFE for lengths of two, three and eight bytes
(https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_dt_integers.html). Where every text is shorter
than 32 bytes and none holds a control character, the lengths are the only bytes below 32: they are where the
delimiters go, and ``bytes.translate`` puts them there. Whether a block is such a one can be told for sure, see
:meth:`Renderer._marked`. Columns that have other texts are taken out of their rows before, and put back after; a block
that is still none of these is split in Python, field by field.
"""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Callable, Iterable, Sequence

from tradewind.hooks.errors import ConnectionFailed, DataError
from tradewind.mysql.packets import Column
from tradewind.mysql.styles import Style

_NULL = 0xFB
_SHORT = 32  # a length below is a control character
_LENGTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}
_OTHERS = bytes(byte for byte in range(256) if byte >= _SHORT and byte != _NULL)
# They stand in no text of UTF-8: for NULL and for the empty text until a block is looked through, between rows, and
# for a value that was taken out.
_NULL_MARK, _EMPTY_MARK, _ROW_MARK, _VALUE_MARK = b"\xfe", b"\xff", b"\xff", b"\xfd"
_IN_PLACE = b"\x01" + _VALUE_MARK
# From one length to the next; beyond the row where the length takes more than a byte.
_STEPS = [*range(1, _NULL + 1), 1, *[1 << 62] * 4]
_CONTROL = re.compile(b"[\0-\x1f]")
# Rows of a block that are looked at to find the columns that other texts stand in.
_LOOK = 100

Convert = Callable[[bytes], bytes]


class Renderer:
    """Writes rows in a style; PostgreSQL's ``COPY`` writes the same bytes for the same texts.

    :param columns: the columns of the rows
    :param style: how to write them
    :param name: where the rows come from, for messages
    :param encoding: a Python codec's name
    """

    def __init__(self, columns: Sequence[Column], style: Style, name: str, encoding: str = "utf-8") -> None:
        self._columns = columns
        self._name = name
        self._count = len(columns)
        self._delimiter, self._null, self._empty = style.delimiter, style.null, style.empty
        self._kept = style.kept
        self._like_null = bool(self._null) and not style.marks_null  # whether a text may be like it
        self._convert = [_converter(column) for column in columns]
        self._special = re.compile(b"[%s]" % re.escape(self._delimiter + style.marks))
        self._marking = re.compile(b"[%s]" % re.escape(style.marks))
        # In a block of plain texts there are no control characters to look for.
        self._visible = [bytes([mark]) for mark in self._delimiter + style.marks if mark >= _SHORT]
        if self._count == 1:
            self._visible.append(b"\\.")
        self._apart = [number for number, convert in enumerate(self._convert) if convert]
        self._table = self._translation()
        utf8 = codecs.lookup(encoding).name in ("utf-8", "ascii")
        self._encoder = None if utf8 else codecs.getincrementalencoder(encoding)()
        self._encoding = encoding
        self._ascii = codecs.lookup(encoding).name == "ascii"

    def header(self) -> bytes:
        """Return the record that names the columns."""
        names = [column.name.encode() for column in self._columns]
        return self._encoded(self._delimiter.join(map(self._field, names)) + b"\n")

    def rows(self, rows: Sequence[bytes]) -> bytes:
        """Write rows.

        :param rows: payloads of packets, one at least
        :raises DataError: where a text is not UTF-8, or cannot be written in the encoding
        """
        made = self._mixed(rows) if self._apart else self._marked(rows)
        if made is None and self._find_apart(rows):
            made = self._mixed(rows)
        if made is None and not any(self._convert):
            made = self._split(rows)
        return self._encoded(made if made is not None else self._careful(rows))

    def _translation(self) -> bytes:
        """What becomes of the bytes before the texts, in a block where they are known."""
        table = bytearray(range(256))
        table[:_SHORT] = self._delimiter * _SHORT
        if self._empty:
            table[0] = 0
        if not self._null:
            table[_NULL] = self._delimiter[0]
        return bytes(table)

    def _marked(self, rows: Sequence[bytes]) -> bytes | None:
        """Write rows whose texts are all short and plain, None where one is not.

        The bytes below 32 and 0xFB ("marks") are as many as the fields, and the lengths that they are add up to the
        size of the block. Then they are the lengths: if one were a character of a text, a field's own length would be
        missing among them, 32 at least, and its place taken by a smaller one: the sum would fall short.
        """
        data = _ROW_MARK.join(rows)
        fields = self._count * len(rows)
        marks = data.translate(None, _OTHERS)
        if len(marks) != fields or data.count(_ROW_MARK) != len(rows) - 1:
            return None
        lengths = sum(marks) - _NULL * marks.count(_NULL)
        if lengths + fields + len(rows) - 1 != len(data):
            return None
        if any(mark in data for mark in self._visible):
            return None
        text = data.translate(self._table)
        if self._like_null and self._has_null(text):
            return None
        if self._empty:
            text = text.replace(b"\0", self._delimiter + self._empty)
        else:
            text = text.replace(bytes([_NULL]), self._delimiter + self._null)
        return text[1:].replace(_ROW_MARK + self._delimiter, b"\n") + b"\n"

    def _has_null(self, text: bytes) -> bool:
        """Say whether a text of a block is the one that stands for NULL."""
        alike = self._delimiter + self._null
        ends = (self._delimiter, bytes([_NULL]), _ROW_MARK)  # what may follow a field
        return text.endswith(alike) or any(alike + end in text for end in ends)

    def _find_apart(self, rows: Sequence[bytes]) -> bool:
        """Look for columns whose texts are long or need quotes; return whether some were found, and not too many."""
        found = set(self._apart)
        for row in rows[:_LOOK]:
            for number, field in enumerate(self._fields(row, _NULL_MARK, _EMPTY_MARK)):
                if len(field) >= _SHORT or self._special.search(field) or _CONTROL.search(field):
                    found.add(number)
        if len(found) == len(self._apart) or len(found) > max(1, self._count // 2):
            return False
        self._apart = sorted(found)
        return True

    def _mixed(self, rows: Sequence[bytes]) -> bytes | None:
        """Write rows whose texts are short and plain but for some columns, None where others are not."""
        short: list[bytes] = []
        values: list[bytes] = []
        steps, gaps = _STEPS, self._gaps()
        try:
            for row in rows:
                kept, begin, position = b"", 0, 0
                for between, convert in gaps:
                    for _ in between:
                        position += steps[row[position]]
                    kept += row[begin:position] + _IN_PLACE
                    length = row[position]
                    position += 1
                    if length == _NULL:
                        values.append(self._null)
                    else:
                        if length > _NULL:
                            width = _LENGTHS[length]
                            length = int.from_bytes(row[position : position + width], "little")
                            position += width
                        field = row[position : position + length]
                        position += length
                        values.append(self._field(convert(field) if convert else field))
                    begin = position
                if begin > len(row):
                    return None
                short.append(kept + row[begin:])
        except (IndexError, KeyError):
            return None
        text = self._marked(short)
        pieces = text.split(_VALUE_MARK) if text is not None else []
        if len(pieces) != len(values) + 1:
            return None
        made = [b""] * (len(pieces) + len(values))
        made[::2], made[1::2] = pieces, values
        return b"".join(made)

    def _gaps(self) -> list[tuple[range, Convert | None]]:
        """Return the columns that are taken out: how many others stand before each, and how its values are written."""
        pairs = itertools.pairwise([-1, *self._apart])
        return [(range(number - last - 1), self._convert[number]) for last, number in pairs]

    def _split(self, rows: Sequence[bytes]) -> bytes | None:
        """Write rows of any texts, None where a byte in them may be no UTF-8, or a text is the dialect's NULL."""
        whole = b"".join(rows)
        if _NULL_MARK in whole or _EMPTY_MARK in whole or (self._like_null and self._null in whole):
            return None
        lines: list[bytes] = []
        special, delimiter, most = self._special.search, self._delimiter, self._count - 1
        join, marking = delimiter.join, self._marking.search
        for row in rows:
            fields = self._fields(row, _NULL_MARK, _EMPTY_MARK)
            line = join(fields)
            if line.count(delimiter) != most or marking(line) or (not most and line == b"\\."):
                line = join([self._kept(field) if special(field) or field == b"\\." else field for field in fields])
            lines.append(line)
        text = b"\n".join(lines) + b"\n"
        return text.replace(_NULL_MARK, self._null).replace(_EMPTY_MARK, self._empty)

    def _careful(self, rows: Sequence[bytes]) -> bytes:
        """Write rows field by field: bytes as hex, texts that are no UTF-8 refused."""
        lines: list[bytes] = []
        for row in rows:
            line: list[bytes] = []
            for column, convert, field in zip(self._columns, self._convert, self._values(row), strict=True):
                if field is None:
                    line.append(self._null)
                elif convert:
                    line.append(self._field(convert(field)))
                else:
                    self._check(field, column)
                    line.append(self._field(field))
            lines.append(self._delimiter.join(line))
        return b"\n".join(lines) + b"\n"

    def _values(self, row: bytes) -> Iterable[bytes | None]:
        null = _Null()
        return [None if field is null else field for field in self._fields(row, null, b"")]

    def _fields(self, row: bytes, null: bytes, empty: bytes) -> list[bytes]:
        """Split a row.

        :param row: the payload of a packet
        :param null: what stands for NULL
        :param empty: what stands for the empty text
        """
        fields: list[bytes] = []
        position, size = 0, len(row)
        while position < size:
            length = row[position]
            position += 1
            if length < _NULL:
                if length:
                    fields.append(row[position : position + length])
                    position += length
                else:
                    fields.append(empty)
            elif length == _NULL:
                fields.append(null)
            else:
                width = _LENGTHS.get(length, size)
                length = int.from_bytes(row[position : position + width], "little")
                position += width
                fields.append(row[position : position + length])
                position += length
        if position != size or len(fields) != self._count:
            raise ConnectionFailed(f"{self._name}: the server sent a row that is none of MySQL's protocol")
        return fields

    def _field(self, text: bytes) -> bytes:
        if not text:
            return self._empty
        if text == self._null or self._special.search(text) or (self._count == 1 and text == b"\\."):
            return self._kept(text)
        return text

    def _check(self, text: bytes, column: Column) -> None:
        try:
            text.decode()
        except UnicodeDecodeError as error:
            wrong = text[error.start : error.start + 4].hex(" ")
            raise DataError(
                f"{self._name}: a text of {column.name} is not UTF-8 (bytes {wrong}): repair it, "
                f"or read it as CAST({column.name} AS BINARY)",
                source=self._name,
                column=column.name,
                value=wrong,
            ) from None

    def _encoded(self, data: bytes) -> bytes:
        if data.isascii() and not self._encoder:
            return data
        try:
            text = data.decode()
            if self._ascii:
                text.encode("ascii")
            return self._encoder.encode(text) if self._encoder else data
        except UnicodeDecodeError as error:
            wrong = error.object[error.start : error.start + 4].hex(" ")
            raise DataError(
                f"{self._name}: a text is not UTF-8 (bytes {wrong})", source=self._name, value=wrong
            ) from None
        except UnicodeEncodeError as error:
            shown = repr(error.object[error.start : error.start + 1])
            raise DataError(
                f"{self._name}: {shown} cannot be written as {self._encoding}: use utf-8",
                source=self._name,
                value=shown,
            ) from None


class _Null(bytes):
    """A value that is no other one, however equal."""


def _converter(column: Column) -> Convert | None:
    if column.is_bit:
        return lambda value: b"%d" % int.from_bytes(value, "big")
    if column.binary:
        return lambda value: b"\\x" + value.hex().encode()
    return None
