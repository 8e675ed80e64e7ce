# ruff: noqa: S608 (the author's own query)
"""Reading tables and queries of Redshift: the warehouse unloads them to S3, and their objects are read from there.

Source: "UNLOAD" of the Amazon Redshift Database Developer Guide.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import math
import re
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tradewind.amazon.redshift.column_types import Described
from tradewind.amazon.redshift.marking import rendered
from tradewind.amazon.redshift.quoting import authorization, option
from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.hooks.libpq.names import listed, quoted
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part, Readable
from tradewind.operators.formats.csv.records import CHUNK
from tradewind.operators.projection import Output, Projection
from tradewind.operators.statements import words
from tradewind.operators.tables.unloads import RowsReading
from tradewind.operators.types import Arrays, TypeKind

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tradewind.amazon.redshift.sessions import Session
    from tradewind.amazon.redshift.staging import Staging
    from tradewind.operators.files.storage import StoredFile

_MARK = re.compile(r"%(%|\((\w+)\)s|s)")
# Kinds of the casts that a projection may ask for, as Redshift writes their types.
_CASTS: dict[TypeKind, str] = {
    "double": "double precision",
    "text": "varchar(65535)",
    "json": "varchar(65535)",
    "uuid": "varchar(36)",
    "decimal": "numeric",
}


@dataclass(frozen=True)
class Unloaded:
    """What an UNLOAD has written.

    :param files: the objects, in order
    :param rows: how many rows they hold together
    """

    files: tuple[StoredFile, ...]
    rows: int


class QueryReading(RowsReading):
    """The rows of a query, which runs when they are asked for.

    :param open_session: opens a session
    :param name: what is read, for messages
    :param sql: the query, its values in it
    :param projection: which columns are wanted, and what becomes of them
    """

    def __init__(
        self,
        open_session: Callable[[], AbstractContextManager[Session]],
        name: str,
        sql: str,
        projection: Projection | None = None,
    ) -> None:
        self._open_session = open_session
        self._name = name
        self._sql = sql
        self._projection = projection

    @property
    def fingerprint(self) -> str:
        """The text of the query: the rows cannot be known before they are read."""
        what = [self._name, self._sql]
        return json.dumps([*what, repr(self._projection)] if self._projection else what)

    def parts(self, dialect: CsvDialect | None = None, *, arrays: Arrays = "braces") -> Iterator[Part]:
        """Yield the one part that a query has, in the dialect that is asked for."""
        asked = dialect or CsvDialect()
        with self._open_session() as session:
            described = session.columns(self._sql)
            query = (
                self._sql if self._projection is None else projected(self._sql, described, self._projection, self._name)
            )
            if query is not self._sql:
                described = session.columns(query)
            session.rollback()
        columns = tuple(column.name for column in described)
        types = tuple(column.type for column in described)
        if codecs.lookup(asked.encoding).name not in ("utf-8", "ascii"):
            raise InvalidArgument(f"{self._name}: rows of Redshift are written as utf-8, not as {asked.encoding}")
        yield Part(self._name, lambda: self.opened(query, described, asked), asked, columns, types=types)

    @abstractmethod
    def opened(self, query: str, described: Sequence[Described], asked: CsvDialect) -> Readable:
        """Run the query.

        :param query: the query, projected
        :param described: its columns
        :param asked: how the rows are to be written
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of what is left of the query."""


class RedshiftReading(QueryReading):
    """The rows of a query, unloaded when they are asked for.

    :param open_session: opens a session
    :param staging: where the objects lie in between
    :param name: what is read, for messages
    :param sql: the query, its values in it
    :param iam_role: the role by which the warehouse writes
    :param region: where the objects go, empty for the warehouse's own region
    :param projection: which columns are wanted, and what becomes of them
    """

    def __init__(
        self,
        open_session: Callable[[], AbstractContextManager[Session]],
        staging: Staging,
        name: str,
        sql: str,
        iam_role: str,
        region: str = "",
        projection: Projection | None = None,
    ) -> None:
        super().__init__(open_session, name, sql, projection)
        self._staging = staging
        self._iam_role = iam_role
        self._region = region
        self._began = False
        self._done: Unloaded | None = None
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._mark = f"@null-{hashlib.sha256(staging.url.encode()).hexdigest()[:16]}@"

    def opened(self, query: str, described: Sequence[Described], asked: CsvDialect) -> Readable:
        """Unload the rows, and open them."""
        written = CsvDialect(null=self._mark, header=False)
        columns = tuple(column.name for column in described)
        return rendered(Part(self._name, lambda: self._open(query, described, written), written, columns), asked)

    def cancel(self) -> None:
        """Stop the UNLOAD in the warehouse."""
        if self._session is not None:
            self._session.cancel()

    def close(self) -> None:
        """Delete the objects, and those of an older try whose UNLOAD ran on in the warehouse after its worker's end."""
        if self._began:
            self._staging.remove()
            self._staging.sweep()

    def _open(self, query: str, described: Sequence[Described], written: CsvDialect) -> _Objects:
        with self._lock, self._staging.taken_over():
            if self._done is None:
                self._done = self._unload(query, described, written)
        return _Objects(self._staging, self._done)

    def _unload(self, query: str, described: Sequence[Described], written: CsvDialect) -> Unloaded:
        serially = " PARALLEL OFF" if ordered(self._sql) else ""
        statement = unload_statement(
            readable(query, described),
            f"{self._staging.url}rows-",
            self._iam_role,
            f" FORMAT AS CSV NULL AS {option(written.null)} GZIP{serially} MANIFEST VERBOSE",
            self._region,
        )
        self._staging.sweep()
        self._began = True
        with self._open_session() as session:
            self._session = session
            try:
                session.execute("SET timezone TO 'UTC'")
                session.execute(statement)
                rows = int(session.query("SELECT pg_last_unload_count()")[0][0])
            except DataError as error:
                error.source = error.source or self._name
                raise
            finally:
                self._session = None
        return self._found(rows)

    def _found(self, rows: int) -> Unloaded:
        """Read the manifest, and find the objects as it says they are."""
        storage = self._staging.storage()
        url = f"{self._staging.url}rows-manifest"
        self._staging.wrote(url)
        stream = storage.read(storage.find(url))
        try:
            manifest = json.loads(stream.read())
        finally:
            stream.close()
        self._staging.wrote(*(entry["url"] for entry in manifest["entries"]))
        files = [storage.find(entry["url"]) for entry in manifest["entries"]]
        told = int(manifest["meta"]["record_count"])
        sizes = [int(entry["meta"]["content_length"]) for entry in manifest["entries"]]
        if told != rows or sizes != [file.size for file in files]:
            raise DataError(f"{self._name}: UNLOAD wrote {rows:,} rows, its manifest tells of {told:,}: {url}")
        return Unloaded(tuple(files), rows)


class _Objects:
    """The bytes of several objects, one after the other.

    :param staging: where they are
    :param unloaded: the objects
    """

    def __init__(self, staging: Staging, unloaded: Unloaded) -> None:
        self._staging = staging
        self._storage = staging.storage()
        self._waiting = list(unloaded.files)
        self._unloaded = unloaded
        self._stream: Any = None
        self.rows: int | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        with self._staging.taken_over():
            return self._read(size)

    def _read(self, size: int) -> bytes:
        while True:
            if self._stream is None:
                if not self._waiting:
                    self.rows = self._unloaded.rows
                    return b""
                self._stream = self._storage.read(self._waiting.pop(0), compression="gzip")
            data: bytes = self._stream.read(size)
            if data:
                return data
            self._stream.close()
            self._stream = None

    def close(self) -> None:
        """Close the object that is being read."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def unload_statement(query: str, to: str, iam_role: str, options: str, region: str = "") -> str:
    """Write an UNLOAD; no credential is in it, but the name of a role.

    :param query: what is unloaded
    :param to: how the URLs of the objects begin
    :param iam_role: ``default``, or the ARNs of roles
    :param options: how the objects are written
    :param region: where they go, empty for the warehouse's own region
    :raises InvalidArgument: where the query cannot be quoted
    """
    if "$$" in query:
        raise InvalidArgument("the query holds $$, between which UNLOAD wants it: write its texts with single quotes")
    place = f" REGION {option(region)}" if region else ""
    return f"UNLOAD ($$\n{query}\n$$) TO {option(to)} {authorization(iam_role)}{options}{place}"


def readable(query: str, described: Sequence[Described]) -> str:
    """Return a query whose values are written as the other ends read them.

    :param query: what is unloaded
    :param described: its columns
    """
    if not any(column.type.kind == "json" for column in described):
        return query
    names = [quoted(f"c{number}") for number in range(len(described))]
    shown = [
        f"{'JSON_SERIALIZE(' + alias + ')' if column.type.kind == 'json' else alias} AS {quoted(column.name)}"
        for alias, column in zip(names, described, strict=True)
    ]
    return f"SELECT {', '.join(shown)} FROM (\n{query}\n) AS q ({', '.join(names)})"


def ordered(query: str) -> bool:
    """Say whether a query orders its rows: slices that write at once would not keep the order.

    :param query: SQL
    """
    depth, before = 0, ""
    for word in words(query):
        depth += (word == "(") - (word == ")")
        if not depth and (before, word) == ("ORDER", "BY"):
            return True
        before = word
    return False


def projected(query: str, described: Sequence[Described], projection: Projection, name: str) -> str:
    """Return a query that gives the columns that are wanted.

    :param query: the query
    :param described: its columns
    :param projection: which are wanted, and what becomes of them
    :param name: the query, for messages
    """
    outputs = projection.resolve(tuple(column.name for column in described), name)
    aliases = listed([f"c{number}" for number in range(1, len(described) + 1)])  # two columns may have one name
    shown = ", ".join(f"{_column(output)} AS {quoted(output.name)}" for output in outputs)
    return f"SELECT {shown} FROM (\n{query}\n) AS q ({aliases})"


def _column(output: Output) -> str:
    if output.field is None:
        return "NULL::varchar" if output.value is None else f"{literal(output.value)}::varchar"
    alias = quoted(f"c{output.index + 1}")
    cast = output.cast
    if cast is None:
        return alias
    if cast.kind == "bytes":
        raise InvalidArgument(f"column {output.name!r}: Redshift casts nothing to bytes that a file could hold")
    kind = _CASTS.get(cast.kind, cast.kind)
    if cast.kind == "decimal":
        kind = f"numeric({cast.precision}, {cast.scale or 0})" if cast.precision else "numeric(38, 18)"
    return f"{alias}::{kind}"


def literal(text: str) -> str:
    """Quote a text as a value in SQL; a backslash, which not every server reads alike, is written by its number.

    :param text: any text without NUL
    """
    pieces = [option(piece) for piece in text.split("\\")]
    return pieces[0] if len(pieces) == 1 else f"({' || CHR(92) || '.join(pieces)})"


def with_values(sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None) -> str:
    """Return a query with its values in it, for UNLOAD binds none.

    :param sql: the query, with ``%s`` or ``%(name)s``; without values it stays as it is
    :param parameters: the values
    :raises InvalidArgument: where they do not match, or one has no notation
    """
    if not parameters:
        return sql
    named = parameters if isinstance(parameters, Mapping) else None
    waiting = [] if named is not None else list(parameters)

    def put(found: re.Match[str]) -> str:
        if found[1] == "%":
            return "%"
        if found[2] is not None:
            if named is None or found[2] not in named:
                raise InvalidArgument(f"parameters: there is no value for %({found[2]})s")
            return _value(found[2], named[found[2]])
        if not waiting:
            raise InvalidArgument("parameters: sql has more %s than there are values")
        return _value("%s", waiting.pop(0))

    text = _MARK.sub(put, sql)
    if waiting:
        raise InvalidArgument(f"parameters: sql has {len(waiting)} %s less than there are values")
    return text


def _value(name: str, value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | Decimal) or (isinstance(value, float) and math.isfinite(value)):
        return f"({value})" if value < 0 else format(value, "f") if isinstance(value, Decimal) else repr(value)
    if isinstance(value, str | date | time):
        return literal(str(value))
    raise InvalidArgument(f"parameters: {name} is a {type(value).__name__}, for which SQL has no notation here")
