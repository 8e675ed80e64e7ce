"""COPY, carried out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from tests.redshift.standin.commands import Command, Refusal
from tests.redshift.standin.objects import LoadError, Quoted, Record, objects, records, unpacked
from tests.redshift.standin.wire import error_fields

if TYPE_CHECKING:
    from tests.redshift.standin.server import Session

_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_COPY_LINE = re.compile(r"line (\d+)(?:, column ([^:]+))?")
_NO_UTF_8 = re.compile("[\udc80-\udcff]")
_TEXTS = ("character varying", "character", "text", "bpchar", "varchar")


class Loaded(NamedTuple):
    """What a load did: rows that are loaded, and records that are left out."""

    rows: int
    refused: int


class _Refusals:
    """The records that a load refuses: it fails at the number that MAXERROR says, at the first without one."""

    def __init__(self, session: Session, asked: Command) -> None:
        self._session = session
        self._most = max(asked.options.get("maxerror", 0), 1)
        self._text = f"Load into table '{asked.table}' failed. Check 'sys_load_error_detail' system table for details."
        self.count = 0

    def add(self, error: LoadError) -> None:
        """Keep an error.

        :raises Refusal: where it is one too many
        """
        _record(self._session, error)
        self.count += 1
        if self.count >= self._most:
            raise Refusal(self._text) from None

    def fail(self, error: LoadError) -> NoReturn:
        """Keep an error after which nothing can be loaded."""
        _record(self._session, error)
        raise Refusal(self._text) from None


def load(session: Session, asked: Command) -> Loaded:
    """Load objects into a table, each by a COPY of the server behind.

    :raises Refusal: where too much does not fit; it is in the load errors' tables then
    """
    types = _types(session, asked)
    refusals = _Refusals(session, asked)
    rows = 0
    for bucket, key in objects(session.server.s3, asked):
        url = f"s3://{bucket}/{key}"
        data = session.server.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        lines: list[tuple[int, str]] = []
        try:
            for found in records(unpacked(data, asked.options.get("compression"), url), url, asked, list(types)):
                try:
                    if isinstance(found, LoadError):
                        raise found
                    lines.append((found.line, _line(found, url, types, asked)))
                except LoadError as error:
                    refusals.add(error)
        except LoadError as error:
            refusals.fail(error)
        rows += _copied(session, asked, url, types, lines, refusals)
    return Loaded(rows, refusals.count)


def _copied(
    session: Session, asked: Command, url: str, types: dict[str, str], lines: list[tuple[int, str]], refusals: _Refusals
) -> int:
    """Load what could be read; what the server behind refuses is left out, and the rest tried again."""
    quoted = ", ".join(f'"{name}"' for name in types)
    session.backend.must("SAVEPOINT standin_object")
    while True:
        feed = "".join(text for _, text in lines).encode()
        answer = session.backend.run(f"COPY {asked.table} ({quoted}) FROM STDIN (FORMAT text)", feed)
        if answer.error is None:
            session.backend.must("RELEASE SAVEPOINT standin_object")
            return int(answer.tag.split()[-1])
        at, error = _server_error(error_fields(answer.error), lines, url, types)
        session.backend.must("ROLLBACK TO SAVEPOINT standin_object")
        refusals.add(error)
        del lines[at]


def _types(session: Session, asked: Command) -> dict[str, str]:
    answer = session.backend.must(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        f"WHERE attrelid = '{asked.table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    there = {str(name): str(kind) for name, kind in answer.rows}
    if not asked.columns:
        return there
    wanted = [name[1:-1].replace('""', '"') if name[0] == '"' else name.lower() for name in asked.columns]
    for name in wanted:
        if name not in there:
            raise Refusal(f'column "{name}" of relation "{asked.table}" does not exist', "42703")
    return {name: there[name] for name in wanted}


def _line(record: Record, url: str, types: dict[str, str], asked: Command) -> str:
    null = asked.options.get("null", "\\N")
    fields = []
    for value, (name, kind) in zip(record.fields, types.items(), strict=True):
        text = kind.split("(")[0] in _TEXTS
        # The manual: empty is what has nothing between two delimiters; an empty field of no text is always NULL. That
        # a quoted text may be NULL too, where it reads as NULL is written, nobody says: it is taken for NULL here.
        empty = value == "" and not (isinstance(value, Quoted) and text)
        if (
            value is None
            or (value == null and value)
            or (empty and (not text or not null or asked.options.get("emptyasnull")))
        ):
            fields.append("\\N")
            continue
        if bad := _NO_UTF_8.search(value):
            code = bad[0].encode(errors="surrogateescape").hex()
            reason = f"String contains invalid or unsupported UTF8 codepoints. Bad UTF8 hex sequence: {code} (error 3)"
            raise LoadError(url, record.line, name, kind, 1220, reason)
        if "\0" in value:
            raise LoadError(url, record.line, name, kind, 1220, "String contains the NUL character")
        limit = re.search(r"\((\d+)\)", kind)
        if text and limit and len(value.encode()) > int(limit[1]):
            raise LoadError(url, record.line, name, kind, 1204, "String length exceeds DDL length")
        fields.append(value.translate(_ESCAPES))
    return "\t".join(fields) + "\n"


def _server_error(
    fields: dict[str, str], lines: list[tuple[int, str]], url: str, types: dict[str, str]
) -> tuple[int, LoadError]:
    """Return which line the server behind refused, and what is wrong with it.

    :raises Refusal: where it is no line
    """
    place = _COPY_LINE.search(fields.get("W", ""))
    if place is None or fields["C"][:2] not in ("22", "23"):
        raise Refusal(fields["M"], fields["C"])
    at = int(place[1]) - 1
    column = place[2] or fields.get("c", "")
    reason = "Invalid value for the column's type" if fields["C"][:2] == "22" else fields["M"]
    return at, LoadError(url, lines[at][0], column, types.get(column, ""), 1207, reason)


def _record(session: Session, error: LoadError) -> None:
    url, line, column, kind, code, reason = error.row
    session.server.record(
        session.database,
        "INSERT INTO redshift.sys_load_error_detail "
        "(session_id, file_name, line_number, column_name, column_type, error_code, error_message) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [session.pid, url, line, column, kind, code, reason],
    )
    session.server.record(
        session.database,
        "INSERT INTO redshift.stl_load_errors (session, filename, line_number, colname, type, err_code, err_reason) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [session.pid, url, line, column, kind, code, reason],
    )
