"""Records with escapes in place of quotes, between databases that both write and read them.

PostgreSQL's COPY calls it the text format, MySQL's LOAD DATA takes it by default: fields stand between tabs, a line
feed ends a record, NULL is ``\\N``. In texts a backslash, tab, line feed, carriage return and NUL are written as
``\\\\``, ``\\t``, ``\\n``, ``\\r`` and ``\\0``; ``\\b``, ``\\f`` and ``\\v`` may come too and mean what they mean in C.
There is no header, and the text is UTF-8. Values are as :mod:`tradewind.operators.types` has them. Fields that are
asked for *bare* hold a moment with a zone in UTC and without its offset, a boolean as ``1`` or ``0``: what a server
takes as it is.
"""

from __future__ import annotations

import io

from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.formats.csv.records import CsvInput, projected

DELIMITER = "\t"
NULL = "\\N"
_DIALECT = CsvDialect(delimiter=DELIMITER, null=NULL, header=False)


def escaped_input(part: Part) -> CsvInput | None:
    """Describe a part whose records come with escapes, None where its source does not write them so.

    Nothing is opened yet: ``stream`` is empty, ``part.open_escaped`` gives the one to read. ``outputs`` says what has
    to become of the records.

    :param part: what is to be read
    """
    if part.open_escaped is None:
        return None
    source = CsvInput(part.name, io.BytesIO(), _DIALECT, names=part.columns, types=part.types, escaped=True)
    return projected(source, part, rewrite=False)
