"""A sample of hostile names and values; ``python -m tests.proofs inject`` tries ten thousand (docs/proofs.md)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fix_mysql import program
from tests.proofs.injection import inject
from tests.proofs.listeners import WORD, MySql, Postgres, Service, open_services
from tests.services import require


@pytest.mark.parametrize(
    ("service", "statement", "bare"),
    [
        (Postgres, """SELECT 'zq1x''; --', E'\\'zq2x', "zq""3x", $a$ zq4x $b$ $a$""", False),
        (Postgres, """SELECT '\\', zq1x""", True),
        (Postgres, """SELECT 1 /* zq1x */""", True),
        (Postgres, '''SELECT "a" zq1x "b"''', True),
        (MySql, r"""SELECT 'zq1x\'; --', 'zq2x''', "zq3x\"", `zq4x``'`""", False),
        (MySql, r"""SELECT '\\', zq1x""", True),
        (MySql, "SELECT `a`zq1x`b`", True),
        (MySql, "SELECT 1 -- zq1x", True),
    ],
)
def test_what_stands_outside_quotes_is_seen(service: type[Service], statement: str, bare: bool) -> None:
    assert bool(WORD.search(service.quoted.sub(" ", statement))) is bare


def test_no_hostile_name_or_value_reaches_a_server_unquoted(
    tmp_path: Path, connection: Callable[..., str], parsed_once: None
) -> None:
    if program() is None:
        require("mysql", "no mariadbd or mysqld: install mariadb-server-core")
    seed = secrets.randbelow(10**6)
    tmp_path.chmod(0o711)  # PostgreSQL may run as another user
    with open_services(tmp_path) as services:
        for name, value in services[0].stage.connections().items():
            connection(name.removeprefix("AIRFLOW_CONN_"), value)

        done = inject(services, seed, 120)

    assert done.problems == [], f"seed {seed}"
    assert done.told > done.rounds * 5
