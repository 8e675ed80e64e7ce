"""Connections of hostile names and texts: database, user and password, the session's name, its settings.

What is the user's own SQL or command line, ``init_command`` of MySQL, is exempt: it is run as it stands.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.proofs.hostile_tables import copy, file, put, records
from tests.proofs.listeners import Service
from tests.proofs.payloads import Payloads
from tradewind.hooks.errors import TradewindError

CONN_ID = "hostile"


class ConnectionRound:
    """A database and a user of hostile names: a copy through them, the session's settings, and what must be refused.

    :param service: the server
    :param payloads: makes the names and the values
    :param number: which round it is: in odd ones the server takes backslashes in texts for themselves, where it can
    """

    def __init__(self, service: Service, payloads: Payloads, number: int) -> None:
        self.service = service
        self.payloads = payloads
        self.plain = number % 2 == 1
        self.database, self.user = payloads.name(), payloads.name(service.longest_user)
        self.password, self.run_id = payloads.value(), payloads.value()
        self.rows = [(payloads.value(), payloads.value()) for _ in range(2)]
        self.told: set[str] = set()

    def problems(self) -> list[str]:
        """Run it, and say what went wrong."""
        service = self.service
        service.admit(self.database, self.user, self.password)
        service.statements()
        try:
            with self._connected(service.extras(self.payloads)):
                wrong = [*self._copy(), *self._judge()]
            with service.plain_backslashes(self.plain) as plain:
                wrong += [*self._settings(), *self._refusals(), *self._judge(plain=plain)]
        finally:
            service.dismiss(self.database, self.user)
        if not self.told:
            wrong.append("the server's log holds nothing of this round")
        return wrong

    def _judge(self, *, plain: bool = False) -> list[str]:
        wrong, told = self.service.judge(plain=plain)
        self.told |= told
        return wrong

    @contextmanager
    def _connected(self, extra: dict[str, Any]) -> Iterator[None]:
        """Define the connection."""
        url = {**self.service.place(), "schema": self.database, "login": self.user, "password": self.password}
        name = f"AIRFLOW_CONN_{CONN_ID.upper()}"
        os.environ[name] = json.dumps({**url, "extra": extra})
        try:
            yield
        finally:
            del os.environ[name]

    def _copy(self) -> list[str]:
        """Load a table that the copy makes, and read it back."""
        lines = [["id", "name"], *self.rows]
        quoted = [",".join('"' + text.replace('"', '""') + '"' for text in line) for line in lines]
        put(self.service.client, "".join(f"{line}\n" for line in quoted))
        table = self.service.table("copied", None, CONN_ID)
        copy(self.run_id, file("in"), table, create=True)
        copy(self.run_id, table, file("out"))
        found = records(self.service.client)
        return [] if sorted(found[1:]) == sorted(self.rows) else [f"the table is read as {found}, not {self.rows}"]

    def _settings(self) -> list[str]:
        """Set what a session can keep, and ask for it."""
        wrong = []
        with self._connected({}):
            asked = self.payloads.value()
            if (found := self.service.hook(CONN_ID).get_first("SELECT %s", [asked])) != (asked,):
                wrong.append(f"{asked!r} is asked for, and {found!r} told")
            for settings, sql in self.service.kept(self.payloads):
                found = self.service.hook(CONN_ID, settings=settings).get_first(sql)
                if found != tuple(settings.values()):
                    wrong.append(f"{settings!r} is told as {found!r}")
        return wrong

    def _refusals(self) -> list[str]:
        """Give what cannot be an option or a setting: it must be refused as an error that says so."""
        wrong = []
        for extra, settings in self.service.refused(self.payloads):
            with self._connected(extra):
                try:
                    self.service.hook(CONN_ID, settings=settings).get_first("SELECT 1")
                except TradewindError:
                    continue
                wrong.append(f"not refused: {extra or settings}")
        return wrong
