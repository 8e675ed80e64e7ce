"""What a connection of Airflow's asks of libpq."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.nearest import nearest

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from tradewind.hooks.compat import Connection
    from tradewind.hooks.work import Work

# Only for suggestions: which options there are, libpq is asked.
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
SUGGESTED = re.findall(
    r"\w+",
    """
    application_name channel_binding client_encoding connect_timeout dbname fallback_application_name
    gssdelegation gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle
    keepalives_interval krbsrvname load_balance_hosts options passfile password port require_auth requirepeer
    service ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl
    sslcrldir sslkey sslmode sslnegotiation sslpassword sslrootcert sslsni target_session_attrs
    tcp_user_timeout user
    """,
)

# Keys of the extra that mean something to the hook or to Airflow's generic SQL classes, and nothing to libpq.
SESSION_TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
HOOK_KEYS = frozenset(
    (
        *SESSION_TIMEOUTS,
        "cursor",
        "iam",
        "aws_conn_id",
        "region",
        "region_name",
        "dialect",
        "enable_log_db_messages",
        "escape_column_names",
        "escape_word_format",
        "insert_statement_format",
        "placeholder",
        "replace_statement_format",
        "sqlalchemy_query",
        "sqlalchemy_scheme",
    )
)

CURSORS = {"dictcursor": "DictCursor", "namedtuplecursor": "NamedTupleCursor", "realdictcursor": "RealDictCursor"}

# A dead server or a cut network shows within about 100 s, even while a long query runs.
DEFAULTS: dict[str, Any] = {
    "connect_timeout": 10,
    "client_encoding": "utf8",
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 5,
    "tcp_user_timeout": 100_000,
}

# A vanished worker shows to the server within about two minutes in silence, and within 5 s where its socket closed
# while a query runs; then the server rolls back.
SERVER_SETTINGS = {
    "tcp_keepalives_idle": "60",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
    "tcp_user_timeout": "120000",
    "client_connection_check_interval": "5000",
}

_DURATION = re.compile(r"\d+(\.\d+)?\s*(us|ms|s|min|h|d)")


@lru_cache
def known(option: str) -> bool:
    """Ask libpq whether it knows an option.

    :param option: its name
    """
    import psycopg2
    from psycopg2.extensions import parse_dsn

    if not re.fullmatch(r"[a-z_0-9]+", option):
        return False
    try:
        parse_dsn(f"{option}=''")
    except psycopg2.Error:
        return False
    return True


def libpq_options(
    connection: Connection,
    overrides: Mapping[str, Any],
    database: str | None,
    hook_keys: frozenset[str] = HOOK_KEYS,
) -> dict[str, Any]:
    """Make the options to connect with.

    :param connection: Airflow's connection; what its own fields leave empty may stand in its extra
    :param overrides: options that win over the connection's extra
    :param database: a database that wins over the connection's
    :param hook_keys: keys of the extra that mean something to the hook, and nothing to libpq
    :return: the options by libpq's names, the password among them
    :raises InvalidArgument: for a key that neither libpq nor the hook knows
    """
    extra = {**connection.extra_dejson, **overrides}
    options = {name: value for name, value in DEFAULTS.items() if known(name)}
    for name, value in extra.items():
        if known(name):
            if value is not None and value != "":
                options[name] = _text(name, value)
        elif name not in hook_keys and not name.startswith("extra__"):
            raise InvalidArgument(_unknown(name, connection.conn_id, hook_keys))
    fields = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.login,
        "password": connection.password,
        "dbname": database or connection.schema,
    }
    options |= {name: value for name, value in fields.items() if value}
    return options


def session_settings(connection: Connection, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Collect the time-outs that are set on the server after connecting.

    :param connection: its extra is read where an argument is None
    :param arguments: time-outs by name: seconds, or a text with a unit as ``30s``
    :return: PostgreSQL's own notation by name
    """
    extra = connection.extra_dejson
    given = {name: extra.get(name) if arguments.get(name) is None else arguments[name] for name in SESSION_TIMEOUTS}
    return {name: duration(name, value) for name, value in given.items() if value is not None and value != ""}


def duration(name: str, value: Any) -> str:
    """Write a time-out as PostgreSQL takes it.

    :param name: whose value it is, for the message
    :param value: seconds, or a text with a unit (us, ms, s, min, h, d)
    :raises InvalidArgument: where it is neither
    """
    if isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        return value.strip()
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if isinstance(value, bool) or not 0 <= seconds < 2_147_483:
        raise InvalidArgument(f'{name} must be seconds, or a text with a unit as "30s", not {value!r}')
    return f"{round(seconds * 1000)}ms"


def make_url(options: Mapping[str, Any], scheme: str | None, query: Any) -> URL:
    """Make SQLAlchemy's URL of libpq's options.

    :param options: libpq's options
    :param scheme: the extra's ``sqlalchemy_scheme``, psycopg2's by default
    :param query: the extra's ``sqlalchemy_query``, further parameters
    """
    from sqlalchemy.engine import URL

    left = dict(options)
    user, password, database = (left.pop(name, None) for name in ("user", "password", "dbname"))
    host, port = left.pop("host", None), left.pop("port", None)
    several = host is not None and ("," in str(host) or str(host).startswith("/"))
    if several:
        left["host"] = _host_list(str(host), str(port or ""))
    return URL.create(
        scheme or "postgresql+psycopg2",
        username=user,
        password=password,
        host=None if several else host,
        port=None if several or port is None else int(port),
        database=database,
        query={
            **{name: value if isinstance(value, tuple) else str(value) for name, value in left.items()},
            **(query if isinstance(query, Mapping) else {}),
        },
    )


def _host_list(host: str, port: str) -> str | tuple[str, ...]:
    hosts, ports = host.split(","), port.split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    paired = tuple(f"{name}:{number}" if number else name for name, number in zip(hosts, ports, strict=False))
    return paired[0] if len(paired) == 1 else paired


def cursor_factory(name: str | None) -> Any:
    """Find the cursor class that a connection's extra ``cursor`` names.

    :param name: dictcursor, realdictcursor or namedtuplecursor
    :raises InvalidArgument: for another name
    """
    if not name:
        return None
    import psycopg2.extras

    if name.lower() not in CURSORS:
        hint = _near(name.lower(), CURSORS) or f": use one of {', '.join(CURSORS)}"
        raise InvalidArgument(f"unknown cursor {name!r}{hint}")
    return getattr(psycopg2.extras, CURSORS[name.lower()])


def _text(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str | int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise InvalidArgument(f"libpq option {name} must be a text or a number, not {type(value).__name__}")


def _unknown(name: str, conn_id: str | None, hook_keys: frozenset[str]) -> str:
    hint = _near(name, [*filter(known, SUGGESTED), *sorted(hook_keys)])
    return f"connection {conn_id} has an unknown option {name!r}{hint or ': see libpq parameter key words'}"


def _near(name: str, names: Iterable[str]) -> str:
    near = nearest(name.lower(), list(names))
    return f": did you mean {near[0]!r}?" if near else ""


def application_name(work: Work | None = None) -> str:
    """Name the session to the server: which DAG and task works there.

    :param work: whose work it is, by default what Airflow says in the environment of a task
    :return: at most 63 bytes, the server's limit; a long name is cut in the middle
    """
    if work is not None:
        mapped = f"[{work.map_index}]" if work.map_index >= 0 else ""
        name = f"{work.dag_id}.{work.task_id}{mapped} try {work.try_number}"
    else:
        name = ".".join(filter(None, (os.environ.get(f"AIRFLOW_CTX_{part}_ID") for part in ("DAG", "TASK"))))
    text = f"tradewind {name}".strip().encode("ascii", "replace").decode()
    return text if len(text) <= 63 else f"{text[:36]}..{text[-25:]}"
