"""What Redshift's errors mean. It gives most of them one SQLSTATE, so that their texts have to tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tradewind.hooks.errors import (
    AccessDenied,
    ConnectionFailed,
    DataError,
    InvalidArgument,
    NotFound,
    PermanentError,
    TradewindError,
    TransientError,
)
from tradewind.hooks.libpq.errors import QueryCancelled, SerializationFailed, translated

PASSING = re.compile(
    r"serializable isolation violation|deadlock detected|conflict with concurrent transaction"
    r"|could not connect|connection .*(closed|lost|reset)"
    r"|server closed|cluster is (restarting|resizing|paused)|too many connections|restarting|being re-?booted",
    re.IGNORECASE,
)
"""What statements fail of that may run the next time."""

_BY_TEXT: tuple[tuple[str, type[TradewindError]], ...] = (
    (r"serializable isolation|deadlock detected|conflict with concurrent|could not serialize", SerializationFailed),
    (r"cancel+ed on user|canceling statement|query .*cancel", QueryCancelled),
    (r"permission denied|not authorized|access ?denied|must be owner|unable to assume", AccessDenied),
    (r"load into table .* failed|value too long|invalid input syntax|numeric .*overflow|out of range", DataError),
    (r"inflate|decompress", DataError),
    (r"cannot insert a null|null value in column", DataError),
    (r"does not exist|doesn't exist", NotFound),
    (r"syntax error|is not empty|argument is required", InvalidArgument),
)


def kind_of(text: str) -> type[TradewindError]:
    """Return what kind of error a text tells of.

    :param text: the server's
    """
    for pattern, kind in _BY_TEXT:
        if re.search(pattern, text, re.IGNORECASE):
            return kind
    return ConnectionFailed if PASSING.search(text) else PermanentError


@contextmanager
def redshift_errors(doing: str, secrets: tuple[str, ...] = ()) -> Iterator[None]:
    """Raise the driver's errors as Tradewind's, by their texts where the server gives no telling SQLSTATE.

    :param doing: what is going on, for the message
    :param secrets: texts that must not appear in it
    """
    try:
        with translated(doing, secrets):
            yield
    except (TransientError, PermanentError):
        raise
    except TradewindError as error:  # XX000: the server's own word for nearly everything
        raise kind_of(str(error))(str(error)) from error.__cause__
