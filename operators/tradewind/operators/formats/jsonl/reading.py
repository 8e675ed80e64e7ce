"""JSON lines read as records of CSV."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from tradewind.hooks.errors import DataError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Readable
from tradewind.operators.formats import FileAccess
from tradewind.operators.formats.csv.inference import SAMPLE_RECORDS, kind_of
from tradewind.operators.formats.csv.records import CHUNK, RECORD_LIMIT
from tradewind.operators.formats.csv.rewriting import FieldWriter
from tradewind.operators.formats.csv.transcoding import as_utf8
from tradewind.operators.formats.values import Number, braces, json_text
from tradewind.operators.projection import Projection
from tradewind.operators.types import Arrays, ColumnType, TypeKind, array_of, common, spelling

SAMPLE_BYTES = 4 << 20

Record = dict[str, Any]

# What a text of JSON may be besides a text: a number in quotes stays one.
_TEXT_KINDS: frozenset[TypeKind] = frozenset({"date", "timestamp", "timestamptz", "uuid"})


class _Twice(ValueError):
    """A key stands twice in an object."""


def _unique(pairs: list[tuple[str, Any]]) -> Record:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Twice(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in an object")
    return made


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON: write it as a text")


_DECODER = json.JSONDecoder(
    parse_float=Number, parse_int=Number, parse_constant=_refuse_constant, object_pairs_hook=_unique
)


def _lines(stream: Readable, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the bytes of each line that is not blank, in bounded memory."""
    number = held = 0
    pieces: list[bytes] = []
    while data := stream.read(CHUNK):
        if b"\n" in data:
            *lines, rest = b"".join((*pieces, data)).split(b"\n")
            pieces, held = [rest], len(rest)
            for line in lines:
                number += 1
                if line and not line.isspace():
                    yield number, line
            continue
        pieces.append(data)
        held += len(data)
        if held > RECORD_LIMIT:
            raise DataError(
                f"{name}, line {number + 1:,}: the line does not end within {RECORD_LIMIT:,} bytes: "
                "is the file one JSON text instead of one object on each line?",
                source=name,
                line=number + 1,
            )
    rest = b"".join(pieces)
    if rest and not rest.isspace():
        yield number + 1, rest


def _records(stream: Readable, name: str) -> Iterator[tuple[int, Record]]:
    for number, line in _lines(stream, name):
        yield number, _record(line, name, number)


def _record(line: bytes, name: str, number: int) -> Record:
    where = f"{name}, line {number:,}"
    try:
        value = _DECODER.decode(line.decode())
    except UnicodeDecodeError as error:
        wrong = line[error.start : error.start + 4].hex(" ")
        raise DataError(f"{where}: bytes {wrong} are not UTF-8", source=name, line=number, value=wrong) from error
    except json.JSONDecodeError as error:
        shown = error.doc[error.pos : error.pos + 40]
        raise DataError(
            f"{where} is no JSON: {error.msg.lower()} at character {error.pos + 1:,}: {shown!r}",
            source=name,
            line=number,
            value=shown,
        ) from error
    except RecursionError as error:
        raise DataError(f"{where}: the object is nested too deep", source=name, line=number) from error
    except ValueError as error:
        raise DataError(f"{where}: {error}", source=name, line=number) from error
    if not isinstance(value, dict):
        kind = "a list" if isinstance(value, list) else "a text, number or truth value"
        raise DataError(f"{where} is {kind}: the file must hold one object on each line", source=name, line=number)
    return value


@dataclass(frozen=True)
class Shape:
    """The columns of a file.

    :param columns: their names in order
    :param types: their types, each None where all values of the first records are NULL
    :param chosen: whether they were asked for, so that other keys are left out
    """

    columns: tuple[str, ...]
    types: tuple[ColumnType | None, ...]
    chosen: bool = False

    @classmethod
    def find(
        cls, file: FileAccess, columns: tuple[str, ...] | None, encoding: str, projection: Projection | None = None
    ) -> Shape:
        """Look at the first records of a file.

        :param file: the file
        :param columns: the keys that are wanted, None for all
        :param encoding: a Python codec's name
        :param projection: what will be made of the columns: those that nobody wants are left out
        :raises DataError: where a line is no object, or no record has a key that is wanted
        """
        seen: dict[str, ColumnType | None] = {}
        with contextlib.closing(file.open()) as raw:
            stream = _Limited(as_utf8(raw, encoding, file.name), SAMPLE_BYTES)
            for at, (_, record) in enumerate(_records(stream, file.name)):
                for key, value in record.items():
                    seen[key] = common((seen.get(key), _type(value)))
                if at >= SAMPLE_RECORDS:
                    break
        wanted = columns if columns is not None or projection is None else projection.wanted(tuple(seen))
        names = tuple(seen) if wanted is None else wanted
        return cls(names, tuple(_settled(seen.get(name)) for name in names), wanted is not None)


class _Limited:
    """The whole lines at the head of a stream, one at least."""

    def __init__(self, stream: Readable, limit: int) -> None:
        self._stream, self._left = stream, limit
        self._ended = False

    def read(self, size: int = -1, /) -> bytes:
        data = b"" if self._ended else self._stream.read(size)
        self._left -= len(data)
        if self._left > 0 or b"\n" not in data:
            return data
        self._ended = True
        return data[: data.rfind(b"\n") + 1]

    def close(self) -> None:
        self._stream.close()


def _type(value: Any) -> ColumnType | None:
    if value is None:
        return None
    if isinstance(value, Number):
        kind: TypeKind = kind_of(value)
        return ColumnType(kind if kind in ("bigint", "decimal", "double") else "decimal")
    if isinstance(value, bool):
        return ColumnType("boolean")
    if isinstance(value, str):
        kind = kind_of(value)
        return ColumnType(kind if kind in _TEXT_KINDS else "text")
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        item = common(map(_type, value))
        kinds = {type(each) is str for each in value if each is not None}
        return array_of(item) if item and len(kinds) == 1 else ColumnType("array")
    return ColumnType("json")


def _settled(found: ColumnType | None) -> ColumnType | None:
    """Return a type that can be: a list of which nothing is known but that it is one is JSON."""
    return ColumnType("json") if found and found.kind == "array" and found.item is None else found


class JsonStream:
    """The records of a file as CSV.

    :param file: the file
    :param shape: its columns
    :param encoding: a Python codec's name
    :param dialect: how to write the records
    :param arrays: how to write lists in columns of arrays
    """

    def __init__(self, file: FileAccess, shape: Shape, encoding: str, dialect: CsvDialect, arrays: Arrays) -> None:
        self._name = file.name
        self._raw = file.open()
        self._shape = shape
        self._known = frozenset(shape.columns)
        self._delimiter = dialect.delimiter
        self._null = dialect.null
        self._write = partial(_written, FieldWriter(dialect))
        special = re.escape(dialect.delimiter + dialect.quote)
        self._special = re.compile(f"[{special}\r\n\ud800-\udfff]").search
        self._lists = [
            kind is not None and kind.kind == "array" and spelling(arrays, name) == "braces"
            for name, kind in zip(shape.columns, shape.types, strict=True)
        ]
        self._rendered = self._render(as_utf8(self._raw, encoding, file.name))
        self._rest = b""
        self._count = 0
        self.rows: int | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, none at the end.

        :raises DataError: where a line is no object, or has a key that the first records do not have
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        while not self._rest:
            data = next(self._rendered, None)
            if data is None:
                self.rows = self._count
                return b""
            self._rest = data
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def _render(self, stream: Readable) -> Iterator[bytes]:
        lines: list[str] = []
        held = 0
        for number, record in _records(stream, self._name):
            if not self._shape.chosen and not record.keys() <= self._known:
                self._refuse_key(record, number)
            line = self._delimiter.join(self._fields(record, number))
            lines.append(line)
            held += len(line)
            self._count += 1
            if held >= CHUNK:
                yield ("\n".join(lines) + "\n").encode()
                lines, held = [], 0
        if lines:
            yield ("\n".join(lines) + "\n").encode()

    def _fields(self, record: Record, number: int) -> list[str]:
        get, null, special = record.get, self._null, self._special
        fields: list[str] = []
        for name, as_list in zip(self._shape.columns, self._lists, strict=True):
            value = get(name)
            if value is None:
                fields.append(null)
                continue
            if value is True or value is False:
                text = "t" if value else "f"
            elif isinstance(value, str):
                text = value
            else:
                text = braces(value) if as_list and type(value) is list else json_text(value)
            if not text or text == null or text == "\\." or special(text):
                text = self._careful(text, name, number)
            fields.append(text)
        return fields

    def _careful(self, text: str, name: str, number: int) -> str:
        try:
            return self._write(text)
        except UnicodeEncodeError as error:
            shown = repr(error.object[error.start : error.end])
            raise DataError(
                f"{self._name}, line {number:,}, column {name}: {shown} is half of a character, which no UTF-8 holds",
                source=self._name,
                line=number,
                column=name,
                value=shown,
            ) from error

    def _refuse_key(self, record: Record, number: int) -> None:
        key = next(key for key in record if key not in self._known)
        raise DataError(
            f"{self._name}, line {number:,}: the key {key!r} is in none of the first records: "
            "name all keys as columns=[...]",
            source=self._name,
            line=number,
            column=key,
        )


def _written(write: FieldWriter, text: str) -> str:
    return write(text).decode()
