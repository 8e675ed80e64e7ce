"""What a load's warnings say: with LOCAL, the server skips or bends what does not fit, and warns.

https://dev.mysql.com/doc/refman/8.4/en/load-data.html#load-data-error-handling
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError, InvalidArgument, TradewindError
from tradewind.mysql.configuring import is_mariadb
from tradewind.mysql.errors import classify, number_of

if TYPE_CHECKING:
    from tradewind.mysql.session import MySqlSession

_NOTICE = re.compile(r"(?P<level>\w+): (?P<text>.*) \[(?P<number>\d+)\]", re.DOTALL)
# What is said of the statement, and not of a row: deprecations.
_HARMLESS = frozenset({1287, 1681, 3719, 3778, 4079})
_WRONG_COUNT = 1136
_ROW = re.compile(r" at row \d+$")
_RAGGED = re.compile(r"Row (\d+) ")
_NUMBER = re.compile(r" \[\d+\]$")


def refuse_faults(session: MySqlSession, loaded: int, sent: int) -> None:
    """Raise what was wrong with the records that the last statement took.

    :param session: the load's transaction; notes are switched off on it
    :param loaded: the rows that the server counted
    :param sent: the records that were sent
    :raises DataError: for the first warning, with the row in ``line`` where the server tells it
    """
    if session.warnings:
        for at, notice in enumerate(session.take_notices(), 1):
            match = _NOTICE.fullmatch(notice)
            if match and int(match["number"]) not in _HARMLESS and match["level"] != "Note":
                raise _with_row(session, at, _classified(int(match["number"]), match["text"]))
    if loaded != sent:
        raise DataError(f"the server took {loaded:,} of {sent:,} records, and does not say why")


def as_data_error(error: TradewindError) -> DataError:
    """Return an error of a record as one of data.

    :param error: what a statement that wrote records raised
    :raises TradewindError: where it is another one
    """
    if isinstance(error, DataError):
        return error
    match = re.search(r"at row (\d+)", str(error))
    if isinstance(error, InvalidArgument) and number_of(error.__cause__ or error) == _WRONG_COUNT and match:
        return DataError(str(error), line=int(match[1]))
    raise error


def _with_row(session: MySqlSession, at: int, error: DataError) -> DataError:
    """Ask for the row of a warning that does not tell it: MariaDB from 10.7 on knows, MySQL does not."""
    if match := _RAGGED.match(str(error)):
        error.line = int(match[1])
    if error.line is None and is_mariadb(session.conn):
        with contextlib.suppress(InvalidArgument):
            session.execute(f"GET DIAGNOSTICS CONDITION {at} @tradewind_row = ROW_NUMBER")
            [(row,)] = session.query("SELECT @tradewind_row")
            error.line = int(row) or None
    return error


def _classified(number: int, text: str) -> DataError:
    import pymysql

    made = classify(pymysql.err.DataError(number, text))
    return made if isinstance(made, DataError) else DataError(str(made))


def words(error: DataError) -> str:
    """Return the server's own words on a record, without the number of a row that means nothing to a person.

    :param error: what :func:`refuse_faults` raised, or one made from it
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DataError) and cause.source is None:
            number = _NUMBER.search(text := str(cause))
            text = _NUMBER.sub("", text)
            text = _RAGGED.sub("the record ", text) if _RAGGED.match(text) else _ROW.sub("", text)
            return text + (number[0] if number else "")
        cause = cause.__cause__
    return str(error)


def located(error: DataError, name: str, line: int | None) -> DataError:
    """Name the file and the line of an error in a record.

    :param error: the error as the server told it
    :param name: the file
    :param line: the line in the file, None where it is not known
    """
    where = name if line is None else f"{name}, line {line:,}"
    if error.column:
        where += f", column {error.column}"
    made = DataError(f"{where}: {words(error)}", source=name, line=line, column=error.column, value=error.value)
    made.__cause__ = error
    return made
