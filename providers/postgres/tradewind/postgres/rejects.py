"""What PostgreSQL says about a block of records, for loading around the bad ones."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tradewind.hooks.errors import DataError
from tradewind.operators.formats.csv.records import Block, CsvInput
from tradewind.postgres.lines import ServerLines
from tradewind.postgres.messages import located, server_text

if TYPE_CHECKING:
    from tradewind.hooks.libpq.session import LibpqSession


class CopiedBlocks:
    """Blocks of a file, each a COPY of its own.

    :param session: the load's transaction
    :param source: the file, its header read
    :param copy: the COPY statement, for records without a header
    :param move: brings what a COPY loaded to where it belongs, where that is elsewhere
    """

    def __init__(
        self, session: LibpqSession, source: CsvInput, copy: str, move: Callable[[], object] | None = None
    ) -> None:
        self._session = session
        self._name = source.name
        self._copy = copy
        self._move = move
        self._lines = ServerLines(source)

    def execute(self, statement: str, /) -> int:
        """Run a statement."""
        return self._session.execute(statement)

    def load(self, block: Block, /) -> int:
        """Copy a block's records into the table."""
        rows = self._session.copy_in(self._copy, io.BytesIO(block.data))
        if self._move is not None:
            self._move()
        return rows

    def find(self, records: Sequence[bytes], error: DataError, /) -> int | None:
        """Return the index of the record at the line that the server named."""
        return None if error.line is None else self._lines.find(records, error.line)

    def located(self, error: DataError, line: int, /) -> DataError:
        """Name the file and the line of an error in a record."""
        return located(error, self._name, line)

    def reason(self, error: DataError, /) -> str:
        """Return the server's own words on an error."""
        return server_text(error)
