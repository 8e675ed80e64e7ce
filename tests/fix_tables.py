"""A database of a test's own in each service, for promises that all of them keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from tradewind.operators.sql_table import SqlTable

Service = Literal["postgres", "mysql"]


@dataclass(frozen=True)
class Tables:
    """A database in one of the services.

    :param service: which one
    :param conn_id: an Airflow connection to it
    :param run: runs SQL with the plain driver, past the code under test, and commits
    :param parameters: the connection, as Airflow keeps it
    :param name: the database
    """

    service: Service
    conn_id: str
    run: Callable[..., list[tuple[Any, ...]]]
    parameters: Mapping[str, Any]
    name: str
    define: Callable[..., str]

    def query(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Run SQL with the plain driver and commit; return the rows, if there are any."""
        return self.run(sql, parameters)

    def table(self, name: str = "t", **arguments: Any) -> SqlTable:
        """Return an end of a copy."""
        if self.service == "postgres":
            from tradewind.postgres.tables import PostgresTable

            return PostgresTable(name, **{"conn_id": self.conn_id, **arguments})
        from tradewind.mysql.tables import MySqlTable

        return MySqlTable(name, **{"conn_id": self.conn_id, **arguments})

    def pick(self, *, postgres: str, mysql: str) -> str:
        """Return what this service's SQL says."""
        return postgres if self.service == "postgres" else mysql

    @contextmanager
    def role(self, *grants: str) -> Iterator[str]:
        """Make a user with some rights; give an Airflow connection of that user's.

        :param grants: what is granted, as ``SELECT ON t``
        """
        user = f"role_{self.name[-12:]}"
        self.query(
            self.pick(postgres=f"CREATE ROLE {user} LOGIN PASSWORD 'x'", mysql=f"CREATE USER {user} IDENTIFIED BY 'x'")
        )
        try:
            for grant in grants:
                self.query(f"GRANT {grant} TO {user}")
            yield self.define(f"as_{user}", {**self.parameters, "login": user, "password": "x"})
        finally:
            self.query(self.pick(postgres=f"DROP OWNED BY {user}; DROP ROLE {user}", mysql=f"DROP USER {user}"))


@pytest.fixture(params=["postgres", "mysql"])
def tables(request: pytest.FixtureRequest, connection: Callable[..., str]) -> Tables:
    """Return a database of the test's own in each of the services, one after the other."""
    service: Service = request.param
    database = request.getfixturevalue("database" if service == "postgres" else "mysql_database")
    return Tables(service, database.conn_id, database.query, database.connection(), database.name, connection)
