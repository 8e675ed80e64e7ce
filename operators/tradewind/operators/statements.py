"""SQL text in statements, by the lexical rules of PostgreSQL, of MySQL or of Snowflake.

Semicolons within comments, quotes of every kind and the bodies of routines end no statement.
PostgreSQL: https://www.postgresql.org/docs/current/sql-syntax-lexical.html (nested comments, dollar quotes,
parentheses of ``CREATE RULE``, ``BEGIN ATOMIC``).
MySQL: https://dev.mysql.com/doc/refman/8.4/en/language-structure.html (backslashes in texts, backticks, ``#``,
``--`` with a space after it, ``/*! code */``, compound statements).
Snowflake: https://docs.snowflake.com/en/sql-reference/data-types-text (backslashes, ``$$``) and
https://docs.snowflake.com/en/developer-guide/snowflake-scripting/blocks (``//``, blocks; BEGIN as a transaction).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from tradewind.hooks.errors import InvalidArgument

Rules = Literal["postgres", "mysql", "snowflake"]
Kind = Literal["space", "comment", "text", "name", "word", "end", "other"]

_POSTGRES = re.compile(
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
# What MySQL runs of a comment, /*! ... */, is code: it counts as a statement, and is shown to nobody.
_MYSQL = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>\#[^\r\n]* | --(?=[\s\x00-\x1f]|\Z)[^\r\n]* | /\*(?!M?!).*?(?:\*/|\Z))
  | (?P<block>(?!))
  | (?P<text>/\*M?!.*?(?:\*/|\Z)
        | [bBxXnN]?'(?:[^'\\]|''|\\.)*(?:'|\\?\Z) | "(?:[^"\\]|""|\\.)*(?:"|\\?\Z))
  | (?P<name>`(?:[^`]|``)*(?:`|\Z))
  | \$(?P<tag>(?:[^\W\d]\w*)?)\$
  | (?P<word>@{0,2}[^\W\d][\w$]*)
  | (?P<end>;)
  | (?P<other>\d[\w.$]*|.)
    """,
    re.VERBOSE | re.DOTALL,
)
# What stands unquoted after file:// or @ may hold two slashes, which are a comment elsewhere.
_SNOWFLAKE = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>--[^\r\n]* | //[^\r\n]* | /\*.*?(?:\*/|\Z))
  | (?P<block>(?!))
  | (?P<text>'(?:[^'\\]|''|\\.)*(?:'|\\?\Z))
  | (?P<name>"(?:[^"]|"")*(?:"|\Z))
  | \$(?P<tag>)\$
  | (?P<other>[fF][iI][lL][eE]://[^\s;']* | @[\w.%~$/=+-]+)
  | (?P<word>\$?[^\W\d][\w$]*)
  | (?P<end>;)
  | (?P<_other>\d[\w.$]*|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_LEXEMES = {"postgres": _POSTGRES, "mysql": _MYSQL, "snowflake": _SNOWFLAKE}
_BLOCK = re.compile(r"/\*|\*/")


def lex(sql: str, rules: Rules = "postgres") -> Iterator[tuple[Kind, str]]:
    """Yield the lexemes of a text; put together they are the text.

    :param sql: SQL, well-formed or not: what is opened and never closed reaches to the end
    :param rules: whose rules
    """
    at = 0
    lexemes = _LEXEMES[rules]
    while at < len(sql):
        match = lexemes.match(sql, at)
        assert match is not None  # noqa: S101 (the last alternative takes any character)
        kind: Kind
        if match["block"]:
            kind, end = "comment", _end_of_comment(sql, match.end())
        elif match["tag"] is not None:
            closing = sql.find(match.group(), match.end())
            kind, end = "text", len(sql) if closing < 0 else closing + len(match.group())
        else:
            kind, end = match.lastgroup.lstrip("_"), match.end()  # type: ignore[assignment, union-attr]
        yield kind, sql[at:end]
        at = end


def split(sql: str, rules: Rules = "postgres") -> list[str]:
    """Split a text into its statements, comments kept and semicolons left out.

    :param sql: one statement or many
    :param rules: whose rules
    :return: the statements that hold more than comments
    :raises InvalidArgument: for MySQL's ``DELIMITER``, which is a command of its client
    """
    statements: list[str] = []
    current: list[str] = []
    make = _NESTING[rules]
    depth = make()
    filled = False
    for kind, text in lex(sql, rules):
        if kind == "end" and depth.is_zero:
            if filled:
                statements.append("".join(current).strip())
            current, depth, filled = [], make(), False
            continue
        current.append(text)
        if kind not in ("space", "comment"):
            if rules == "mysql" and not filled and text.upper() == "DELIMITER":
                raise InvalidArgument(
                    "DELIMITER is a command of the mysql client, not SQL: leave it out, and end each statement "
                    "with ';' (what stands between BEGIN and END of a routine stays together)"
                )
            filled = True
            depth.see(kind, text)
    if filled:
        statements.append("".join(current).strip())
    return statements


def words(sql: str, rules: Rules = "postgres") -> list[str]:
    """Return what a statement consists of, comments and space left out, key words in upper case.

    :param sql: one statement
    :param rules: whose rules
    """
    found = ((kind, text) for kind, text in lex(sql, rules) if kind not in ("space", "comment"))
    return [text.upper() if kind == "word" else text for kind, text in found]


def summary(sql: str, size: int = 120, rules: Rules = "postgres") -> str:
    """Show a statement in one line: no comments, and no quoted text, which may be a secret.

    :param sql: one statement
    :param size: the most characters
    :param rules: whose rules
    """
    found = lex(sql, rules)
    parts = ["'...'" if kind == "text" else " " if kind in ("space", "comment") else text for kind, text in found]
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


class _Compound:
    """How deep in the body of a routine of MySQL, or in MariaDB's ``BEGIN NOT ATOMIC``, a statement is.

    https://dev.mysql.com/doc/refman/8.4/en/sql-compound-statements.html
    """

    _ROUTINES = frozenset(("PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE"))
    _OTHERS = frozenset(("TABLE", "VIEW", "INDEX", "DATABASE", "SCHEMA", "USER", "ROLE", "SERVER", "SEQUENCE"))
    _STARTS = frozenset(("THEN", "ELSE", "DO", "LOOP", "REPEAT", "BEGIN", "ROW", ":", ";"))
    _BLOCKS = frozenset(("IF", "LOOP", "WHILE", "REPEAT", "FOR"))

    def __init__(self) -> None:
        self.blocks = 0
        self._first = self._before = ""
        self._seen = 0
        self._routine: bool | None = None

    @property
    def is_zero(self) -> bool:
        return self.blocks <= 0

    def see(self, kind: Kind, text: str) -> None:
        word = text.upper() if kind in ("word", "end", "other") else "?"
        self._seen += 1
        self._first = self._first or word
        if self._routine:
            self._inside(word)
        elif self._seen == 3 and self._first == "BEGIN" and (self._before, word) == ("NOT", "ATOMIC"):
            self._routine, self.blocks = True, 1
        elif self._first == "CREATE" and self._routine is None and word in (self._ROUTINES | self._OTHERS):
            self._routine = word in self._ROUTINES
        self._before = word

    def _inside(self, word: str) -> None:
        ends = self._before == "END" and word in (*self._BLOCKS, "CASE")
        if word == "END":
            self.blocks -= 1
        elif word in ("BEGIN", "CASE") or (word in self._BLOCKS and self._opens(word)):
            self.blocks += not ends

    def _opens(self, word: str) -> bool:
        """Tell a loop or an IF from the functions IF() and REPEAT(), from FOR EACH ROW and from IF NOT EXISTS."""
        first = self.blocks == 0 and (word in ("WHILE", "LOOP") or (self._before == ")" and word != "FOR"))
        return first or self._before in self._STARTS


class _Scripting:
    """How deep in a block of Snowflake Scripting, or in the body of a procedure or task, a statement is.

    ``BEGIN`` alone, or before ``TRANSACTION``, ``WORK`` and ``NAME``, begins a transaction and no block.
    """

    _STARTS = frozenset(("THEN", "ELSE", "DO", "LOOP", "REPEAT", "BEGIN", ";"))
    _BLOCKS = frozenset(("IF", "FOR", "WHILE", "LOOP"))
    _NO_BLOCK: Mapping[str, frozenset[str]] = {
        "BEGIN": frozenset((";", "TRANSACTION", "WORK", "NAME")),
        "REPEAT": frozenset("("),  # the function
    }

    def __init__(self) -> None:
        self.blocks = 0
        self._before = ""
        self._declaring = False
        self._begun = ""

    @property
    def is_zero(self) -> bool:
        return self.blocks <= 0

    def see(self, kind: Kind, text: str) -> None:
        word = text.upper() if kind in ("word", "end") else "?"
        if self._begun and text.upper() not in self._NO_BLOCK[self._begun]:
            self.blocks += 1
        self._begun = ""
        if self.blocks == 0:
            self._outside(word)
        else:
            self._inside(word)
        self._before = word

    def _outside(self, word: str) -> None:
        if self._before not in ("", "AS"):
            return
        if word == "DECLARE":
            self.blocks, self._declaring = 1, True
        elif word == "BEGIN":
            self._begun = word

    def _inside(self, word: str) -> None:
        if word == "END":
            self.blocks -= 1
        elif word == "CASE":
            self.blocks += self._before != "END"
        elif word == "BEGIN" and self._declaring and self.blocks == 1:
            self._declaring = False
        elif self._before not in self._STARTS or (self._declaring and self.blocks == 1):
            return
        elif word in self._NO_BLOCK:
            self._begun = word
        elif word in self._BLOCKS:
            self.blocks += 1


_NESTING: dict[Rules, type[_Depth | _Compound | _Scripting]] = {
    "postgres": _Depth,
    "mysql": _Compound,
    "snowflake": _Scripting,
}


def _end_of_comment(sql: str, at: int) -> int:
    depth = 1
    while depth:
        match = _BLOCK.search(sql, at)
        if match is None:
            return len(sql)
        depth += 1 if match.group() == "/*" else -1
        at = match.end()
    return at
