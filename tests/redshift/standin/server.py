"""A stand-in for Redshift: a wire proxy before a real PostgreSQL.

It carries out COPY and UNLOAD against a real S3 server within the client's own transaction, keeps what Redshift keeps
of load errors, and passes everything else on. It keeps a journal of the statements, and drops connections on demand.
It is a PostgreSQL still: the planner, the types and the locks are PostgreSQL's, in snapshot isolation as Redshift's.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

from tests.redshift.standin.commands import Command, Refusal, command
from tests.redshift.standin.loads import load
from tests.redshift.standin.unloads import unload
from tests.redshift.standin.wire import CANCEL, GSS, PROTOCOL, SSL, Backend, Gone, Peer, notice, spelled

Fault = Callable[[str, int], Literal["before", "after"] | None]

VERSION = "8.0.2"
"""What Redshift says it is."""

_KEPT = ("user", "database", "application_name", "client_encoding", "options")
_COUNTERS = re.compile(r"\bpg_last_(copy|unload)_count\s*\(\s*\)", re.IGNORECASE)
_TABLE = re.compile(r"\s*create\s+(temp\w*\s+)?table\b", re.IGNORECASE)
_PHYSICAL = re.compile(
    r"\bdiststyle\s+(even|key|all|auto)|\bdistkey(\s*\([^)]*\))?|\b(compound\s+|interleaved\s+)?sortkey(\s*\([^)]*\)|\s+auto)?"
    r"|\bencode\s+\w+|\bbackup\s+(yes|no)",
    re.IGNORECASE,
)

SETUP = """
CREATE SCHEMA redshift;
CREATE DOMAIN redshift.super AS jsonb;
CREATE FUNCTION redshift.getdate() RETURNS timestamp LANGUAGE sql STABLE
    AS $$ SELECT (now() AT TIME ZONE 'UTC')::timestamp(0) $$;
CREATE FUNCTION redshift.json_serialize(jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1::text $$;
CREATE VIEW redshift.svv_columns AS SELECT table_catalog, table_schema, table_name, column_name, ordinal_position,
    column_default, is_nullable, coalesce(domain_name, data_type) AS data_type, character_maximum_length,
    numeric_precision, numeric_scale FROM information_schema.columns;
CREATE VIEW redshift.svv_tables AS SELECT table_catalog, table_schema, table_name, table_type
    FROM information_schema.tables;
CREATE TABLE redshift.sys_load_error_detail (user_id int, query_id bigint, transaction_id bigint, session_id int,
    database_name text, table_id int, start_time timestamp DEFAULT clock_timestamp(), file_name text,
    line_number bigint,
    column_name text, column_type text, column_length text, position int, error_code int, error_message text);
CREATE TABLE redshift.stl_load_errors (userid int, slice int, tbl int, starttime timestamp DEFAULT clock_timestamp(),
    session int, query int, filename text, line_number bigint, colname text, type text, col_length text, position int,
    raw_line text, raw_field_value text, err_code int, err_reason text);
GRANT USAGE ON SCHEMA redshift TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA redshift TO PUBLIC;
"""


def prepare(query: Callable[[str], Any], database: str) -> None:
    """Put what Redshift has, and PostgreSQL has not, into a database.

    :param query: runs SQL there
    :param database: its name
    """
    query(SETUP)
    query(f'ALTER DATABASE {database} SET search_path = "$user", public, redshift')
    query(f"ALTER DATABASE {database} SET default_transaction_isolation = 'repeatable read'")


@dataclass
class Entry:
    """A statement that was received.

    :param sql: its text
    :param pid: the session's number
    :param state: how it ended
    """

    sql: str
    pid: int
    state: Literal["received", "done", "failed", "dropped"] = "received"


class Redshift:
    """The server, on a free port of this machine.

    :param address: the PostgreSQL behind
    :param s3: a client of the S3 server
    :param record: runs SQL in the database of a name, outside the client's transaction
    :param port: the port, 0 for a free one
    :param host: the address it listens on
    """

    def __init__(
        self,
        address: tuple[str, int],
        s3: Any,
        record: Callable[[str, str, list[Any]], Any],
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.address = address
        self.s3 = s3
        self.record = record
        self.journal: list[Entry] = []
        self.fault: Fault = lambda sql, number: None
        self.before_load: Callable[[Command], object] = lambda asked: None
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def statements(self, pattern: str = "") -> list[str]:
        """Return the statements of the journal that hold a pattern, in order."""
        return [entry.sql for entry in self.journal if re.search(pattern, entry.sql, re.IGNORECASE)]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(Peer(sock),), daemon=True).start()

    def _serve(self, client: Peer) -> None:
        with contextlib.suppress(Gone, ConnectionError), contextlib.closing(client):
            code, body = self._greeting(client)
            sock = socket.create_connection(self.address)
            with contextlib.closing(Backend(sock, client)) as backend:
                if code == CANCEL:
                    sock.sendall(struct.pack("!II", len(body) + 8, CANCEL) + body)
                    sock.recv(1)  # it hangs up when it has heard
                    return
                Session(self, client, backend).run(body)

    @staticmethod
    def _greeting(client: Peer) -> tuple[int, bytes]:
        while True:
            size, code = struct.unpack("!II", client.exactly(8))
            body = client.exactly(size - 8)
            if code not in (SSL, GSS):
                return code, body
            client.sock.sendall(b"N")


class Session:
    """One client's connection."""

    def __init__(self, server: Redshift, client: Peer, backend: Backend) -> None:
        self.server = server
        self.client = client
        self.backend = backend
        self.pid = 0
        self.database = ""
        self.counts = {"copy": 0, "unload": 0}

    def run(self, startup: bytes) -> None:
        """Serve until one side hangs up."""
        parts = startup.rstrip(b"\0").split(b"\0")
        given = dict(zip(parts[::2], parts[1::2], strict=True))
        kept = {name: value for name, value in given.items() if name.decode() in _KEPT}
        self.database = given.get(b"database", given[b"user"]).decode()
        body = struct.pack("!I", PROTOCOL) + b"".join(k + b"\0" + v + b"\0" for k, v in kept.items()) + b"\0"
        self.backend.sock.sendall(struct.pack("!I", len(body) + 4) + body)
        self._authenticate()
        extended: list[tuple[bytes, bytes]] = []
        while True:
            kind, body = self.client.message()
            if kind == b"X":
                return
            if kind == b"Q":
                self._statement(body[:-1].decode())
                continue
            extended.append((kind, self._parsed(body) if kind == b"P" else body))
            if kind == b"S":
                self.backend.send(*extended)
                extended.clear()
                self._pass_on()

    def _parsed(self, body: bytes) -> bytes:
        """Rewrite the statement of a Parse; COPY and UNLOAD come by the simple protocol alone."""
        name, sql, rest = body.split(b"\0", 2)
        self.server.journal.append(Entry(sql.decode(), self.pid))
        return b"\0".join((name, self._rewritten(sql.decode()).encode(), rest))

    def _authenticate(self) -> None:
        while True:
            kind, body = self.backend.message()
            if kind == b"K":
                (self.pid,) = struct.unpack("!I", body[:4])
            if kind == b"S" and body.startswith(b"server_version\0"):
                body = b"server_version\0" + VERSION.encode() + b"\0"
            self.client.send((kind, body))
            if kind == b"E":
                raise Gone
            if kind == b"Z":
                return
            if kind == b"R" and struct.unpack("!I", body[:4])[0] not in (0, 12):
                self.backend.send(self.client.message())

    def _statement(self, sql: str) -> None:
        entry = Entry(sql, self.pid)
        self.server.journal.append(entry)
        fault = self.server.fault(sql, len(self.server.journal))
        if fault == "before":
            entry.state = "dropped"
            raise Gone
        try:
            asked = command(sql) if self.backend.status != b"E" else None
            if asked is None:
                self.backend.send((b"Q", self._rewritten(sql).encode() + b"\0"))
                told: list[tuple[bytes, bytes]] = []
                failed = self._pass_on(told if fault else None)
            else:
                failed, told = False, self._carried_out(asked)
                if not fault:
                    self.client.send(*told)
        except Refusal as refusal:
            failed = True
            self._fail(refusal)
        entry.state = "failed" if failed else "done"
        if fault == "after":
            entry.state = "dropped"
            raise Gone

    def _pass_on(self, kept: list[tuple[bytes, bytes]] | None = None) -> bool:
        """Pass on what the server says until it is ready; say whether it failed."""
        failed = False
        while True:
            kind, body = self.backend.next()
            failed = failed or kind == b"E"
            if kept is None:
                self.client.send((kind, body))
            if kind == b"Z":
                return failed

    def _rewritten(self, sql: str) -> str:
        sql = _COUNTERS.sub(lambda found: f"({self.counts[found[1].lower()]}::bigint)", spelled(sql))
        return _PHYSICAL.sub("", sql).replace("(max)", "(65535)") if _TABLE.match(sql) else sql

    def _carried_out(self, asked: Command) -> list[tuple[bytes, bytes]]:
        alone = self.backend.status == b"I"
        if alone:
            self.backend.must("BEGIN")
        try:
            if asked.kind == "copy":
                self.server.before_load(asked)
                rows, refused = load(self, asked)
                text = f"Load into table '{asked.table}' completed, {rows} record(s) loaded successfully."
                if refused:
                    text += f" {refused} record(s) could not be loaded. Check 'sys_load_error_detail' for details."
            else:
                rows = unload(self.backend, self.server.s3, asked)
                text = f"UNLOAD completed, {rows} record(s) unloaded successfully."
        except (Refusal, self.server.s3.exceptions.ClientError) as error:
            if alone:
                self.backend.must("ROLLBACK")
            raise error if isinstance(error, Refusal) else Refusal(f"S3ServiceException: {error}") from error
        self.counts[asked.kind] = rows
        if alone:
            self.backend.must("COMMIT")
        return [notice(text), (b"C", asked.kind.upper().encode() + b"\0"), (b"Z", self.backend.status)]

    def _fail(self, refusal: Refusal) -> None:
        """Let the server behind fail, and its transaction with it, by our text."""
        if self.backend.status != b"E":
            text = str(refusal).replace("'", "''")
            self.backend.run(
                f"DO $r$ BEGIN RAISE EXCEPTION USING MESSAGE = '{text}', ERRCODE = '{refusal.state}'; END $r$"
            )
        fields = {"S": "ERROR", "V": "ERROR", "C": refusal.state, "M": str(refusal)}
        body = b"".join(name.encode() + text.encode() + b"\0" for name, text in fields.items()) + b"\0"
        self.client.send((b"E", body), (b"Z", self.backend.status))
