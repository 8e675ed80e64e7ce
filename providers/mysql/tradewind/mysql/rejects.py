"""What MySQL says about a block of records, for loading around the bad ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tradewind.hooks.errors import DataError
from tradewind.mysql.faults import located, words
from tradewind.operators.formats.csv.records import Block


class LoadedBlocks:
    """Blocks of a file, each a LOAD DATA of its own.

    :param execute: runs a statement of the load's transaction
    :param load: loads a block
    :param name: the file
    """

    def __init__(self, execute: Callable[[str], object], load: Callable[[Block], int], name: str) -> None:
        self._execute = execute
        self._load = load
        self._name = name

    def execute(self, statement: str, /) -> object:
        """Run a statement."""
        return self._execute(statement)

    def load(self, block: Block, /) -> int:
        """Load a block's records into the table."""
        return self._load(block)

    def find(self, records: Sequence[bytes], error: DataError, /) -> int | None:
        """Return the index of the record at the row that the server named: each record is a row."""
        row = error.line
        return row - 1 if row is not None and error.source is None and 0 < row <= len(records) else None

    def located(self, error: DataError, line: int, /) -> DataError:
        """Name the file and the line of an error in a record."""
        return error if error.source else located(error, self._name, line)

    def reason(self, error: DataError, /) -> str:
        """Return the server's own words on an error."""
        return words(error)
