"""The two ends of a copy: what a source gives and what a target takes.

An end is declared in a DAG (templated, cheap, no connection), and opened on the worker::

    Source  --open()-->   Reading   --parts()-->   Part, Part, ...   bytes of CSV in a stated dialect
    Target  --write(reading, request)-->   CopyResult

Providers implement these classes; ``CopyOperator`` knows nothing else of a service.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Literal, Protocol, Self

from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.work import Work
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.expecting import Expectation
from tradewind.operators.plan import FILES_TOLD, Plan
from tradewind.operators.progress import Progress
from tradewind.operators.projection import Projection
from tradewind.operators.types import Arrays, ColumnType

Mode = Literal["append", "replace", "merge"]
MODES: tuple[Mode, ...] = ("append", "replace", "merge")
Duplicates = Literal["error", "last", "first"]
DUPLICATES: tuple[Duplicates, ...] = ("error", "last", "first")


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, none of them at the end."""

    def close(self) -> None:
        """Let go of what the stream holds."""


class Batches(Protocol):
    """Records that a source has as columns, batch by batch, for a target that can take them so."""

    @property
    def rows(self) -> int:
        """How many records there are."""

    @property
    def schema(self) -> Any:
        """The columns in order and their types: a schema of pyarrow."""

    def stream(self, write: Callable[[Any], bytes]) -> Readable:
        """Open the stream of the bytes that a function makes of each batch, which a thread reads ahead.

        :param write: takes a record batch of pyarrow; what it raises, the stream raises
        """


@dataclass(frozen=True)
class Part:
    """One file of a source, or the rows of one query.

    :param name: where it comes from, for messages: ``s3://bucket/key``, ``query on warehouse``
    :param open: opens the stream of uncompressed bytes; calling it again begins anew
    :param dialect: how the bytes are to be read
    :param columns: the names of the fields in order, or None where the first record is a header that names them
    :param size: bytes on the wire if known, for the progress line
    :param projection: which columns the records are to become, None where they stay as they are
    :param types: the types of the columns in order, each None where it is unknown; None where all are, as of CSV
    :param unit: what an error counts: a ``line`` of the bytes, or a ``record`` where a file of another format was
        read, whose lines nobody sees
    :param open_escaped: opens the same records as :mod:`tradewind.operators.formats.escaped` has them, the fields of
        these numbers (from 0) bare; None where the source does not write them so
    :param batches: the same records as batches of columns, before any projection; None where the source has no such
    """

    name: str
    open: Callable[[], Readable]
    dialect: CsvDialect
    columns: tuple[str, ...] | None = None
    size: int | None = None
    projection: Projection | None = None
    types: tuple[ColumnType | None, ...] | None = None
    unit: Literal["line", "record"] = "line"
    open_escaped: Callable[[frozenset[int]], Readable] | None = None
    batches: Batches | None = None


class Reading(ABC):
    """A source that is open: it knows its input, and hands it out."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """What identifies this very input: changed input has another one."""

    @abstractmethod
    def parts(self, dialect: CsvDialect | None = None, *, arrays: Arrays = "braces") -> Iterator[Part]:
        """Yield the parts in a fixed order.

        :param dialect: what the target would like to get; a source that renders rows obeys, one that
            hands out bytes as they are does not
        :param arrays: how the target would like arrays to be written, see :mod:`tradewind.operators.types`
        """

    @property
    def total_bytes(self) -> int | None:
        """How many bytes all parts have on the wire, if that is known."""
        return None

    @property
    def read_bytes(self) -> int:
        """How many of ``total_bytes`` are read so far."""
        return 0

    @property
    def share(self) -> float | None:
        """How much of the input is read so far, from 0 to 1, None where nobody can tell."""
        return self.read_bytes / self.total_bytes if self.total_bytes else None

    @property
    def files(self) -> Sequence[str]:
        """The names of the files this source consists of, none for a query."""
        return ()

    def cancel(self) -> None:  # noqa: B027 (most sources have nothing to cancel)
        """Stop what runs in the service; called from another thread or a signal handler."""


@dataclass(frozen=True)
class CopyRequest:
    """What a target is asked to do.

    :param work: whose work this is
    :param mode: append, replace or merge
    :param key: the columns that identify a row, for merge
    :param duplicates: which record of a key counts where a merge's input has several: none, the last or the first
    :param create: create the target if it is not there
    :param reload: load even if the ledger says it is loaded
    :param max_errors: how many bad records may be set aside, 0 for none
    :param open_rejects: opens the sink that takes the bad records, or None
    :param expect: what must hold before the commit
    :param description: the copy in a line, for messages
    """

    work: Work
    mode: Mode = "append"
    key: tuple[str, ...] = ()
    duplicates: Duplicates = "error"
    create: bool = False
    reload: bool = False
    max_errors: int = 0
    open_rejects: Callable[[], Sink] | None = None
    expect: tuple[Expectation, ...] = ()
    description: str = ""

    @property
    def staged(self) -> bool:
        """Whether the rows go by a temporary table: those of a merge, and those that are looked at before an append."""
        return self.mode == "merge" or (self.mode == "append" and any(each.of_load for each in self.expect))

    def token(self, fingerprint: str) -> str:
        """Name this copy of this input; an append leaves a person's clear out, so that it never loads twice."""
        return self.work.token(fingerprint, clears=self.mode != "append")


@dataclass
class CopyResult:
    """What a copy did: the operator's XCom.

    :param rows: records read from the source and written, or found equal
    :param inserted: rows that are new in the target
    :param updated: rows that a merge changed
    :param unchanged: rows that a merge found equal and left alone
    :param rejected: bad records set aside
    :param duplicates: records of a merge that were left out, because another one of the input has their key
    :param bytes: bytes moved, uncompressed
    :param seconds: how long it took
    :param files: the files read or written
    :param plan: the way it went, in a line
    :param loaded_before: when an earlier try loaded this (ISO 8601), None where this one did
    :param counted: whether ``rows`` is known; bytes that go from file to file are not counted by rows
    :param file_count: how many files there are; ``files`` is cut when it is stored
    """

    rows: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    duplicates: int = 0
    bytes: int = 0
    seconds: float = 0.0
    files: list[str] = field(default_factory=list)
    plan: str = ""
    loaded_before: str | None = None
    counted: bool = True
    file_count: int = 0

    @property
    def rows_read(self) -> int | None:
        """Records read from the source: ``rows``, those that a later one replaced, and those set aside."""
        return self.rows + self.duplicates + self.rejected if self.counted else None

    @property
    def rows_written(self) -> int | None:
        """Rows written to the target: new ones and changed ones."""
        return self.inserted + self.updated if self.counted else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values that every XCom backend takes, not too many of them."""
        return {
            **self.__dict__,
            "rows_read": self.rows_read,
            "rows_written": self.rows_written,
            "files": list(self.files[:FILES_TOLD]),
            "file_count": self.file_count or len(self.files),
            "seconds": round(self.seconds, 3),
        }


class Sink(ABC):
    """A file that is being written: it appears whole at ``commit`` or not at all.

    Leaving a ``with`` block commits, on an exception it aborts.
    """

    name: str

    @abstractmethod
    def write(self, data: bytes, /) -> int:
        """Take bytes."""

    @abstractmethod
    def commit(self) -> None:
        """Make the file visible."""

    @abstractmethod
    def abort(self) -> None:
        """Leave nothing behind; never raises."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort()


class End(ABC):
    """What source and target share: a declaration with templates."""

    template_fields: ClassVar[Sequence[str]] = ()

    @abstractmethod
    def describe(self) -> str:
        """Name this end in a message: ``s3://bucket/key``, ``staging.flights on warehouse``."""

    @abstractmethod
    def check(self) -> None:
        """Refuse what cannot work.

        Runs when the DAG is parsed: templates are not rendered yet, nothing is connected to.

        :raises InvalidArgument: with what, which and what instead
        """

    def assets(self) -> list[str]:
        """Return the URIs of the assets this end stands for; templated ones are left out."""
        return []

    def openlineage_dataset(self) -> tuple[str, str] | None:
        """Return OpenLineage's (namespace, name) of this end, rendered, or None."""
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.describe()!r})"

    def serialize(self) -> str:
        """Show this end in Airflow's UI, where rendered templates are listed."""
        return repr(self)


class Source(End):
    """An end that is read from."""

    def check_source(self) -> None:
        """Refuse what can be written to, and not read from; runs when the DAG is parsed.

        :raises InvalidArgument: with what, which and what instead
        """

    @abstractmethod
    def open(self, work: Work) -> AbstractContextManager[Reading]:
        """Connect and find the input.

        :raises NotFound: where the input is not there
        """


class Target(End):
    """An end that is written to."""

    modes: ClassVar[frozenset[Mode]] = frozenset(MODES)
    creates: ClassVar[bool] = False
    """Whether ``create=True`` means anything to this target."""
    sets_aside: ClassVar[bool] = True
    """Whether a target that ``creates`` can set bad records aside, as ``max_errors=`` asks."""
    most_errors: ClassVar[int | None] = None
    """How many it can set aside at most, None for any number."""
    keeps: ClassVar[frozenset[Duplicates]] = frozenset(DUPLICATES)
    """Which record of a key a merge can keep where its input has several."""

    @abstractmethod
    def write(self, reading: Reading, request: CopyRequest, progress: Progress) -> CopyResult:
        """Write all of it or nothing, once for each token.

        :raises DataError: where a record does not fit, with file, line, column and value
        """

    def check_target(self) -> None:
        """Refuse what can be read from, and not written to; runs when the DAG is parsed.

        :raises InvalidArgument: with what, which and what instead
        """

    def check_expectation(self, expectation: Expectation) -> None:
        """Refuse what cannot be expected of this target; templates may not be rendered yet.

        :param expectation: what must hold before the commit
        :raises InvalidArgument: with what, which and what instead
        """
        expectation.check()
        if expectation.needs_table:
            raise InvalidArgument(
                f"expect={expectation!r} looks at a table, which {self!r} is not: RowCount(min=, max=) can be "
                "expected of it"
            )

    def link(self) -> str | None:
        """Return the address of a page that shows this target, rendered, None where there is none."""
        return None

    @abstractmethod
    def plan(self, reading: Reading, request: CopyRequest) -> Plan:
        """Say what :meth:`write` would do; nothing is written.

        :raises TradewindError: what it would raise before its first row
        """

    @abstractmethod
    def cancel(self) -> None:
        """Stop what runs in the service; called from another thread or a signal handler."""


class FileTarget(Target):
    """A target that is a file: it can take rejects too."""

    def check_rejects(self) -> None:
        """Refuse what bad records cannot be written to; runs when the DAG is parsed.

        :raises InvalidArgument: with what, which and what instead
        """

    @abstractmethod
    def open_sink(self, work: Work, suffix: str = "") -> Sink:
        """Open a file for writing.

        :param suffix: appended to the name, before its endings
        """
