"""An end of a copy as the suite sees it: what fills it, reads it past the code under test, and breaks it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from tests.conformance.rows import Row
from tests.stage import Stage

if TYPE_CHECKING:
    from tradewind.operators.ends import Source, Target

PATIENCE = 10.0
"""Seconds in which a server must notice that a client is gone."""


class End(ABC):
    """One side of a copy.

    :param stage: the servers
    :param name: no other end has it: the name of a table or of a file
    """

    kind: ClassVar[str]
    keeps_ledger: ClassVar[bool]
    """Whether a load is remembered beside its target."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.name = name

    @abstractmethod
    def make(self) -> None:
        """Make what is to be filled or written to, empty."""

    @abstractmethod
    def remove(self) -> None:
        """Remove it, and close the onlooker's own connections."""

    @abstractmethod
    def fill(self, rows: Iterable[Row]) -> None:
        """Put rows there, and nothing else."""

    @abstractmethod
    def rows(self) -> list[Row]:
        """Return the rows that are there, in the order of their ids."""

    @abstractmethod
    def state(self) -> object:
        """Return what changes when anything is written."""

    @abstractmethod
    def source(self) -> Source:
        """Return this end to read from."""

    def typed(self) -> Source:
        """Return this end to read from, with the types of its columns where its format does not tell them."""
        return self.source()

    @abstractmethod
    def changed(self, rows: Iterable[Row]) -> Source:
        """Return a source that is other input than ``source()`` was.

        :param rows: what it holds
        """

    @abstractmethod
    def failing(self, rows: list[Row]) -> Source:
        """Return a source that fails when it is half read.

        :param rows: what it would hold
        """

    @abstractmethod
    def missing(self) -> Source:
        """Return a source that is not there."""

    @abstractmethod
    def target(self) -> Target:
        """Return this end to write to."""

    @abstractmethod
    def left(self) -> list[str]:
        """List what still runs or lies about in the service."""

    @abstractmethod
    def things(self) -> set[str]:
        """List the tables or objects that lie in the service."""

    @abstractmethod
    def keep(self) -> None:
        """Keep what is there now for :meth:`reset`."""

    @abstractmethod
    def reset(self) -> None:
        """Put back what :meth:`keep` kept."""

    @abstractmethod
    def sum(self) -> object:
        """Return what tells one content from another, whatever the order of its rows."""

    @abstractmethod
    def can_hold(self, row: Row) -> bool:
        """Say whether a row can be there."""

    names_records: ClassVar[bool] = False
    """Whether, as a target, it names a row of a database by the number of its record, not by a line of CSV."""

    def line_of(self, rows: list[Row], row: Row) -> int:
        """Return the line, or the number of the record, by which a message names a row of a source."""
        before = rows[: rows.index(row)]
        # The rows come as CSV: a header comes first, and a text may have lines of its own.
        return 2 + sum(1 + "".join(text for text in each if isinstance(text, str)).count("\n") for each in before)

    def leftovers(self) -> list[str]:
        """List it once the service has had the time to notice that its client is gone."""
        deadline = time.monotonic() + PATIENCE
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left


def is_unicode(row: Row) -> bool:
    """Say whether a row's texts hold no lone surrogate."""
    return not any("\ud800" <= sign <= "\udfff" for text in row if isinstance(text, str) for sign in text)
