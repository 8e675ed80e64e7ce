"""What the service tells of records that COPY refused.

Source: SYS_LOAD_ERROR_DETAIL and STL_LOAD_ERRORS of the Amazon Redshift Database Developer Guide. Both have room for
256 bytes of a file's name.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tradewind.amazon.redshift.quoting import MOST_ERRORS
from tradewind.hooks.errors import AccessDenied, DataError, NotFound, TradewindError, TransientError

if TYPE_CHECKING:
    from tradewind.amazon.redshift.sessions import Session

LONGEST_URL = 256
"""Bytes of an object's URL that the views keep."""

_LOOKS = 3
"""How often the error of a COPY that failed is looked for: the service writes it a moment later."""
PATIENCE = 45.0
"""Seconds for which the errors of a COPY that went on are waited for, less than a session of the Data API lives."""
_LONGEST_PAUSE = 5.0

_VIEWS = (
    "SELECT trim(file_name), line_number, trim(column_name), trim(error_message) FROM sys_load_error_detail "
    "WHERE {which} ORDER BY start_time DESC, file_name, line_number LIMIT {most}",
    "SELECT trim(filename), line_number, trim(colname), trim(err_reason) FROM stl_load_errors "
    "WHERE {which} ORDER BY starttime DESC, filename, line_number LIMIT {most}",
)
_SESSION = ("session_id = %s", "session = %s")
_FOLDER = ("LEFT(file_name, {size}) = %s", "LEFT(filename, {size}) = %s")


class LoadError(NamedTuple):
    """A record that COPY refused.

    :param url: the object
    :param line: the line in it, counted from 1; 0 where none is told
    :param column: the column, empty where none is told
    :param reason: the service's words, no value in them
    """

    url: str
    line: int
    column: str
    reason: str

    def told(self) -> DataError:
        """Return the error with the place that a person can open."""
        return self.at(self.url, "line", self.line)

    def at(self, name: str, unit: str, number: int) -> DataError:
        """Return the error with its place in a source.

        :param name: the file, or the query
        :param unit: what is counted in it
        :param number: the line or the record, 0 where it is not known
        """
        place = f", {unit} {number:,}" if number else ""
        column = f", column {self.column}" if self.column else ""
        text = f"{name}{place}{column}: {self.reason}"
        return DataError(text, source=name, line=number or None, column=self.column or None)


def last_error(session: Session, pause: float = 1.0) -> LoadError | None:
    """Return what the service tells of the last load that failed in this session, None where it tells nothing.

    :param session: the load's connection, its transaction rolled back
    :param pause: seconds between two looks
    """
    pid = session.query("SELECT pg_backend_pid()")[0][0]
    session.rollback()
    for number in range(_LOOKS):
        found = _look(session, _SESSION, pid, 1)[0]
        if found:
            return found[0]
        if number < _LOOKS - 1:
            time.sleep(pause)
    return None


def refused_records(
    session: Session, folder: str, count: int, *, pause: float = 0.5, patience: float = PATIENCE
) -> list[LoadError]:
    """Return what the service tells of the records that one try's COPY refused: the first error of each.

    :param session: a connection of its own, which no transaction keeps from seeing what is written meanwhile
    :param folder: where the objects of the try lie, which are nobody else's
    :param count: how many records it must be
    :param pause: seconds after the first look, from where they grow
    :param patience: seconds for which they are waited for
    :raises TransientError: where the service does not tell of all of them in time
    :raises AccessDenied: where neither view can be read
    """
    deadline = time.monotonic() + patience
    which = [text.format(size=len(folder)) for text in _FOLDER]
    while True:
        rows, error = _look(session, which, folder, MOST_ERRORS + 1)
        found = list({(row.url, row.line): row for row in reversed(rows)}.values())
        if len(found) >= count:
            return found
        if error is not None:
            raise error
        if time.monotonic() >= deadline:
            raise TransientError(
                f"{session.describe}: COPY refused {count:,} records, of which the service tells {len(found):,} after "
                f"{patience:g} s: nothing is loaded"
            )
        time.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 (jitter)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _look(
    session: Session, which: Sequence[str], value: Any, most: int
) -> tuple[list[LoadError], TradewindError | None]:
    """Look into the views, of which one is for new warehouses, the other for old ones.

    :return: what the first tells that tells something; else nothing, and an error where neither can be read
    """
    failed: list[TradewindError] = []
    for view, condition in zip(_VIEWS, which, strict=True):
        try:
            rows = session.query(view.format(which=condition, most=most), [value])
        except (AccessDenied, NotFound) as error:
            failed.append(error)
            rows = []
        session.rollback()
        if rows:
            told = [(str(url), int(line or 0), str(column or ""), str(text)) for url, line, column, text in rows]
            return [LoadError(url, line, column, text.strip()) for url, line, column, text in told], None
    return [], failed[0] if len(failed) == len(_VIEWS) else None
