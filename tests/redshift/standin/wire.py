"""The PostgreSQL wire protocol, version 3, as far as a server in the middle speaks it."""

from __future__ import annotations

import re
import select
import socket
import struct
from dataclasses import dataclass, field

from tests.redshift.standin.commands import Refusal
from tests.redshift.standin.objects import Column

_STANDARD = re.compile(r"\bjson_serialize\(", re.IGNORECASE)
SSL, GSS, CANCEL, PROTOCOL = 80877103, 80877104, 80877102, 196608


class Gone(Exception):
    """The other side hung up."""


class Peer:
    """One end of a connection.

    :param sock: its socket
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._held = bytearray()
        self._at = 0

    def exactly(self, size: int) -> bytes:
        """Read so many bytes.

        :raises Gone: where the other side hangs up
        """
        while len(self._held) - self._at < size:
            try:
                data = self.sock.recv(1 << 18)
            except OSError as error:
                raise Gone from error
            if not data:
                raise Gone
            del self._held[: self._at]
            self._at = 0
            self._held += data
        begin, self._at = self._at, self._at + size
        return bytes(self._held[begin : self._at])

    def message(self) -> tuple[bytes, bytes]:
        """Read a message: its type and its body."""
        head = self.exactly(5)
        return head[:1], self.exactly(struct.unpack("!I", head[1:])[0] - 4)

    def send(self, *messages: tuple[bytes, bytes]) -> None:
        """Send messages."""
        try:
            self.sock.sendall(b"".join(kind + struct.pack("!I", len(body) + 4) + body for kind, body in messages))
        except OSError as error:
            raise Gone from error

    @property
    def waits(self) -> bool:
        """Whether bytes were read that nobody has taken."""
        return len(self._held) > self._at

    def close(self) -> None:
        """Hang up."""
        self.sock.close()


@dataclass
class Answer:
    """What a server said to a statement."""

    columns: list[Column] = field(default_factory=list)
    rows: list[list[str | None]] = field(default_factory=list)
    tag: str = ""
    error: bytes | None = None
    data: bytearray = field(default_factory=bytearray)


class Backend(Peer):
    """The server behind, of which statements are asked in between, in the client's own transaction.

    :param sock: its socket
    :param client: who waits meanwhile: when it hangs up, nothing is waited for
    """

    def __init__(self, sock: socket.socket, client: Peer) -> None:
        super().__init__(sock)
        self.client = client
        self.status = b"I"

    def next(self) -> tuple[bytes, bytes]:
        """Read a message, unless the client hangs up before it comes."""
        while not self.waits:
            ready, _, _ = select.select([self.sock, self.client.sock], [], [])
            if self.sock in ready:
                break
            try:
                hung_up = not self.client.sock.recv(1, socket.MSG_PEEK)
            except OSError:
                hung_up = True
            if hung_up:
                raise Gone
            select.select([self.sock], [], [], 0.05)  # the client has sent something ahead
        found = self.message()
        if found[0] == b"Z":
            self.status = found[1]
        return found

    def run(self, sql: str, feed: bytes | None = None) -> Answer:
        """Run a statement.

        :param sql: one statement
        :param feed: what a COPY FROM STDIN gets
        """
        self.send((b"Q", sql.encode() + b"\0"))
        answer = Answer()
        while True:
            kind, body = self.next()
            if kind == b"T":
                answer.columns = columns_of(body)
            elif kind == b"D":
                answer.rows.append(_row(body))
            elif kind == b"C":
                answer.tag = body[:-1].decode()
            elif kind == b"d":
                answer.data += body
            elif kind == b"E":
                answer.error = body
            elif kind == b"G" and feed is not None:
                self.send((b"d", feed), (b"c", b""))
            elif kind == b"Z":
                return answer

    def must(self, sql: str, feed: bytes | None = None) -> Answer:
        """Run a statement.

        :raises Refusal: with the server's error
        """
        answer = self.run(sql, feed)
        if answer.error is not None:
            fields = error_fields(answer.error)
            raise Refusal(fields["M"], fields["C"])
        return answer


def spelled(sql: str) -> str:
    """Return a statement as the server behind reads it: one name is syntax of the SQL standard to newer ones."""
    return _STANDARD.sub("redshift.json_serialize(", sql)


def columns_of(body: bytes) -> list[Column]:
    """Read a RowDescription."""
    found, at = [], 2
    for _ in range(struct.unpack("!H", body[:2])[0]):
        end = body.index(b"\0", at)
        _, _, oid, _, modifier, _ = struct.unpack("!IHIhih", body[end + 1 : end + 19])
        found.append(Column(body[at:end].decode(), oid, modifier))
        at = end + 19
    return found


def _row(body: bytes) -> list[str | None]:
    found: list[str | None] = []
    at = 2
    for _ in range(struct.unpack("!H", body[:2])[0]):
        (size,) = struct.unpack("!i", body[at : at + 4])
        at += 4
        found.append(None if size < 0 else body[at : at + size].decode())
        at += max(size, 0)
    return found


def error_fields(body: bytes) -> dict[str, str]:
    """Read an ErrorResponse."""
    return {part[:1].decode(): part[1:].decode("utf-8", "replace") for part in body.rstrip(b"\0").split(b"\0")}


def notice(text: str) -> tuple[bytes, bytes]:
    """Make a notice."""
    return b"N", b"SINFO\0VINFO\0C00000\0M" + text.encode() + b"\0\0"
