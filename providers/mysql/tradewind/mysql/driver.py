"""PyMySQL, made safe: bounded handshakes, TLS that cannot be talked away, no file but the one that was asked for.

PyMySQL waits in Python, so that signal handlers run while a statement does. Its classes are made where first used:
importing the driver costs nothing before.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tradewind.hooks.errors import ConnectionFailed, InvalidArgument, TimedOut
from tradewind.mysql.hanging_up import hanging_up_with
from tradewind.mysql.options import CURSORS
from tradewind.mysql.values import literal, text_literal

if TYPE_CHECKING:
    from tradewind.mysql.options import Options

# A dead server or a cut network shows within about 100 s, even while a long statement runs.
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 5, "TCP_USER_TIMEOUT": 100_000}
# Bytes to a packet of LOAD DATA LOCAL: larger ones were slower, and the server takes none over max_allowed_packet.
LOAD_CHUNK = 1 << 14
# They send the password as it is.
_CLEAR_PLUGINS = (b"mysql_clear_password", b"dialog")


def connect(options: Options, name: str = "", peer: Any = None) -> Any:
    """Connect.

    :param options: how
    :param name: names the session to the server
    :param peer: the address of the very server to reach, where its name may stand for several
    :return: a connection of PyMySQL, in a transaction as soon as it is used
    :raises ConnectionFailed: where the server cannot be reached
    :raises TimedOut: where it does not answer in time
    """
    from pymysql.constants import CLIENT

    context = options.tls.context()
    made = connection_class()(
        host=options.host,
        port=options.port,
        user=options.user,
        password=options.password.encode(),
        database=options.database,
        charset=options.charset,
        collation=options.collation,
        client_flag=options.client_flag | CLIENT.LOCAL_FILES,  # for streams; of files see GuardedResult
        connect_timeout=max(1, options.connect_timeout),
        local_infile=options.local_infile,
        cursorclass=cursor_class(options.cursor),
        program_name=name or None,
        defer_connect=True,
        ssl=context,
        ssl_disabled=context is None,
    )
    made.tls_required = options.tls.required
    if options.unix_socket and not options.tls.required:
        made.ssl = False  # a socket of this machine has no listeners; MySQL's own clients do the same
    sock = open_socket(options, peer)
    # A server that accepts and never speaks: the handshake has the time-out of the connection.
    made._read_timeout = made._write_timeout = options.connect_timeout
    made._secure = options.unix_socket is not None
    made.connect(sock)
    made._read_timeout, made._write_timeout = options.read_timeout, options.write_timeout
    made._sock.settimeout(options.read_timeout)
    made._current_timeout = options.read_timeout
    return made


def open_socket(options: Options, peer: Any = None) -> socket.socket:
    """Open the socket to a server.

    :param options: how to connect
    :param peer: an address that wins over the host's name
    """
    if options.unix_socket:
        where = options.unix_socket
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(options.connect_timeout)
            sock.connect(where)
        except OSError as error:
            sock.close()
            raise ConnectionFailed(f"cannot connect to the socket {where}: {error.strerror or error}") from error
        return sock
    address = peer[:2] if peer else (options.host, options.port)
    where = f"{options.host}:{options.port}"
    source = (options.bind_address, 0) if options.bind_address else None
    try:
        sock = socket.create_connection(address, options.connect_timeout, source_address=source)
    except TimeoutError as error:
        raise TimedOut(f"{where} did not answer within connect_timeout={options.connect_timeout:g} s") from error
    except OSError as error:
        raise ConnectionFailed(f"cannot connect to {where}: {error.strerror or error}") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        if hasattr(socket, option):  # not every system has all
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return sock


@lru_cache
def connection_class() -> type[Any]:
    """Return PyMySQL's connection, made safe."""
    import pymysql.connections
    from pymysql.constants import CLIENT, CR, SERVER_STATUS
    from pymysql.err import OperationalError

    base: Any = pymysql.connections.Connection

    class MySqlConnection(base):  # type: ignore[misc]
        """A connection that sends no password in the clear, and no file that the statement does not name."""

        tls_required = False
        infile: Any = None  # the stream that the next LOAD DATA LOCAL reads, whatever file it names
        _secure: bool
        _statement = b""

        def escape(self, obj: Any, mapping: Any = None) -> str:
            return literal(obj, backslashes=not self.server_status & SERVER_STATUS.SERVER_STATUS_NO_BACKSLASH_ESCAPES)

        def _get_server_information(self) -> None:
            super()._get_server_information()
            if not self.server_capabilities & CLIENT.SSL:
                if self.tls_required:
                    raise OperationalError(CR.CR_SSL_CONNECTION_ERROR, "the server does not support TLS")
                self.ssl = False
            if self.ssl:
                self.client_flag |= CLIENT.SSL
            else:
                self.client_flag &= ~CLIENT.SSL

        def _process_auth(self, plugin_name: bytes, *rest: Any) -> Any:
            if plugin_name in _CLEAR_PLUGINS and not self._secure:
                raise OperationalError(
                    CR.CR_AUTH_PLUGIN_ERR,
                    f"the server asks for the password in the clear ({plugin_name.decode()}), without TLS",
                )
            return super()._process_auth(plugin_name, *rest)  # PyMySQL 1.2.4 hands over one more than 1.2.0

        def _execute_command(self, command: int, sql: Any) -> None:
            self._statement = sql if isinstance(sql, bytes) else str(sql).encode(self.encoding)
            super()._execute_command(command, sql)

        def _read_query_result(self, unbuffered: bool = False) -> Any:
            self._result = None
            result = _result_class()(self)
            # PyMySQL's own lines, with a result that guards files.
            if unbuffered:
                result.init_unbuffered_query()
            else:
                result.read()
            self._result = result
            if result.server_status is not None:
                self.server_status = result.server_status
            return result.affected_rows

        def names_file(self, filename: bytes) -> bool:
            """Say whether the statement that runs has a file's name as a text: a server may ask for any other."""
            name = filename.decode(self.encoding, "surrogateescape")
            spellings = {text_literal(name), text_literal(name, backslashes=False), f"'{name}'", f'"{name}"'}
            return any(text.encode(self.encoding, "surrogateescape") in self._statement for text in spellings)

    return MySqlConnection


@lru_cache
def _result_class() -> type[Any]:
    import pymysql.connections
    from pymysql.constants import CR
    from pymysql.err import OperationalError
    from pymysql.protocol import LoadLocalPacketWrapper

    base: Any = pymysql.connections.MySQLResult

    class GuardedResult(base):  # type: ignore[misc]
        """A result that hands the server no file but the one that the statement names."""

        def _read_load_local_packet(self, first_packet: Any) -> None:
            filename = LoadLocalPacketWrapper(first_packet).filename
            conn: Any = self.connection
            stream, conn.infile = conn.infile, None
            if stream is not None:
                self._send(conn, stream)
                return
            if conn._local_infile and conn.names_file(filename):
                super()._read_load_local_packet(first_packet)
                return
            conn.write_packet(b"")  # no data: the server ends its statement
            with contextlib.suppress(Exception):
                conn._read_packet()
            why = "which the statement does not name" if conn._local_infile else "and local_infile is off"
            raise OperationalError(CR.CR_UNKNOWN_ERROR, f"the server asked for the file {filename!r}, {why}")

        def _send(self, conn: Any, stream: Any) -> None:
            try:
                with hanging_up_with(conn._sock):
                    while data := stream.read(LOAD_CHUNK):
                        conn.write_packet(data)
            except BaseException:
                # The protocol knows an end and no failure: an end would keep the rows that came before.
                conn._force_close()
                raise
            conn.write_packet(b"")
            self._read_ok_packet(conn._read_packet())

        def __del__(self) -> None:
            """Leave what is unread: PyMySQL would wait here for the end of the whole result."""

    return GuardedResult


@lru_cache
def cursor_class(name: str, *, unbuffered: bool | None = None) -> type[Any]:
    """Return one of PyMySQL's cursors, with rows in lists as Airflow's own hooks have them.

    :param name: cursor, sscursor, dictcursor or ssdictcursor
    :param unbuffered: whether rows stay in the server until they are asked for, in place of what the name says
    """
    import pymysql.cursors

    if unbuffered is not None:
        plain = name.removeprefix("ss")
        name = f"ss{plain}" if unbuffered else plain
    base: Any = getattr(pymysql.cursors, CURSORS[name])

    class ListCursor(base):  # type: ignore[misc]
        """A cursor whose fetches return lists."""

        def fetchmany(self, size: int | None = None) -> list[Any]:
            return list(super().fetchmany(size))

        def fetchall(self) -> list[Any]:
            return list(super().fetchall())

        def __del__(self) -> None:
            """Leave what is unread: PyMySQL would wait here for the end of the whole result."""

    return ListCursor


def bind(cur: Any, statement: str, parameters: Any) -> str:
    """Put values into a statement, as literals.

    :param cur: a cursor
    :param statement: with ``%s`` or ``%(name)s`` for each value
    :param parameters: a sequence or a mapping
    :raises InvalidArgument: where the two do not fit
    """
    escape = cur.connection.escape
    try:
        if isinstance(parameters, Mapping):
            return str(statement % {name: escape(value) for name, value in parameters.items()})
        return str(statement % tuple(map(escape, parameters)))
    except KeyError as missing:
        raise InvalidArgument(f"sql names the parameter {missing}, which parameters does not have") from None
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"sql and parameters do not fit: {error}; a plain percent sign is written %%") from None
