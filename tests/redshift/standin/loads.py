"""COPY, carried out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.redshift.standin.commands import Command, Refusal
from tests.redshift.standin.objects import LoadError, Quoted, Record, objects, records, unpacked
from tests.redshift.standin.wire import error_fields

if TYPE_CHECKING:
    from tests.redshift.standin.server import Session

_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_COPY_LINE = re.compile(r"line (\d+)(?:, column ([^:]+))?")
_NO_UTF_8 = re.compile("[\udc80-\udcff]")
_TEXTS = ("character varying", "character", "text", "bpchar", "varchar")


def load(session: Session, asked: Command) -> int:
    """Load objects into a table, each by a COPY of the server behind; return the rows.

    :raises Refusal: where something does not fit; it is in the load errors' tables then
    """
    types = _types(session, asked)
    names = list(types)
    quoted = ", ".join(f'"{name}"' for name in names)
    rows = 0
    for bucket, key in objects(session.server.s3, asked):
        url = f"s3://{bucket}/{key}"
        data = session.server.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        try:
            plain = unpacked(data, asked.options.get("compression"), url)
            found = list(records(plain, url, asked, names))
            lines = [_line(record, url, types, asked) for record in found]
            feed = "".join(lines).encode()
            answer = session.backend.run(f"COPY {asked.table} ({quoted}) FROM STDIN (FORMAT text)", feed)
            if answer.error is not None:
                raise _server_error(error_fields(answer.error), found, url, types)
        except LoadError as error:
            _record(session, error)
            raise Refusal(
                f"Load into table '{asked.table}' failed. Check 'sys_load_error_detail' system table for details."
            ) from None
        rows += int(answer.tag.split()[-1])
    return rows


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


def _server_error(fields: dict[str, str], found: list[Record], url: str, types: dict[str, str]) -> LoadError | Refusal:
    place = _COPY_LINE.search(fields.get("W", ""))
    if place is None or fields["C"][:2] not in ("22", "23"):
        return Refusal(fields["M"], fields["C"])
    column = place[2] or fields.get("c", "")
    line = found[int(place[1]) - 1].line
    reason = "Invalid value for the column's type" if fields["C"][:2] == "22" else fields["M"]
    return LoadError(url, line, column, types.get(column, ""), 1207, reason)


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
