"""What a Snowflake error means: whether a retry can help, and what to tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tradewind.hooks.errors import (
    AccessDenied,
    ConnectionFailed,
    DataError,
    InvalidArgument,
    NotFound,
    PermanentError,
    Throttled,
    TimedOut,
    TradewindError,
    TransientError,
)


class QueryCancelled(TransientError):
    """A statement that somebody stopped: this task's own kill, or an administrator."""


class SerializationFailed(TransientError):
    """A transaction that lost against another one (a deadlock, a lock that many wait for): the next try may win."""


CANCELLED = 604
"""The number of a statement that was cancelled."""

# Numbers of the service (up to 6 digits, 39xxxx for logins) and of the client (25xxxx, 29xxxx for HTTP).
_NUMBERS: dict[type[TradewindError], str] = {
    QueryCancelled: "604",
    TimedOut: "630 636 253006 250016",
    SerializationFailed: "625 627 200001 200002",
    Throttled: "290429 390189429",
    ConnectionFailed: """
        250001 250002 250003 250005 250006 250010 251001 251002 251010 251011 290000 290500 290502 290503 290504
        290400 290403 290405 290408 390104 390110 390111 390112 390113 390114 390115 390195 390201503
    """,
    TransientError: "603 300002 300005 370001 609",
    AccessDenied: """
        3001 3003 3041 3540 390100 390101 390102 390118 390120 390127 390128 390130 390132 390133 390135 390142 390144
        390170 390183 390186 390189 390190 390191 390194 390302 390303 390313 390318 390420 390422 394300 394304 394305
        394306 394400 394401 394402 394403 394404 250008
    """,
    NotFound: "2003 2043 2023 904 709 391801 390201",
    InvalidArgument: "8 900 1003 1007 1008 1011 1023 1030 1044 2001 2002 2019 2040 2211 606 90105 90106 250004 251004",
}
_BY_NUMBER = {int(number): kind for kind, numbers in _NUMBERS.items() for number in numbers.split()}

# SQLSTATE, the longest match first: https://docs.snowflake.com/en/developer-guide/snowflake-scripting/exceptions
_BY_STATE: dict[str, type[TradewindError]] = {
    "02000": NotFound,
    "42501": AccessDenied,
    "42S02": NotFound,
    "57014": QueryCancelled,
    "57P03": InvalidArgument,
    "08": ConnectionFailed,
    "0A": InvalidArgument,
    "22": DataError,
    "23": DataError,
    "28": AccessDenied,
    "40": SerializationFailed,
    "42": InvalidArgument,
    "57": TransientError,
    "XX": TransientError,
}

# The connector reports refused logins and unreachable servers by one number; what the service said tells them apart.
_REFUSED = re.compile(
    r"incorrect username or password|jwt token is invalid|invalid oauth|token is (invalid|expired|disabled)|"
    r"user access disabled|user temporarily locked|is not allowed to access snowflake|not authorized|mfa|"
    r"network policy|authentication (attempt )?(rejected|failed)|password.*(expired|changed)|39\d{4}",
    re.IGNORECASE,
)

_ADVICE = {
    606: "name a warehouse in the connection or the operator, and grant usage on it to the role",
    90105: "name a database in the connection or the operator",
    90106: "name a schema in the connection or the operator",
    390144: "the user's public key does not fit the private key, or the account or login is misspelt",
    390189: "see the connection's role",
    390201: "see the connection's database, schema, warehouse and role",
}

# A syntax error quotes the statement, in which values may stand.
_QUOTES = frozenset((1003, 900))
_LINE = re.compile(r"\bline (\d+)\b", re.IGNORECASE)
_COLUMN = re.compile(r"column '?\"?(?P<column>[\w$]+)\"?'?", re.IGNORECASE)
_VALUE = re.compile(r"value '(?P<value>[^']*)'")


def classify(error: BaseException, doing: str = "", secrets: Iterable[str] = ()) -> TradewindError:
    """Make the Tradewind error that a driver's error stands for.

    :param error: what the connector raised
    :param doing: what was going on, the start of the message
    :param secrets: texts that must not appear in the message
    """
    return made(number_of(error), _state(error), without(_text(error), secrets), doing, type(error).__name__)


def made(number: int, state: str, text: str, doing: str = "", kind: str = "") -> TradewindError:
    """Make an error of what the service said.

    :param number: its number, 0 for none
    :param state: its SQLSTATE, empty for none
    :param text: its words
    :param doing: what was going on
    :param kind: the class of the driver's error
    """
    text = _plain(number, text)
    found = _kind(number, state, text, kind)
    advice = _ADVICE.get(number)
    message = ": ".join(part for part in (doing, text) if part)
    message += f" [{number:06d}]" if number > 0 and f"{number:06d}" not in message else ""
    message += f" ({advice})" if advice else ""
    if issubclass(found, DataError):
        line, column, value = _LINE.search(text), _COLUMN.search(text), _VALUE.search(text)
        return DataError(
            message,
            line=int(line[1]) if line else None,
            column=column["column"] if column else None,
            value=value["value"][:200] if value else None,
        )
    return found(message)


def number_of(error: BaseException) -> int:
    """Return the number of a driver's error, 0 where it has none."""
    number = getattr(error, "errno", None)
    try:
        return max(int(number), 0) if number is not None else 0
    except (TypeError, ValueError):
        return 0


@contextmanager
def translated(doing: str = "", secrets: Iterable[str] = ()) -> Iterator[None]:
    """Raise the driver's errors as Tradewind's.

    :param doing: what is going on, for the message
    :param secrets: texts that must not appear in it
    """
    from snowflake.connector.errors import Error

    try:
        yield
    except Error as error:
        hidden = tuple(secret for secret in secrets if secret)
        shows = number_of(error) in _QUOTES or any(secret in str(error) for secret in hidden)
        # The chain would show what the message does not.
        raise classify(error, doing, hidden) from (None if shows else error)
    except (OSError, TimeoutError) as error:
        raise ConnectionFailed(f"{doing}: {without(str(error), secrets)}") from error


def without(text: str, secrets: Iterable[str]) -> str:
    """Take secrets out of a text.

    :param text: what is to be shown
    :param secrets: what must not be
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def _kind(number: int, state: str, text: str, kind: str) -> type[TradewindError]:
    if number in (250001, 251001, 390201) and _REFUSED.search(text):
        return AccessDenied
    if number in _BY_NUMBER:
        return _BY_NUMBER[number]
    if 100_000 <= number < 200_000:
        return DataError
    if 390_000 <= number < 400_000:
        return AccessDenied
    for length in (5, 2):
        if state[:length] in _BY_STATE:
            return _BY_STATE[state[:length]]
    if 290_000 <= number < 291_000 or kind in ("InterfaceError", "OperationalError", "InternalServerError"):
        return ConnectionFailed
    if kind in ("ServiceUnavailableError", "BadGatewayError", "GatewayTimeoutError", "RequestTimeoutError"):
        return ConnectionFailed
    return InvalidArgument if kind == "ProgrammingError" else PermanentError if kind == "" else TradewindError


def _state(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    return str(state) if state and state != "n/a" else ""


def _text(error: Any) -> str:
    return str(getattr(error, "raw_msg", None) or getattr(error, "msg", None) or error)


def _plain(number: int, text: str) -> str:
    """Take out number, state and ids, which connectors write before or behind the text, and what it quotes of SQL."""
    text = re.sub(r"^(?:\d{6} \(\w+\): )+", "", " ".join(text.split()))
    text = re.sub(r"^[0-9a-f]{8}-[0-9a-f-]{27}: ", "", text)
    text = re.sub(r" ?\((?:request_id|sfqid)=[^)]*\)", "", text)
    if number in _QUOTES:
        found = re.search(r"syntax error.*?line \d+ at position \d+|Line \d+, Col: \d+", text, re.IGNORECASE)
        return f"syntax error: {found[0]}" if found else "syntax error"
    return text.rstrip(".")
