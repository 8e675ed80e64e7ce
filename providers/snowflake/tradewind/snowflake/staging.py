"""Files in a temporary stage of the load's own: gzip, in bounded pieces, put there one after the other."""

from __future__ import annotations

import gzip
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tradewind.hooks.disk import room
from tradewind.hooks.errors import TransientError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.formats.csv.records import Block
from tradewind.snowflake.names import TableName, literal

if TYPE_CHECKING:
    from tradewind.snowflake.session import SnowflakeSession

PIECE = 128 << 20
"""Bytes of CSV in a file: one at a time lies on the worker's disk, compressed, and a warehouse loads many at once."""

BLOCK = 1 << 20
MOST_FILES = 1000
"""Files that one ``COPY INTO`` may name."""
_LEVEL = 1


@dataclass(frozen=True)
class StagedFile:
    """A file in the stage.

    :param name: its name there
    :param line: the line of the part at which it begins, counted from 1
    """

    name: str
    line: int


@dataclass
class Stage:
    """A temporary stage, which goes with its session.

    :param session: the load's session
    :param name: the stage
    """

    session: SnowflakeSession
    name: TableName
    count: int = 0
    _made: bool = field(default=False, init=False)

    @classmethod
    def beside(cls, session: SnowflakeSession, table: TableName) -> Stage:
        """Name a stage in a table's schema; it is made when it is needed, for that commits a transaction.

        :param session: the load's session
        :param table: the table
        """
        return cls(session, table.beside(f"TRADEWIND_{secrets.token_hex(8).upper()}"))

    @property
    def ddl(self) -> str:
        """The statement that makes it."""
        return f"CREATE TEMPORARY STAGE {self.name.sql}"

    def put(
        self, blocks: Iterable[Block], made: Callable[[Block], bytes], told: Callable[[int], None]
    ) -> list[StagedFile]:
        """Put records into the stage.

        :param blocks: the records
        :param made: makes of each block what is to lie there
        :param told: is told the bytes of each block that is done
        :return: the files, in order
        """
        files: list[StagedFile] = []
        waiting = iter(blocks)
        with tempfile.TemporaryDirectory(prefix="tradewind-") as folder:
            while (begun := next(waiting, None)) is not None:
                self.count += 1
                path = Path(folder) / f"{self.count:06d}.csv.gz"
                with room(path.parent, f"set aside a piece of what {self.name} takes (TMPDIR names the folder)"):
                    for size in _written(path, begun, waiting, made):
                        told(size)
                self._upload(path)
                files.append(StagedFile(path.name, begun.line))
                path.unlink()
        return files

    def _upload(self, path: Path) -> None:
        if not self._made:
            self.session.execute(self.ddl)
            self._made = True
        source = literal(f"file://{path}")
        rows = self.session.query(
            f"PUT {source} @{self.name.sql} AUTO_COMPRESS = FALSE SOURCE_COMPRESSION = GZIP OVERWRITE = TRUE"
        )
        # source, target, sizes, compressions, status, message
        wrong = [row for row in rows if len(row) < 7 or str(row[6]).upper() != "UPLOADED"]
        if wrong or len(rows) != 1:
            said = f"{wrong[0][6]}: {wrong[0][7]}" if wrong and len(wrong[0]) > 7 else "no answer"
            raise TransientError(f"{self.session.describe}: {path.name} was not put into {self.name} ({said})")


def _written(path: Path, begun: Block, rest: Iterator[Block], made: Callable[[Block], bytes]) -> Iterator[int]:
    """Write one file; yield the bytes of each block."""
    held = 0
    with path.open("wb") as raw, gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as file:
        block: Block | None = begun
        while block is not None:
            file.write(made(block))
            held += len(block.data)
            yield len(block.data)
            block = next(rest, None) if held < PIECE else None


def csv_format(
    dialect: CsvDialect, *, cr: bool = False, counted: bool = True, compression: str = "GZIP", skipped: int = 0
) -> str:
    """Write how the files are to be read.

    :param dialect: how their records are written: NULL is nothing, quotes are doubled
    :param cr: whether lines end with CR alone
    :param counted: whether a record with other fields than there are columns is an error
    :param compression: the service's word for how they are compressed
    :param skipped: how many lines the header takes
    """
    delimiter = "\\t" if dialect.delimiter == "\t" else dialect.delimiter
    end = "\\r" if cr else "\\n"
    options = {
        "TYPE": "CSV",
        "COMPRESSION": compression,
        "RECORD_DELIMITER": f"'{end}'",
        "FIELD_DELIMITER": f"'{delimiter}'",
        "SKIP_HEADER": str(skipped),
        "FIELD_OPTIONALLY_ENCLOSED_BY": "'\"'",
        "ESCAPE": "NONE",
        "ESCAPE_UNENCLOSED_FIELD": "NONE",
        "NULL_IF": "()",
        "EMPTY_FIELD_AS_NULL": "TRUE",
        "TRIM_SPACE": "FALSE",
        "SKIP_BLANK_LINES": "FALSE",
        "ERROR_ON_COLUMN_COUNT_MISMATCH": str(counted).upper(),
        "REPLACE_INVALID_CHARACTERS": "FALSE",
        "SKIP_BYTE_ORDER_MARK": "FALSE",
        "ENCODING": "'UTF8'",
        "BINARY_FORMAT": "HEX",
    }
    return f"({' '.join(f'{name} = {value}' for name, value in options.items())})"
