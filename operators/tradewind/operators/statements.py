"""SQL text in statements, by the lexical rules of PostgreSQL.

Semicolons within comments (nested ones too), quotes of every kind, dollar quotes, parentheses (``CREATE RULE``) and
``BEGIN ATOMIC`` bodies end no statement: https://www.postgresql.org/docs/current/sql-syntax-lexical.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

Kind = Literal["space", "comment", "text", "name", "word", "end", "other"]

_LEXEMES = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>--[^\r\n]*)
  | (?P<block>/\*)
  | (?P<text>[eE]'(?:[^'\\]|''|\\.)*(?:'|\Z) | (?:[uU]&|[bBxXnN])?'(?:[^']|'')*(?:'|\Z))
  | (?P<name>(?:[uU]&)?"(?:[^"]|"")*(?:"|\Z))
  | \$(?P<tag>(?:[^\W\d]\w*)?)\$
  | (?P<word>[^\W\d][\w$]*)
  | (?P<end>;)
  | (?P<other>\d[\w.$]*|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK = re.compile(r"/\*|\*/")


def lex(sql: str) -> Iterator[tuple[Kind, str]]:
    """Yield the lexemes of a text; put together they are the text.

    :param sql: SQL, well-formed or not: what is opened and never closed reaches to the end
    """
    at = 0
    while at < len(sql):
        match = _LEXEMES.match(sql, at)
        assert match is not None  # noqa: S101 (the last alternative takes any character)
        kind: Kind
        if match["block"]:
            kind, end = "comment", _end_of_comment(sql, match.end())
        elif match["tag"] is not None:
            closing = sql.find(match.group(), match.end())
            kind, end = "text", len(sql) if closing < 0 else closing + len(match.group())
        else:
            kind, end = match.lastgroup, match.end()  # type: ignore[assignment]
        yield kind, sql[at:end]
        at = end


def split(sql: str) -> list[str]:
    """Split a text into its statements, comments kept and semicolons left out.

    :param sql: one statement or many
    :return: the statements that hold more than comments
    """
    statements: list[str] = []
    current: list[str] = []
    depth = _Depth()
    filled = False
    for kind, text in lex(sql):
        if kind == "end" and depth.is_zero:
            if filled:
                statements.append("".join(current).strip())
            current, depth, filled = [], _Depth(), False
            continue
        current.append(text)
        if kind not in ("space", "comment"):
            filled = True
            depth.see(kind, text)
    if filled:
        statements.append("".join(current).strip())
    return statements


def words(sql: str) -> list[str]:
    """Return what a statement consists of, comments and space left out, key words in upper case.

    :param sql: one statement
    """
    return [text.upper() if kind == "word" else text for kind, text in lex(sql) if kind not in ("space", "comment")]


def summary(sql: str, size: int = 120) -> str:
    """Show a statement in one line: no comments, and no quoted text, which may be a secret.

    :param sql: one statement
    :param size: the most characters
    """
    parts = ["'...'" if kind == "text" else " " if kind in ("space", "comment") else text for kind, text in lex(sql)]
    line = " ".join("".join(parts).split())
    return line if len(line) <= size else f"{line[: size - 3]}..."


class _Depth:
    """How deep in parentheses and in a BEGIN ATOMIC body a statement is."""

    def __init__(self) -> None:
        self.parentheses = 0
        self.blocks = 0
        self._before = ""

    @property
    def is_zero(self) -> bool:
        return self.parentheses <= 0 and self.blocks == 0

    def see(self, kind: Kind, text: str) -> None:
        word = text.upper() if kind == "word" else ""
        if text == "(":
            self.parentheses += 1
        elif text == ")":
            self.parentheses -= 1
        elif (word == "ATOMIC" and self._before == "BEGIN") or (word == "CASE" and self.blocks):
            self.blocks += 1
        elif word == "END" and self.blocks:
            self.blocks -= 1
        self._before = word


def _end_of_comment(sql: str, at: int) -> int:
    depth = 1
    while depth:
        match = _BLOCK.search(sql, at)
        if match is None:
            return len(sql)
        depth += 1 if match.group() == "/*" else -1
        at = match.end()
    return at
