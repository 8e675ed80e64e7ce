"""A full disk of the worker, told with the folder that is full."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tradewind.hooks.errors import TransientError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def room(folder: Path, what: str, held: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Translate the error of a full disk; every other one passes.

    :param folder: where it is written
    :param what: what is done, for the message
    :param held: returns the bytes that were written before
    :raises TransientError: where there is no room: a retry may find some
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise TransientError(f"{what}: {_describe(folder, held())}") from error


def _describe(folder: Path, held: int) -> str:
    try:
        found = os.statvfs(folder)
        size = f", whose disk has {_megabytes(found.f_blocks * found.f_frsize)}"
    except OSError:
        size = ""
    more = f": it needs more than the {_megabytes(held)} that were written" if held else ""
    return f"no space left in {folder}{size}{more}; free some, or name a folder on a larger disk"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
