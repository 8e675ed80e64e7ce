"""What a PostgreSQL error means: whether a retry can help, and what to tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tradewind.hooks.errors import (
    AccessDenied,
    ConnectionFailed,
    DataError,
    InvalidArgument,
    NotFound,
    Throttled,
    TimedOut,
    TradewindError,
    TransientError,
)

if TYPE_CHECKING:
    import psycopg2


class QueryCancelled(TransientError):
    """A statement that somebody stopped: this task's own kill, or an administrator."""


class SerializationFailed(TransientError):
    """A transaction that lost against another one (deadlock, serialization failure): the next try may win."""


# SQLSTATE, or its first two characters: https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_STATE: dict[str, type[TradewindError]] = {
    "08": ConnectionFailed,
    "22": DataError,
    "23": DataError,
    "25006": ConnectionFailed,  # a writer that became a reader: after a failover the next connect finds the new one
    "25P03": TimedOut,
    "25P04": TimedOut,
    "28": AccessDenied,
    "3D": NotFound,
    "3F": NotFound,
    "40": SerializationFailed,
    "42": InvalidArgument,
    "42501": AccessDenied,
    "42703": NotFound,
    "42704": NotFound,
    "42883": NotFound,
    "42P01": NotFound,
    "53": Throttled,
    "55P03": TimedOut,
    "57014": QueryCancelled,
    "57P": ConnectionFailed,
    "57P04": NotFound,
    "58": TransientError,
}

# libpq tells why a connection failed by text alone (psycopg2 has no SQLSTATE for it).
_BY_TEXT: tuple[tuple[str, type[TradewindError]], ...] = (
    (r"authentication failed|no password supplied|no pg_hba\.conf entry|pg_hba\.conf rejects", AccessDenied),
    (r"role .* (does not exist|is not permitted)|permission denied for database|channel binding", AccessDenied),
    (r"certificate verify failed|does not match host name|unknown ca|certificate required", AccessDenied),
    (r"database .* does not exist|definition of service .* not found", NotFound),
    (r"(certificate|key) file .* (does not exist|has group|could not)", InvalidArgument),
    (r"could not (load|read|open) .*(file|certificate)", InvalidArgument),
    (r"invalid .* value|invalid (port|integer|connection option|URI)|could not match \d+ (port|host)", InvalidArgument),
    (r"does not support SSL, but SSL was required", InvalidArgument),
    (r"too many (clients|connections)|connection slots are reserved", Throttled),
    (r"timeout expired", TimedOut),
    # libpq's answer where the connection breaks within a COPY TO STDOUT
    (r"no message from the libpq", ConnectionFailed),
    (r"connection|server|could not translate host name|SSL|session is|starting up|shutting down", ConnectionFailed),
)

_COPY_CONTEXT = re.compile(
    r'COPY (?P<table>.+?), line (?P<line>\d+)(?:, column (?P<column>[^:]+))?(?:: "(?P<value>.*)")?', re.S
)


def classify(error: psycopg2.Error, doing: str = "", secrets: Iterable[str] = ()) -> TradewindError:
    """Make the Tradewind error that a driver's error stands for.

    :param error: what psycopg2 raised
    :param doing: what was going on, the start of the message
    :param secrets: texts that must not appear in the message
    """
    state = getattr(error, "pgcode", None)
    kind = _kind_by_state(state) if state else _kind_by_text(error)
    text = without(_text(error), secrets)
    if state == "57014" and "timeout" in text:
        kind = TimedOut
    message = f"{doing}: {text}" if doing else text
    if issubclass(kind, DataError):
        return _data_error(error, message)
    return kind(message)


@contextmanager
def translated(doing: str = "", secrets: Iterable[str] = ()) -> Iterator[None]:
    """Raise the driver's errors as Tradewind's.

    :param doing: what is going on, for the message
    :param secrets: texts that must not appear in it
    """
    import psycopg2

    try:
        yield
    except psycopg2.Error as error:
        hidden = tuple(secrets)
        made = classify(error, doing, hidden)
        # A driver's text that holds a secret would be shown by the chain.
        told = None if any(secret and secret in str(error) for secret in hidden) else error
        raise made from told


def without(text: str, secrets: Iterable[str]) -> str:
    """Take secrets out of a text.

    :param text: what is to be shown
    :param secrets: what must not be
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def _kind_by_state(state: str) -> type[TradewindError]:
    for length in (5, 3, 2):
        if kind := _BY_STATE.get(state[:length]):
            return kind
    return TradewindError  # neither branch: Airflow's own retry settings decide


def _kind_by_text(error: Exception) -> type[TradewindError]:
    import psycopg2

    if isinstance(error, psycopg2.ProgrammingError | psycopg2.NotSupportedError):
        return InvalidArgument
    if isinstance(error, psycopg2.DataError):
        return DataError
    text = str(error)
    for pattern, kind in _BY_TEXT:
        if re.search(pattern, text, re.IGNORECASE):
            return kind
    return ConnectionFailed if isinstance(error, psycopg2.OperationalError) else TradewindError


def _text(error: psycopg2.Error) -> str:
    diag = getattr(error, "diag", None)
    if diag is None or not diag.message_primary:
        return " ".join(str(error).split()) or type(error).__name__
    parts = [diag.message_primary]
    if diag.message_detail:
        parts.append(f"({diag.message_detail.rstrip('.')})")
    if diag.message_hint:
        parts.append(f"(hint: {diag.message_hint.rstrip('.')})")
    if diag.context and (match := _COPY_CONTEXT.match(diag.context)):
        parts.append(f"({match.group(0)})")
    return " ".join(parts)


def _data_error(error: psycopg2.Error, message: str) -> DataError:
    diag = getattr(error, "diag", None)
    column = diag.column_name if diag else None
    match = _COPY_CONTEXT.match(diag.context) if diag and diag.context else None
    if match is None:
        return DataError(message, column=column)
    value = match["value"]
    return DataError(
        message,
        line=int(match["line"]),
        column=match["column"] or column,
        value=value if value is None else value[:200],
    )
