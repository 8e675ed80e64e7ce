"""COPY and UNLOAD as Redshift's manual writes them, read strictly: what the manual does not know is a syntax error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

_TOKEN = re.compile(
    r"""\s+ | --[^\n]* | (?P<dollar>\$\$.*?\$\$) | (?P<text>'(?:[^'\\]|''|\\.)*') | (?P<name>"(?:[^"]|"")+")
    | (?P<word>[A-Za-z_][\w$]*) | (?P<number>\d+(?:\.\d+)?) | (?P<sign>[(),.;])""",
    re.VERBOSE | re.DOTALL,
)


class Refusal(Exception):
    """What the server answers to a statement that it does not run.

    :param message: the error's text
    :param state: its SQLSTATE
    """

    def __init__(self, message: str, state: str = "XX000") -> None:
        super().__init__(message)
        self.state = state


@dataclass
class Command:
    """A COPY or an UNLOAD.

    :param kind: which one
    :param table: the table of a COPY, as it was written
    :param columns: its column list
    :param query: the query of an UNLOAD
    :param bucket: where the objects are
    :param key: the prefix, or the manifest's key
    :param options: what follows, by the manual's key words in lower case
    """

    kind: Literal["copy", "unload"]
    bucket: str
    key: str
    table: str = ""
    columns: list[str] = field(default_factory=list)
    query: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def command(sql: str) -> Command | None:
    """Read a statement; None where it is neither COPY nor UNLOAD.

    :raises Refusal: where it is not written as the manual says
    """
    if not re.match(r"\s*(copy|unload)\b", sql, re.IGNORECASE):
        return None
    return _Reader(list(_tokens(sql))).command()


def _tokens(sql: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(sql):
        match = _TOKEN.match(sql, at)
        if match is None:
            raise Refusal(f'syntax error at or near "{sql[at : at + 10]}"', "42601")
        at = match.end()
        if match.lastgroup:
            yield match.lastgroup, match.group()


def _text(token: str) -> str:
    """Return what a quoted text says: the manual escapes by doubled quotes or by backslashes."""
    return re.sub(r"''|\\(.)", lambda found: found[1] or "'", token[1:-1], flags=re.DOTALL)


class _Reader:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = [token for token in tokens if token[1] != ";"]
        self._at = 0

    def command(self) -> Command:
        found = self._copy() if self._word() == "copy" else self._unload()
        allowed = _COPY if found.kind == "copy" else _UNLOAD
        while self._at < len(self._tokens):
            name = self._word()
            if name not in allowed:
                self._fail(-1)
            allowed[name](self, found.options)
        if not {"iam_role", "credentials", "access_key_id"} & found.options.keys():
            raise Refusal("CREDENTIALS/IAM_ROLE argument is required", "42601")
        return found

    def _copy(self) -> Command:
        table = self._name()
        while self._if(("sign", ".")):
            table += "." + self._name()
        columns = self._names() if self._if(("sign", "(")) else []
        if self._word() != "from":
            self._fail(-1)
        return Command("copy", *self._location(), table=table, columns=columns)

    def _unload(self) -> Command:
        self._want(("sign", "("))
        kind, token = self._next()
        if kind not in ("text", "dollar"):
            self._fail(-1)
        query = token[2:-2] if kind == "dollar" else _text(token)
        self._want(("sign", ")"))
        if self._word() != "to":
            self._fail(-1)
        return Command("unload", *self._location(), query=query)

    def _location(self) -> tuple[str, str]:
        match = re.fullmatch(r"s3://([^/]+)/(.*)", self.text(), re.DOTALL)
        if match is None:
            raise Refusal("invalid S3 location", "42601")
        return match[1], match[2]

    def _next(self) -> tuple[str, str]:
        if self._at == len(self._tokens):
            raise Refusal("syntax error at end of input", "42601")
        self._at += 1
        return self._tokens[self._at - 1]

    def _fail(self, back: int = 0) -> None:
        token = self._tokens[self._at + back][1] if self._at + back < len(self._tokens) else ""
        raise Refusal(f'syntax error at or near "{token}"', "42601")

    def _want(self, token: tuple[str, str]) -> None:
        if self._next() != token:
            self._fail(-1)

    def _if(self, *tokens: tuple[str, str]) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] in tokens:
            self._at += 1
            return True
        return False

    def _word(self) -> str:
        kind, token = self._next()
        if kind != "word":
            self._fail(-1)
        return token.lower()

    def words(self, *wanted: str) -> str | None:
        """Return the next word where it is one of these."""
        if self._at < len(self._tokens):
            kind, token = self._tokens[self._at]
            if kind == "word" and token.lower() in wanted:
                self._at += 1
                return token.lower()
        return None

    def _name(self) -> str:
        kind, token = self._next()
        if kind not in ("word", "name"):
            self._fail(-1)
        return token

    def _names(self) -> list[str]:
        names = [self._name()]
        while self._if(("sign", ",")):
            names.append(self._name())
        self._want(("sign", ")"))
        return names

    def names(self) -> list[str]:
        """Return names within parentheses."""
        self._want(("sign", "("))
        return self._names()

    def text(self) -> str:
        """Return a quoted text; ``AS`` may stand before it."""
        self.words("as")
        kind, token = self._next()
        if kind != "text":
            self._fail(-1)
        return _text(token)

    def optional_text(self) -> str | None:
        """Return a quoted text where one follows."""
        self.words("as")
        if self._at < len(self._tokens) and self._tokens[self._at][0] == "text":
            return self.text()
        return None

    def number(self) -> int:
        """Return a number; ``AS`` may stand before it."""
        self.words("as")
        kind, token = self._next()
        if kind != "number":
            self._fail(-1)
        return int(float(token))


def _put(name: str, value: Any = True) -> Any:
    return lambda reader, options: options.__setitem__(name, value)


def _quoted(name: str) -> Any:
    return lambda reader, options: options.__setitem__(name, reader.text())


def _switch(name: str) -> Any:
    def read(reader: _Reader, options: dict[str, Any]) -> None:
        options[name] = reader.words("on", "off", "true", "false", "preset") not in ("off", "false")

    return read


def _iam_role(reader: _Reader, options: dict[str, Any]) -> None:
    options["iam_role"] = reader.words("default") or reader.text()


def _format(reader: _Reader, options: dict[str, Any]) -> None:
    reader.words("as")
    kind = reader.words("csv", "parquet", "json", "orc", "avro")
    if kind is None:
        raise Refusal("syntax error: FORMAT", "42601")
    options["format"] = kind
    if kind == "json":
        options["json"] = reader.optional_text() or "auto"


def _csv(reader: _Reader, options: dict[str, Any]) -> None:
    options["format"] = "csv"


def _manifest(reader: _Reader, options: dict[str, Any]) -> None:
    options["manifest"] = reader.words("verbose") or "plain"


def _partition(reader: _Reader, options: dict[str, Any]) -> None:
    if not reader.words("by"):
        raise Refusal("syntax error: PARTITION", "42601")
    options["partition"] = [name.strip('"').lower() for name in reader.names()]
    options["include"] = bool(reader.words("include"))


def _most(reader: _Reader, options: dict[str, Any]) -> None:
    options["maxerror"] = reader.number()
    if options["maxerror"] > 100_000:
        raise Refusal("invalid value for MAXERROR: the limit is 100000", "22023")


def _size(reader: _Reader, options: dict[str, Any]) -> None:
    options["maxfilesize"] = reader.number() * (1 << 30 if reader.words("mb", "gb") == "gb" else 1 << 20)


_BOTH = {
    "iam_role": _iam_role,
    "credentials": _quoted("credentials"),
    "access_key_id": _quoted("access_key_id"),
    "secret_access_key": _quoted("secret_access_key"),
    "session_token": _quoted("session_token"),
    "format": _format,
    "csv": _csv,
    "parquet": _put("format", "parquet"),
    "delimiter": _quoted("delimiter"),
    "null": _quoted("null"),
    "gzip": _put("compression", "gzip"),
    "bzip2": _put("compression", "bz2"),
    "zstd": _put("compression", "zstd"),
    "escape": _put("escape"),
    "region": _quoted("region"),
}
_COPY: dict[str, Any] = {
    **_BOTH,
    "json": lambda reader, options: options.update(format="json", json=reader.optional_text() or "auto"),
    "quote": _quoted("quote"),
    "ignoreheader": lambda reader, options: options.__setitem__("ignoreheader", reader.number()),
    "manifest": _put("manifest", "plain"),
    "maxerror": _most,
    "encoding": lambda reader, options: options.__setitem__("encoding", reader.words("as") or reader.words("utf8")),
    "dateformat": _quoted("dateformat"),
    "timeformat": _quoted("timeformat"),
    "emptyasnull": _put("emptyasnull"),
    "blanksasnull": _put("blanksasnull"),
    "acceptinvchars": lambda reader, options: options.__setitem__("acceptinvchars", reader.optional_text() or "?"),
    "statupdate": _switch("statupdate"),
    "compupdate": _switch("compupdate"),
}
_UNLOAD: dict[str, Any] = {
    **_BOTH,
    "header": _put("header"),
    "manifest": _manifest,
    "partition": _partition,
    "parallel": _switch("parallel"),
    "allowoverwrite": _put("allowoverwrite"),
    "cleanpath": _put("cleanpath"),
    "addquotes": _put("addquotes"),
    "maxfilesize": _size,
    "encrypted": lambda reader, options: options.__setitem__("encrypted", reader.words("auto") or True),
}
