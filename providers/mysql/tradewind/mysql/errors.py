"""What a MySQL error means: whether a retry can help, and what to tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

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


class QueryCancelled(TransientError):
    """A statement that somebody stopped: this task's own kill, or an administrator."""


class SerializationFailed(TransientError):
    """A transaction that lost against another one (a deadlock): the next try may win."""


# https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html, and for 1900 to 1999 and 4000 on
# https://mariadb.com/kb/en/mariadb-error-code-reference/. Numbers from 2000 to 2999 are the client's own.
_NUMBERS: dict[type[TradewindError], str] = {
    ConnectionFailed: """
        1042 1043 1047 1053 1077 1079 1080 1152 1156 1157 1158 1159 1160 1161 1184 1189 1190 1218 1836 1927
        2002 2003 2005 2006 2012 2013 2014 2027 2055 3032 3169 4031
    """,
    Throttled: "1021 1037 1038 1040 1041 1114 1135 1203 1206 1226 3168",
    TimedOut: "1205 1969 3024 3572 4024",
    SerializationFailed: "1020 1213 1613 1614 3058 3101",
    QueryCancelled: "1028 1317 3062",
    TransientError: "1015 1026 1030 1180 1188 1412",
    AccessDenied: """
        1044 1045 1095 1129 1130 1131 1132 1142 1143 1227 1251 1275 1348 1370 1396 1404 1410 1419 1524 1697
        1698 1699 1820 1862 1873 2049 2058 2059 2061 3118 3159 3530 3877 3878 3879 3891 3955 4151 4165
    """,
    NotFound: """
        1008 1049 1051 1054 1072 1091 1109 1141 1146 1147 1176 1305 1360 1449 1477 1539 1682 1787 3552 4091
        4161
    """,
    DataError: """
        1022 1048 1062 1063 1110 1153 1169 1171 1172 1216 1217 1242 1261 1262 1263 1264 1265 1292 1300 1301
        1364 1365 1366 1367 1369 1406 1411 1416 1441 1451 1452 1467 1525 1526 1557 1586 1690 1761 1762 1859
        1901 1916 1918 1977 3140 3141 3143 3156 3157 3618 3619 3643 3685 3732 3819 3854 3903 4025 4078 4079
    """,
    InvalidArgument: """
        1007 1046 1050 1052 1055 1056 1058 1059 1060 1061 1064 1065 1066 1067 1068 1069 1070 1071 1075 1090
        1099 1100 1101 1103 1104 1111 1115 1118 1120 1126 1128 1136 1139 1140 1148 1149 1166 1191 1192 1193
        1210 1215 1221 1222 1228 1229 1230 1231 1232 1235 1238 1241 1247 1248 1253 1267 1268 1270 1271 1273
        1282 1286 1288 1290 1294 1295 1298 1303 1304 1318 1322 1327 1336 1337 1351 1352 1359 1414 1415 1418
        1422 1425 1426 1427 1439 1442 1463 1471 1503 1556 1568 1569 1582 1583 1584 1630 1640 1641 1655 1766
        1792 1846 2054 3065 3635 3780 3812 3941 3948 4107 4166
    """,
}
_BY_NUMBER = {int(number): kind for kind, numbers in _NUMBERS.items() for number in numbers.split()}

# The first two characters of SQLSTATE, for numbers that came later.
_BY_STATE: dict[str, type[TradewindError]] = {
    "08": ConnectionFailed,
    "21": DataError,
    "22": DataError,
    "23": DataError,
    "28": AccessDenied,
    "40": SerializationFailed,
    "42": InvalidArgument,
    "70": QueryCancelled,
}

# What the numbers leave open: 1290 names an option of the server, 2026 is all of TLS.
_BY_TEXT: tuple[tuple[int, str, type[TradewindError]], ...] = (
    (1290, r"read.only", ConnectionFailed),  # a writer that became a reader: after a failover the next connect finds it
    (2026, r"certificate|hostname|host name|unknown ca|CERTIFICATE", AccessDenied),
    (2026, r"does not support TLS", InvalidArgument),
    (2026, r"", ConnectionFailed),
    (2000, r"asked for the file", AccessDenied),
    (2013, r"timed out", TimedOut),
    (2006, r"timed? ?out", TimedOut),
    (2003, r"timed out", TimedOut),
)

# What to do, where the server's own words do not say it.
_ADVICE = {
    1040: "the server has no connection left: raise max_connections, or run fewer tasks at once in a pool",
    1049: "see the connection's schema",
    1130: "the server does not let this machine in: grant the user for its address",
    1148: "switch on local_infile on the server and in the connection's extra",
    1153: "raise max_allowed_packet on the server",
    1203: "the user has no connection left: raise max_user_connections, or run fewer tasks at once in a pool",
    1251: "use TLS, or a user with another authentication plugin",
    2059: "use a user with another authentication plugin",
    3159: "set ssl_mode to REQUIRED",
    3948: "switch on local_infile on the server",
    4166: "switch on local_infile on the server",
}

_NEAR = re.compile(r"near '(?P<sql>.*)' at line (?P<line>\d+)$", re.S)
_COLUMN = re.compile(r"column (?:[`'](?:[^`']*)[`']\.)*[`'](?P<column>[^`']+)[`']", re.IGNORECASE)
_ROW = re.compile(r"\bat row (?P<row>\d+)")
_VALUE = re.compile(r"(?:value: |entry |Truncated incorrect \w+ value: )'(?P<value>.*?)' for ", re.S)


def classify(error: Exception, doing: str = "", secrets: Iterable[str] = ()) -> TradewindError:
    """Make the Tradewind error that a driver's error stands for.

    :param error: what PyMySQL raised
    :param doing: what was going on, the start of the message
    :param secrets: texts that must not appear in the message
    """
    number, text = number_of(error), without(_text(error), secrets)
    kind = _kind(error, number, text)
    advice = _ADVICE.get(number)
    message = ": ".join(part for part in (doing, text) if part) + (f" ({advice})" if advice else "")
    if issubclass(kind, DataError):
        column, row, value = _COLUMN.search(text), _ROW.search(text), _VALUE.search(text)
        return DataError(
            message,
            line=int(row["row"]) if row else None,
            column=column["column"] if column else None,
            value=value["value"][:200] if value else None,
        )
    return kind(message)


def number_of(error: BaseException) -> int:
    """Return the number of a driver's error, 0 where it has none.

    :param error: what PyMySQL raised
    """
    number = error.args[0] if error.args else 0
    return number if isinstance(number, int) else 0


@contextmanager
def translated(doing: str = "", secrets: Iterable[str] = ()) -> Iterator[None]:
    """Raise the driver's errors as Tradewind's.

    :param doing: what is going on, for the message
    :param secrets: texts that must not appear in it
    """
    import ssl

    import pymysql

    try:
        yield
    except (pymysql.Error, ssl.SSLError) as error:
        hidden = tuple(secret for secret in secrets if secret)
        inner = getattr(error, "original_exception", error)
        made = _of_tls(inner, doing) if isinstance(inner, ssl.SSLError) else classify(error, doing, hidden)
        # The chain would show what the message does not: a secret, or the SQL text that a syntax error quotes.
        shows = number_of(error) in (1064, 1149) or any(secret in str(error) for secret in hidden)
        raise made from (None if shows else error)
    except UnicodeEncodeError as error:
        shown = repr(error.object[error.start : error.start + 1])
        raise DataError(f"{doing}: {shown} cannot be written as {error.encoding}: {error.reason}") from None


def without(text: str, secrets: Iterable[str]) -> str:
    """Take secrets out of a text.

    :param text: what is to be shown
    :param secrets: what must not be
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def _of_tls(error: Exception, doing: str) -> TradewindError:
    import ssl

    told = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error
    if isinstance(error, ssl.SSLCertVerificationError):
        return AccessDenied(f"{doing}: the server's certificate is not to be trusted: {told}")
    return ConnectionFailed(f"{doing}: TLS failed: {told}")


def _kind(error: Exception, number: int, text: str) -> type[TradewindError]:
    import pymysql

    for wanted, pattern, kind in _BY_TEXT:
        if number == wanted and re.search(pattern, text):
            return kind
    if number in (1643, 1644):
        return TradewindError  # SIGNAL: the user's own; Airflow's own retry settings decide
    if number in _BY_NUMBER:
        return _BY_NUMBER[number]
    if isinstance(error, pymysql.InterfaceError):
        return ConnectionFailed
    state = getattr(error, "sqlstate", None) or ""
    if state[:2] in _BY_STATE:
        return _BY_STATE[state[:2]]
    if 2000 <= number < 3000:
        return ConnectionFailed
    return InvalidArgument if isinstance(error, pymysql.ProgrammingError) else TradewindError


def _text(error: Exception) -> str:
    import pymysql

    if isinstance(error, pymysql.InterfaceError) and not any(error.args[1:]):
        return "the connection is closed"
    text = str(error.args[-1]) if error.args else type(error).__name__
    if match := _NEAR.search(text):
        from tradewind.operators.statements import summary

        # The server quotes up to 80 characters of SQL, in which the bound values stand.
        shown = summary(match["sql"], 60, "mysql") or "the end"
        text = f"syntax error near {shown}, in line {match['line']} of the statement"
    number = number_of(error)
    return f"{' '.join(text.split()).rstrip('.')}" + (f" [{number}]" if number else "")
