# ruff: noqa: S608 (names are parsed and quoted)
"""Two ways to bring text into a table: LOAD DATA LOCAL, and INSERTs where the server does not allow it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from tradewind.hooks.errors import DataError, TradewindError
from tradewind.mysql.faults import as_data_error, refuse_faults
from tradewind.mysql.names import listed
from tradewind.mysql.statements import Into

if TYPE_CHECKING:
    from tradewind.mysql.session import MySqlSession

log = logging.getLogger(__name__)

_TEXTS = "`tradewind_texts`"


class Text(Protocol):
    """A stream of text as :mod:`tradewind.mysql.text_format` writes it."""

    @property
    def records(self) -> int:
        """How many records went by."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, or some whole records where no size is given; none at the end."""


class Bulk(Protocol):
    """A way to bring text into a table."""

    verb: str

    def statement(self, into: Into) -> str:
        """Return the statement that brings the records, for the plan."""

    def load(self, into: Into, text: Text, *, forced: bool) -> int:
        """Load a stream.

        :param into: where the records go
        :param text: the records
        :param forced: whether empty texts are NULL where they can be nothing else
        :return: the rows
        :raises DataError: where one does not fit, its number in ``line`` where the server tells it
        """


def bulk(session: MySqlSession) -> Bulk:
    """Return the way that the server allows.

    :param session: the load's connection
    """
    if session.query("SELECT @@local_infile")[0][0] in (1, "1", "ON"):
        return LocalLoad(session)
    log.warning(
        "%s: local_infile is off on the server: rows go by INSERT, which takes it several times as long; "
        "switch it on by SET GLOBAL local_infile = 1, or in the parameter group",
        session.describe,
    )
    return Inserts(session)


class LocalLoad:
    """``LOAD DATA LOCAL``.

    :param session: the load's transaction
    """

    verb = "LOAD DATA"

    def __init__(self, session: MySqlSession) -> None:
        self._session = session

    def statement(self, into: Into) -> str:
        """Return the statement that brings the records, for the plan."""
        return into.load(forced=into.forces)

    def load(self, into: Into, text: Text, *, forced: bool) -> int:
        """Load a stream."""
        self._session.take_notices()  # those of earlier statements say nothing of these records
        before = text.records
        rows = self._session.load(into.load(forced=forced), text)
        refuse_faults(self._session, rows, text.records - before)
        return rows


class Inserts:
    """INSERTs of many rows each: as texts into a temporary table, and from there as values into the target.

    :param session: the load's transaction
    """

    verb = "INSERT"

    def __init__(self, session: MySqlSession) -> None:
        self._session = session
        self._width = 0

    def statement(self, into: Into) -> str:
        """Return the statement that brings the records, for the plan."""
        return _move(into, forced=into.forces)

    def load(self, into: Into, text: Text, *, forced: bool) -> int:
        """Load a stream."""
        self._make(into.width)
        names, move = _names(into.width), _move(into, forced=forced)
        rows = 0
        while data := text.read():
            try:
                self._session.execute(_insert(data, into.delimiter, names))
                rows += self._session.execute(move)
            except TradewindError as error:
                raise _shifted(as_data_error(error), rows) from error
            self._session.execute(f"DELETE FROM {_TEXTS}")
        return rows

    def _make(self, width: int) -> None:
        if width != self._width:
            columns = ", ".join(f"c{number} longtext" for number in range(1, width + 1))
            self._session.execute(f"DROP TEMPORARY TABLE IF EXISTS {_TEXTS}")
            self._session.execute(
                f"CREATE TEMPORARY TABLE {_TEXTS} (n bigint AUTO_INCREMENT PRIMARY KEY, {columns}) "
                "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
            )
            self._width = width
        self._session.execute(f"DELETE FROM {_TEXTS}")


def _names(width: int) -> list[str]:
    return [f"c{number}" for number in range(1, width + 1)]


def _move(into: Into, *, forced: bool) -> str:
    """Write what makes values of the texts, in the order in which they came."""
    names = _names(into.width)
    values = [value.sql(names) for value in into.values(names, forced=forced)]
    return (
        f"INSERT INTO {into.table} ({listed([column.name for column in into.columns])}) "
        f"SELECT {', '.join(values)} FROM {_TEXTS} ORDER BY n"
    )


def _insert(text: bytes, delimiter: str, names: list[str]) -> str:
    """Write an INSERT of records; escapes mean the same in texts of SQL as in LOAD DATA."""
    mark = delimiter.encode()
    # 0xff and 0xfe are no bytes of UTF-8: they stand for what must not be taken for a delimiter.
    data = text[:-1].replace(b"\\\\", b"\xff").replace(b"\\" + mark, b"\xfe").replace(b"'", b"\\'")
    data = data.replace(mark, b"','").replace(b"\n", b"'),('")
    data = (b"('" + data + b"')").replace(b"'\\N'", b"NULL")
    data = data.replace(b"\xfe", mark).replace(b"\xff", b"\\\\")
    return f"INSERT INTO {_TEXTS} ({listed(names)}) VALUES {data.decode()}"


def _shifted(error: DataError, rows: int) -> DataError:
    if error.line is not None:
        error.line += rows
    return error
