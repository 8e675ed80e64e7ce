"""What a connection of Airflow's asks of MySQL."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.nearest import nearest
from tradewind.mysql.tls import TLS_KEYS, Tls, read_tls

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from tradewind.hooks.compat import Connection
    from tradewind.hooks.work import Work

# Keys of the extra that this hook hands on, those that it reads itself, and those of Airflow's generic SQL classes.
CONNECT_KEYS = (
    "bind_address",
    "charset",
    "client_flag",
    "collation",
    "connect_timeout",
    "init_command",
    "local_infile",
    "read_timeout",
    "sql_mode",
    "unix_socket",
    "write_timeout",
)
SESSION_TIMEOUTS = ("statement_timeout", "lock_timeout")
HOOK_KEYS = (
    *SESSION_TIMEOUTS,
    "aws_conn_id",
    "client",
    "cursor",
    "dialect",
    "escape_column_names",
    "escape_word_format",
    "iam",
    "insert_statement_format",
    "placeholder",
    "region",
    "region_name",
    "replace_statement_format",
    "sqlalchemy_query",
    "sqlalchemy_scheme",
)
KEYS = frozenset((*CONNECT_KEYS, *HOOK_KEYS, *TLS_KEYS))

CURSORS = {"cursor": "Cursor", "sscursor": "SSCursor", "dictcursor": "DictCursor", "ssdictcursor": "SSDictCursor"}
CLIENTS = ("mysqlclient", "mysql-connector-python", "pymysql")

CONNECT_TIMEOUT = 10.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 31_536_000.0
_UTF8 = frozenset(("utf8", "utf-8", "utf8mb3", "utf8mb4"))
# What the server may do on a client's word alone stays off; TLS and local files have options of their own.
_REFUSED_FLAGS = {
    "MULTI_STATEMENTS": "the hook splits a text into its statements",
    "LOCAL_FILES": "set local_infile",
    "SSL": "set ssl_mode",
    "COMPRESS": "PyMySQL cannot compress",
}


@dataclass(frozen=True)
class Options:
    """How to connect; the password is in it and not in its repr.

    :param database: None for none
    :param unix_socket: takes the place of host and port
    :param read_timeout: how long the server may be silent, None for as long as it works
    :param sql_mode: the whole ``sql_mode``; by default the server's own and the strict modes
    :param cursor: what the extra ``cursor`` names
    """

    host: str = "localhost"
    port: int = 3306
    user: str = ""
    password: str = field(default="", repr=False)
    database: str | None = None
    unix_socket: str | None = None
    bind_address: str | None = None
    charset: str = "utf8mb4"
    collation: str | None = None
    connect_timeout: float = CONNECT_TIMEOUT
    read_timeout: float | None = None
    write_timeout: float | None = None
    init_command: str | None = field(default=None, repr=False)
    sql_mode: str | None = None
    local_infile: bool = False
    client_flag: int = 0
    cursor: str = "cursor"
    tls: Tls = field(default_factory=Tls)


def read_options(connection: Connection, overrides: Mapping[str, Any], database: str | None) -> Options:
    """Make the options to connect with.

    :param connection: Airflow's connection
    :param overrides: options that win over the connection's extra
    :param database: a database that wins over the connection's
    :raises InvalidArgument: for a key that the hook does not know, or a value that cannot work
    """
    extra = {**connection.extra_dejson, **overrides}
    for name in extra:
        if name not in KEYS and not name.startswith("extra__"):
            hint = _near(name, KEYS) or f": use one of {', '.join(sorted(KEYS))}"
            raise InvalidArgument(f"connection {connection.conn_id} has an unknown option {name!r}{hint}")
    _one_of("client", extra.get("client"), CLIENTS)
    given = {name: extra[name] for name in CONNECT_KEYS if extra.get(name) not in (None, "")}
    made: dict[str, Any] = {name: _READERS.get(name, _text)(name, value) for name, value in given.items()}
    unix_socket = made.pop("unix_socket", None)
    host = connection.host or ""
    if host.startswith("/"):
        host, unix_socket = "", unix_socket or host
    if "," in host:
        raise InvalidArgument(f"connection {connection.conn_id} names several hosts, {host!r}: MySQL takes one")
    return Options(
        host=host or "localhost",
        port=_port(connection.port),
        user=connection.login or "",
        password=connection.password or "",
        database=database or connection.schema or None,
        unix_socket=unix_socket,
        cursor=_one_of("cursor", extra.get("cursor"), CURSORS) or "cursor",
        tls=read_tls(extra),
        **made,
    )


def session_timeouts(connection: Connection, arguments: Mapping[str, Any]) -> dict[str, float]:
    """Collect the time-outs of statements and locks, in seconds.

    :param connection: its extra is read where an argument is None
    :param arguments: time-outs by name: seconds, or a text with a unit as ``30s``
    """
    extra = connection.extra_dejson
    given = {name: extra.get(name) if arguments.get(name) is None else arguments[name] for name in SESSION_TIMEOUTS}
    return {name: duration(name, value) for name, value in given.items() if value not in (None, "")}


def duration(name: str, value: Any) -> float:
    """Read a time-out.

    :param name: whose value it is, for the message
    :param value: seconds, or a text with a unit (ms, s, min, h, d)
    :return: seconds
    :raises InvalidArgument: where it is neither
    """
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        seconds = float(match[1]) * _UNITS[match[2]] if match else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 < seconds <= _LONGEST:
        raise InvalidArgument(f'{name} must be seconds, or a text with a unit as "30s", not {value!r}')
    return seconds


def make_url(options: Options, scheme: str | None, query: Any) -> URL:
    """Make SQLAlchemy's URL, for its dialect ``mysql+pymysql``.

    :param options: how to connect
    :param scheme: the extra's ``sqlalchemy_scheme``, PyMySQL's by default
    :param query: the extra's ``sqlalchemy_query``, further parameters
    """
    from sqlalchemy.engine import URL

    found = {
        "charset": options.charset,
        "connect_timeout": f"{math.ceil(options.connect_timeout)}",
        "read_timeout": options.read_timeout and f"{math.ceil(options.read_timeout)}",
        "write_timeout": options.write_timeout and f"{math.ceil(options.write_timeout)}",
        "unix_socket": options.unix_socket,
        "sql_mode": options.sql_mode,
        **_url_tls(options.tls),
    }
    return URL.create(
        scheme or "mysql+pymysql",
        username=options.user or None,
        password=options.password or None,
        host=None if options.unix_socket else options.host,
        port=None if options.unix_socket else options.port,
        database=options.database,
        query={
            **{name: str(value) for name, value in found.items() if value},
            **(query if isinstance(query, Mapping) else {}),
        },
    )


def _url_tls(tls: Tls) -> dict[str, str]:
    found = {f"ssl_{name}": value for name, value in tls.options}
    if tls.required:
        # The dialect hands these to PyMySQL as its dictionary "ssl".
        found["ssl_check_hostname"] = str(tls.mode == "VERIFY_IDENTITY").lower()
        found["ssl_verify_mode"] = "required" if tls.mode.startswith("VERIFY") else "none"
    return found


def program_name(work: Work | None = None) -> str:
    """Name the session to the server: which DAG and task works there.

    :param work: whose work it is, by default what Airflow says in the environment of a task
    """
    if work is not None:
        mapped = f"[{work.map_index}]" if work.map_index >= 0 else ""
        name = f"{work.dag_id}.{work.task_id}{mapped} try {work.try_number}"
    else:
        name = ".".join(filter(None, (os.environ.get(f"AIRFLOW_CTX_{part}_ID") for part in ("DAG", "TASK"))))
    return f"tradewind {name}".strip()[:512]


def _charset(name: str, value: Any) -> str:
    if str(value).lower() in _UTF8:
        return "utf8mb4"  # its old name means the three-byte half of it, which cannot hold an emoji
    from pymysql.charset import charset_by_name

    try:
        charset: Any = charset_by_name(str(value).lower())
        return str(charset.name)
    except (AttributeError, KeyError):
        raise InvalidArgument(f"unknown charset {value!r}: leave it out for utf8mb4") from None


def _client_flag(name: str, value: Any) -> int:
    from pymysql.constants import CLIENT

    flags = {flag: bit for flag, bit in vars(CLIENT).items() if flag.isupper() and isinstance(bit, int)}
    if isinstance(value, int) and not isinstance(value, bool):
        bits = value
    else:
        names = re.split(r"[\s,|]+", value.strip()) if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(flag, str) for flag in names):
            raise InvalidArgument(f"client_flag must be a number or names, as FOUND_ROWS, not {value!r}")
        bits = 0
        for flag in names:
            plain = flag.upper().removeprefix("CLIENT_")
            if plain not in flags:
                raise InvalidArgument(f"unknown client_flag {flag!r}{_near(plain, flags)}")
            bits |= flags[plain]
    for flag, reason in _REFUSED_FLAGS.items():
        if bits & flags[flag]:
            raise InvalidArgument(f"client_flag {flag} cannot be set: {reason}")
    return bits


def _seconds(name: str, value: Any) -> float:
    return duration(name, value)


def _boolean(name: str, value: Any) -> bool:
    text = str(value).lower()
    if text not in ("0", "1", "true", "false"):
        raise InvalidArgument(f"{name} must be true or false, not {value!r}")
    return text in ("1", "true")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} must be a text, not {type(value).__name__}")
    return value


def _word(name: str, value: Any) -> str:
    if not re.fullmatch(r"\w+", _text(name, value)):
        raise InvalidArgument(f"{name} must be one word, not {value!r}")
    return str(value)


def _port(value: Any) -> int:
    port = int(value) if value else 3306
    if not 0 < port < 65536:
        raise InvalidArgument(f"port must be between 1 and 65535, not {port}")
    return port


def _one_of(name: str, value: Any, choices: Iterable[str]) -> str | None:
    if value in (None, ""):
        return None
    known = list(choices)
    if str(value).lower() not in known:
        hint = _near(str(value), known) or f": use one of {', '.join(known)}"
        raise InvalidArgument(f"unknown {name} {value!r}{hint}")
    return str(value).lower()


def _near(name: str, names: Iterable[str]) -> str:
    wanted = {text.lower(): text for text in names}
    near = nearest(name.lower(), list(wanted))
    return f": did you mean {wanted[near[0]]!r}?" if near else ""


_READERS: dict[str, Any] = {
    "charset": _charset,
    "client_flag": _client_flag,
    "collation": _word,
    "connect_timeout": _seconds,
    "local_infile": _boolean,
    "read_timeout": _seconds,
    "write_timeout": _seconds,
}
