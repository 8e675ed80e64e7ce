"""Loading around bad records: each block has a savepoint, and what the server refuses is set aside."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.operators.formats.csv.records import Block, CsvInput, Scanner, blocks

if TYPE_CHECKING:
    from tradewind.operators.ends import Sink

log = logging.getLogger(__name__)

BLOCK = 1 << 20
AFTER_ERROR = 1 << 16
TOLD = 10


class Server(Protocol):
    """What a service says about a block, in a transaction that knows savepoints."""

    def execute(self, statement: str, /) -> Any:
        """Run a statement."""

    def load(self, block: Block, /) -> int:
        """Load a block's records.

        :return: the rows
        :raises DataError: where one does not fit, with the line or the row by which :meth:`find` knows it
        """

    def find(self, records: Sequence[bytes], error: DataError, /) -> int | None:
        """Return the index of the record that an error names, None where it names none."""

    def located(self, error: DataError, line: int, /) -> DataError:
        """Name the file and the line of an error in a record."""

    def reason(self, error: DataError, /) -> str:
        """Return the server's own words on an error."""


@dataclass
class Rejects:
    """The bad records of a load.

    :param open_sink: opens the file that takes them; not called where there are none
    :param limit: how many there may be
    """

    open_sink: Callable[[], Sink] | None
    limit: int
    count: int = 0
    _sink: Sink | None = field(default=None, init=False)

    def add(self, name: str, record: bytes, error: DataError, reason: str) -> None:
        """Set a record aside.

        :param name: the file it is from
        :param record: its bytes
        :param error: what the server says, with the file and the line
        :param reason: the server's own words
        :raises DataError: where there are too many
        """
        self.count += 1
        if self.count > self.limit:
            raise DataError(
                f"more than {self.limit:,} bad records, nothing is loaded; the last one: {error}",
                source=error.source,
                line=error.line,
                column=error.column,
                value=error.value,
            ) from error
        if self.count <= TOLD:
            log.warning("set aside: %s", error)
        self._write(name, record, error, reason)

    def _write(self, name: str, record: bytes, error: DataError, reason: str) -> None:
        if self.open_sink is None:
            raise InvalidArgument("max_errors needs rejects=, a file that takes the bad records") from error
        if self._sink is None:
            self._sink = self.open_sink()
            self._sink.write(b"file,line,column,reason,record\r\n")
        text = io.StringIO()
        csv.writer(text).writerow([name, error.line, error.column, reason])
        # The record as it was, byte by byte: it may be no UTF-8.
        raw = record.rstrip(b"\r\n").replace(b'"', b'""')
        self._sink.write(text.getvalue().rstrip("\r\n").encode() + b',"' + raw + b'"\r\n')

    def commit(self) -> None:
        """Make the file visible; called right before the load commits.

        Were it the other way round, a kill in between would leave a load whose bad records are lost. This way it
        leaves a file that the next try writes anew.
        """
        if self._sink is not None:
            self._sink.commit()
            log.warning("%s bad records are in %s", f"{self.count:,}", self._sink.name)

    def abort(self) -> None:
        """Leave nothing behind."""
        if self._sink is not None:
            self._sink.abort()


class TolerantLoad:
    """Loads a file block by block, setting the bad records aside.

    :param server: the load's transaction
    :param source: the file, its header read
    :param rejects: takes the bad records
    :param told: is told the bytes of each block
    :param unit: what an error counts, see :class:`tradewind.operators.ends.Part`
    """

    def __init__(
        self,
        server: Server,
        source: CsvInput,
        rejects: Rejects,
        told: Callable[[int, int], None],
        *,
        unit: Literal["line", "record"] = "line",
    ) -> None:
        self._server = server
        self._source = source
        self._rejects = rejects
        self._told = told
        self._scanner = Scanner(source.dialect)
        self._unit = unit
        self._set_aside = 0
        self.rows = 0

    def run(self) -> int:
        """Load the file.

        :return: the rows loaded
        """
        for block in blocks(self._source, BLOCK):
            before = self.rows
            self._load(block)
            self._told(len(block.data), self.rows - before)
        return self.rows

    def _load(self, whole: Block) -> None:
        waiting = [whole]
        while waiting:
            block = waiting.pop()
            error = self._try(block)
            if error is not None:
                waiting.extend(reversed(list(self._after(block, error))))

    def _try(self, block: Block) -> DataError | None:
        self._server.execute("SAVEPOINT tradewind_block")
        try:
            self.rows += self._server.load(block)
        except DataError as error:
            self._server.execute("ROLLBACK TO SAVEPOINT tradewind_block")
            return error
        self._server.execute("RELEASE SAVEPOINT tradewind_block")
        return None

    def _after(self, block: Block, error: DataError) -> Iterator[Block]:
        """Cut a block that failed: what stands before the bad record, the record alone, and what follows.

        The record is tried alone before it is set aside: whatever line the server named, only a record that fails
        by itself is bad. Where it named none (a foreign key is checked at the end), the block is halved.
        """
        records = list(self._scanner.records(block.data, self._source.line_end))
        if len(records) == 1:
            told = self._server.located(error, block.line)
            reason = self._server.reason(told)
            if self._unit == "record":
                from tradewind.operators.formats.csv.places import numbered

                told = numbered(told, self.rows + self._set_aside + 1)
            self._set_aside += 1
            self._rejects.add(self._source.name, records[0], told, reason)
            return
        bad = self._server.find(records, error)
        cuts = (len(records) // 2,) if bad is None else (bad, bad + 1)
        line, start = block.line, 0
        for end in (*cuts, len(records)):
            for data in _pieces(records[start:end], AFTER_ERROR if end == len(records) else BLOCK):
                yield Block(data, line)
                line += data.count(self._source.line_end)
            start = end


def _pieces(records: list[bytes], size: int) -> Iterator[bytes]:
    piece: list[bytes] = []
    held = 0
    for record in records:
        piece.append(record)
        held += len(record)
        if held >= size:
            yield b"".join(piece)
            piece, held = [], 0
    if piece:
        yield b"".join(piece)
