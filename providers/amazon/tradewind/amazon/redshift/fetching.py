"""Reading queries of Redshift without S3: a cursor gives the rows piece by piece, or the Data API page by page.

Source: "DECLARE" and "FETCH" of the Amazon Redshift Database Developer Guide, GetStatementResult of the Data API's.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tradewind.amazon.redshift.unloading import QueryReading, readable
from tradewind.operators.formats.csv.joining import render
from tradewind.operators.formats.csv.rewriting import FieldWriter
from tradewind.operators.tables.unloads import CopyStream

if TYPE_CHECKING:
    from tradewind.amazon.redshift.column_types import Described
    from tradewind.operators.dialect import CsvDialect

_SETTINGS = ("timezone TO 'UTC'", "datestyle TO 'ISO'", "extra_float_digits TO 2")
"""Whatever the user has set: values as UNLOAD writes them, and floats with all their digits."""


class FetchedReading(QueryReading):
    """The rows of a query, fetched as they are asked for, in bounded memory."""

    stream: CopyStream | None = None

    def opened(self, query: str, described: Sequence[Described], asked: CsvDialect) -> CopyStream:
        """Run the query in a session of its own; the bytes are those of the dialect that is asked for."""
        stack = ExitStack()
        session = stack.enter_context(self._open_session())
        sql = readable(query, described)

        def run(feed: io.BufferedWriter) -> int:
            rows, write, between = 0, FieldWriter(asked), asked.delimiter.encode()
            for setting in _SETTINGS:
                session.execute(f"SET {setting}")
            if asked.header:
                feed.write(render([column.name for column in described], asked))
            for piece in session.texts(sql):
                rows += len(piece)
                feed.write(b"".join(between.join(map(write, row)) + b"\n" for row in piece))
            return rows

        self.stream = CopyStream(run, session.cancel, stack.close, self._name)
        return self.stream

    def cancel(self) -> None:
        """Stop the query in the warehouse."""
        if self.stream is not None:
            self.stream.close()

    def close(self) -> None:
        """Stop what still runs."""
        self.cancel()
