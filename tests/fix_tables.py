"""A database of a test's own in each service, for promises that all of them keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from tests.fix_mysql import MySqlDatabase
    from tests.fix_postgres import Database
    from tradewind.operators.tables.ends import SqlTable

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
    def role(self, connection: Callable[..., str], *grants: str) -> Iterator[str]:
        """Make a user with some rights; give an Airflow connection of that user's.

        :param connection: the fixture that defines one
        :param grants: what is granted, as ``SELECT ON t``
        """
        user = f"role_{self.name[-12:]}"
        self.query(
            self.pick(postgres=f"CREATE ROLE {user} LOGIN PASSWORD 'x'", mysql=f"CREATE USER {user} IDENTIFIED BY 'x'")
        )
        try:
            for grant in grants:
                self.query(f"GRANT {grant} TO {user}")
            yield connection(f"as_{user}", {**self.parameters, "login": user, "password": "x"})
        finally:
            self.query(self.pick(postgres=f"DROP OWNED BY {user}; DROP ROLE {user}", mysql=f"DROP USER {user}"))


def postgres_tables(database: Database) -> Tables:
    """Return a database in PostgreSQL as one of the services."""
    return Tables("postgres", database.conn_id, database.query, database.connection(), database.name)


def mysql_tables(database: MySqlDatabase) -> Tables:
    """Return a database in MySQL as one of the services."""
    return Tables("mysql", database.conn_id, database.query, database.connection(), database.name)


@pytest.fixture(params=["postgres", "mysql"])
def tables(request: pytest.FixtureRequest) -> Tables:
    """Return a database of the test's own in each of the services, one after the other."""
    if request.param == "postgres":
        return postgres_tables(request.getfixturevalue("database"))
    return mysql_tables(request.getfixturevalue("mysql_database"))
