"""MySQL's protocol where PyMySQL is too slow, or knows no call: rows as the bytes that the server sent.

https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Bytes that are asked of the socket at once; it gives what has come.
CHUNK = 1 << 18
_MOST = 0xFFFFFF  # a longer packet is sent in pieces of this size
_HEADER = 4  # three bytes of length, one of the packet's number
_EOF, _ERR = 0xFE, 0xFF  # a row begins with 0xFE where its first value has 16 MiB, which no one packet has
_EOF_SIZE = 5
_MORE_RESULTS = 0x0008
_STMT_PREPARE, _STMT_CLOSE = 0x16, 0x19
_BINARY = 63  # the collation's number
_UNSIGNED = 32  # column_definition_flags.h

# https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html
_FLOAT, _BIT, _JSON = 4, 16, 245
# VARCHAR, VECTOR, TINY_BLOB to BLOB, VAR_STRING, STRING, GEOMETRY: bytes where their collation is "binary".
_BYTES = frozenset({15, 242, *range(249, 255), 255})
_UNLIMITED = 31  # the decimals of a FLOAT or DOUBLE that states none: NOT_FIXED_DEC


@dataclass(frozen=True)
class Column:
    """A column of a result.

    :param name: its name
    :param kind: its type's number
    :param binary: whether its values are bytes, and no text
    :param scale: its decimals, 31 where a float states none
    :param length: how many characters its values have at most
    :param unsigned: whether its numbers have no sign
    """

    name: str
    kind: int
    binary: bool = False
    scale: int = 0
    length: int = 0
    unsigned: bool = False

    @property
    def is_bit(self) -> bool:
        """Whether it is a BIT(n), which comes as bytes."""
        return self.kind == _BIT

    @property
    def is_cut(self) -> bool:
        """Whether the server writes fewer digits of it than it has: six, of a FLOAT."""
        return self.kind == _FLOAT and self.scale >= _UNLIMITED


def prepared_columns(conn: Any, statement: str) -> tuple[Column, ...]:
    """Ask the server which columns a statement would give; it is prepared, and not run.

    :param conn: a connection of PyMySQL
    :param statement: one statement, its values in it
    :return: the columns, none for a statement that gives no rows
    """
    conn._execute_command(_STMT_PREPARE, statement)
    data = conn._read_packet().get_all_data()
    number, columns, parameters = struct.unpack_from("<IHH", data, 1)
    for _ in range(parameters + bool(parameters)):
        conn._read_packet()
    found = tuple(_column(conn._read_packet().get_all_data()) for _ in range(columns))
    if columns:
        conn._read_packet()
    conn._execute_command(_STMT_CLOSE, struct.pack("<I", number))  # it has no answer
    return found


def result_columns(result: Any) -> tuple[Column, ...]:
    """Return the columns of a result of PyMySQL.

    :param result: the result of a statement that runs
    """
    return tuple(_from_field(field) for field in result.fields)


def _column(data: bytes) -> Column:
    from pymysql.protocol import FieldDescriptorPacket

    return _from_field(FieldDescriptorPacket(data, "utf-8"))


def _from_field(field: Any) -> Column:
    # JSON of MySQL has the collation "binary" and is text.
    binary = field.charsetnr == _BINARY and field.type_code in _BYTES and field.type_code != _JSON
    unsigned = bool(field.flags & _UNSIGNED)
    return Column(field.name, field.type_code, binary, field.scale, field.length, unsigned)


def row_blocks(conn: Any, result: Any) -> Iterator[list[bytes]]:
    """Yield the rows of a result as the server sends them, many at once, in bounded memory.

    Each is the payload of its packet: every value as text, after its length. Whoever stops before the end has to close
    the connection.

    :param conn: the connection that the statement runs on
    :param result: its result, of which no row was read
    :raises pymysql.Error: where the server ends the statement, or the connection breaks
    """
    unpack = struct.Struct("<I").unpack_from
    rest, missing, sequence = b"", 0, conn._next_seq_id
    last = b""
    while not last:
        data = rest + _receive(conn, missing)
        rows: list[bytes] = []
        position, size, missing = 0, len(data), 0
        huge = size > _MOST
        while size - position > _HEADER:
            length = unpack(data, position)[0] & _MOST
            start = position + _HEADER
            end = start + length
            if end > size:
                missing = end - size
                break
            if huge and length == _MOST:
                row, pieces, data = _joined(conn, data[position:])
                rows.append(row)
                sequence += pieces - 1
                position, size = 0, len(data)
                continue
            if data[start] >= _EOF:
                last = data[start:end]
                break
            rows.append(data[start:end])
            position = end
        sequence += len(rows)
        rest = data[position:]
        if rows:
            yield rows
    _end(conn, result, last, in_order=rest[3] == sequence & 0xFF)


def _receive(conn: Any, missing: int) -> bytes:
    if missing > CHUNK:  # a long row: not to be put together from small pieces
        return bytes(conn._read_bytes(missing))
    try:
        data: bytes = conn._rfile.read1(CHUNK)
    except OSError as error:
        conn._force_close()
        raise _lost(f" ({error})") from error
    if not data:
        conn._force_close()
        raise _lost()
    return data


def _joined(conn: Any, data: bytes) -> tuple[bytes, int, bytes]:
    """Put a row of 16 MiB or more together; return it, the number of its pieces, and the bytes that follow."""
    pieces: list[bytes] = []
    while True:
        if len(data) < _HEADER:
            data += conn._read_bytes(_HEADER - len(data))
        length = int.from_bytes(data[:3], "little")
        if len(data) < _HEADER + length:
            data += conn._read_bytes(_HEADER + length - len(data))
        pieces.append(data[_HEADER : _HEADER + length])
        data = data[_HEADER + length :]
        if length < _MOST:
            return b"".join(pieces), len(pieces), data


def _end(conn: Any, result: Any, packet: bytes, *, in_order: bool) -> None:
    from pymysql.err import raise_mysql_exception

    result.unbuffered_active = False
    result.connection = None
    if packet[0] == _ERR:
        result.has_next = False
        raise_mysql_exception(packet)
    if not in_order or len(packet) != _EOF_SIZE:
        conn._force_close()
        raise _lost(": packets out of order")
    result.warning_count, result.server_status = struct.unpack_from("<HH", packet, 1)
    result.has_next = bool(result.server_status & _MORE_RESULTS)


def _lost(why: str = "") -> Exception:
    from pymysql.constants import CR
    from pymysql.err import OperationalError

    return OperationalError(CR.CR_SERVER_LOST, f"Lost connection to MySQL server during query{why}")
