"""A table as the end of a copy: what every database's has in its declaration."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.ends import Source, Target
from tradewind.operators.expecting import Expectation
from tradewind.operators.projection import Columns, Constant, Projecting
from tradewind.operators.tables.ledger import LEDGER_DAYS


class SqlTable(Projecting, Source, Target):
    """A table with a ledger beside it.

    :param table: the table, as SQL writes it
    :param conn_id: Airflow's connection
    :param ledger: the ledger's table, ``tradewind_ledger`` beside the target by default
    :param ledger_days: after how many days an entry may be forgotten: a cleared task of an older run loads again
    :param columns: of a source: the columns that are wanted, a list; or how the target calls them, a dict as
        ``{"dep_time": "departure"}``, or what it makes of them, as ``{"dep_time": Field("departure", type="date")}``
    :param constants: of a source: columns that hold the same in each row, as ``{"day": "{{ ds }}"}``
    """

    template_fields: ClassVar[Sequence[str]] = ("table", "conn_id", "ledger", "columns", "constants")
    creates: ClassVar[bool] = True

    def __init__(
        self,
        table: str,
        *,
        conn_id: str,
        ledger: str | None = None,
        ledger_days: int = LEDGER_DAYS,
        columns: Columns | None = None,
        constants: Mapping[str, Constant] | None = None,
    ) -> None:
        self.table = table
        self.conn_id = conn_id
        self.ledger = ledger
        self.ledger_days = ledger_days
        self.columns = columns
        self.constants = constants

    @abstractmethod
    def check_name(self, text: str) -> None:
        """Refuse what is no name of a table.

        :raises InvalidArgument: where it is none
        """

    @abstractmethod
    def ledger_ddl(self) -> str:
        """Return the statement that makes the ledger, for somebody who may run it."""

    def check_expectation(self, expectation: Expectation) -> None:
        """Refuse what names no tables or columns."""
        expectation.check()
        for text in expectation.names():
            self.check_name(text)

    def describe(self) -> str:
        """Name the table and its connection."""
        return f"{self.table} on {self.conn_id}"

    def check(self) -> None:
        """Refuse names that are none; templates are seen when they are rendered."""
        for argument, text in (("table", self.table), ("ledger", self.ledger)):
            if text is None and argument == "ledger":
                continue
            if not isinstance(text, str) or not text.strip():
                raise InvalidArgument(f"{argument} must be the name of a table, as 'staging.flights', not {text!r}")
            if "{{" not in text and "{%" not in text:
                self.check_name(text)
        self.check_connection()
        self.check_projection()
        if not isinstance(self.ledger_days, int) or self.ledger_days < 1:
            raise InvalidArgument(f"ledger_days must be a whole number from 1 on, not {self.ledger_days!r}")

    def check_connection(self) -> None:
        """Refuse what names no connection.

        :raises InvalidArgument: where it names none
        """
        check_conn_id(self.conn_id)


def check_conn_id(conn_id: object) -> None:
    """Refuse what names no connection.

    :param conn_id: Airflow's connection
    """
    if not isinstance(conn_id, str) or not conn_id:
        raise InvalidArgument(f"conn_id must be the name of a connection, not {conn_id!r}")
