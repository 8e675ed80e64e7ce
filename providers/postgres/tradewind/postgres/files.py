"""COPY between a table and a local file, as ``copy_expert`` is known, without its traps."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tradewind.hooks.disk import room
from tradewind.hooks.errors import NotFound
from tradewind.postgres.inserts import copy_direction

if TYPE_CHECKING:
    from tradewind.postgres.hooks import PostgresHook


def copy_with_file(hook: PostgresHook, sql: str, path: Path) -> int:
    """Run a COPY with a local file; the statement alone decides the direction.

    :param hook: the connection
    :param sql: ``COPY ... FROM STDIN`` or ``COPY ... TO STDOUT``
    :param path: the file to read, which must be there, or to write, which appears whole or not at all
    :return: the rows copied
    :raises InvalidArgument: where the statement does neither
    :raises NotFound: where the file to read is not there
    """
    if copy_direction(sql) == "out":
        return _write(hook, sql, path)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"file {path} is not there: COPY FROM STDIN reads it") from None
    with file:
        return hook.copy_in(sql, file)


def _write(hook: PostgresHook, sql: str, path: Path) -> int:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with room(path.parent, f"write {path}"), os.fdopen(handle, "wb") as file:
            rows = hook.copy_out(sql, file)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return rows
