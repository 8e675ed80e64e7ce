"""The statements that bring records into a table."""

from __future__ import annotations

from dataclasses import dataclass

from tradewind.mysql.catalog import Column
from tradewind.mysql.names import quoted
from tradewind.mysql.values import literal


def expression(column: Column, value: str, *, forced: bool) -> str | None:
    """Write what a field becomes where the server would not read it as other databases write it, else nothing.

    :param column: where it goes
    :param value: the field in SQL, a text or NULL
    :param forced: whether an empty text is NULL in a column of numbers or times
    """
    text = f"NULLIF({value}, '')" if forced and column.never_empty else value
    if column.boolean:
        true, false = "('t', 'true', 'y', 'yes', 'on')", "('f', 'false', 'n', 'no', 'off')"
        return f"CASE WHEN LOWER({value}) IN {true} THEN '1' WHEN LOWER({value}) IN {false} THEN '0' ELSE {text} END"
    if column.moment:
        return _moment(value, text)
    return None if text == value else text


def _moment(value: str, text: str) -> str:
    """Write a time with a zone as UTC, the session's: MySQL knows no Z, and MariaDB no offset.

    CONVERT_TZ leaves times outside 1970 to 2038 as they are; subtraction does not.
    """
    length = f"CHAR_LENGTH({value})"
    cases = [f"WHEN RIGHT({value}, 1) = 'Z' THEN LEFT({value}, {length} - 1)"]
    for size, shortest, unit, digits in ((6, 16, "HOUR_MINUTE", "[0-9]{2}:[0-9]{2}"), (3, 13, "HOUR", "[0-9]{2}")):
        cases.append(
            f"WHEN SUBSTR({value}, -{size}, 1) IN ('+', '-') AND {length} > {shortest} "
            f"AND RIGHT({value}, {size}) REGEXP '^[-+]{digits}$' "
            f"THEN DATE_SUB(LEFT({value}, {length} - {size}), INTERVAL RIGHT({value}, {size}) {unit})"
        )
    return f"CASE {' '.join(cases)} ELSE {text} END"


@dataclass(frozen=True)
class Into:
    """Where records go.

    :param table: the table, quoted
    :param columns: its columns in the order of the fields
    :param delimiter: what stands between the fields
    """

    table: str
    columns: tuple[Column, ...]
    delimiter: str

    @property
    def forces(self) -> bool:
        """Whether a column has no empty text, so that one in quotes stands for NULL."""
        return any(column.never_empty for column in self.columns)

    def load(self, *, forced: bool) -> str:
        """Write the LOAD DATA that takes text as :mod:`tradewind.mysql.text_format` writes it.

        :param forced: whether empty texts are NULL where they can be nothing else
        """
        fields, sets = [], []
        for number, column in enumerate(self.columns, 1):
            made = expression(column, f"@c{number}", forced=forced)
            fields.append(quoted(column.name) if made is None else f"@c{number}")
            if made is not None:
                sets.append(f"{quoted(column.name)} = {made}")
        return (
            f"LOAD DATA LOCAL INFILE 'stream' INTO TABLE {self.table} CHARACTER SET utf8mb4 "
            f"FIELDS TERMINATED BY {literal(self.delimiter)} ENCLOSED BY '' ESCAPED BY '\\\\' "
            f"LINES TERMINATED BY '\\n' ({', '.join(fields)}){' SET ' if sets else ''}{', '.join(sets)}"
        )
