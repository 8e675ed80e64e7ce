"""Temporary stages: they go with the session that made them, as temporary tables do."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from typing import Any

from tests.snowflake.service.copying import names
from tests.snowflake.service.external import OUTSIDE

_MADE = re.compile(
    r"\s*create\s+(?:or\s+replace\s+)?temp(?:orary)?\s+stage\s+((?:\"(?:[^\"]|\"\")*\"|[\w$]|\.)+)", re.I
)
_STAGES = "_fs_global._fs_information_schema._fs_stages"


def stage(sql: str, session: Any) -> tuple[str, ...] | None:
    """Return the whole name of the temporary stage that a statement makes, None where it makes none."""
    found = _MADE.match(sql)
    return (session.database, session.schema, *names(found[1]))[-3:] if found else None


def drop(stages: Iterable[tuple[str, ...]], duck: Any) -> None:
    """Drop stages with their files.

    :param duck: a connection of DuckDB
    """
    import fakesnow.transforms.stage as files

    for database, schema, name in stages:
        duck.execute(
            f"DELETE FROM {_STAGES} WHERE database_name = ? AND schema_name = ? AND name = ?", [database, schema, name]
        )
        shutil.rmtree(files.internal_dir(f"{database}.{schema}.{name}"), ignore_errors=True)
        OUTSIDE.stages.pop(f"{database}.{schema}.{name}", None)


def listed(duck: Any) -> list[str]:
    """List the stages that are there."""
    rows = duck.execute(f"SELECT database_name, schema_name, name FROM {_STAGES}").fetchall()
    return [*(".".join(row) for row in rows), *OUTSIDE.stages]
