"""Where one statement ends and the next begins."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.operators.statements import lex, split, summary, words

ATOMIC = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 ELSE 2 END; SELECT 2; END"
RULE = "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (1); INSERT INTO b VALUES (2))"


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
        (" ;; SELECT 1 ;;", ["SELECT 1"]),
        ("-- nothing; at all\n/* ; */", []),
        ("SELECT ';'; SELECT 2", ["SELECT ';'", "SELECT 2"]),
        ("SELECT 'it''s; one'; SELECT 2", ["SELECT 'it''s; one'", "SELECT 2"]),
        ("SELECT 'a\\'; SELECT 2", ["SELECT 'a\\'", "SELECT 2"]),
        ("SELECT E'a\\';'; SELECT 2", ["SELECT E'a\\';'", "SELECT 2"]),
        ('SELECT 1 AS "a;""b"; SELECT 2', ['SELECT 1 AS "a;""b"', "SELECT 2"]),
        ("SELECT $$;'$$; SELECT 2", ["SELECT $$;'$$", "SELECT 2"]),
        ("SELECT $a$ ; $b$ $$ ; $a$; SELECT 2", ["SELECT $a$ ; $b$ $$ ; $a$", "SELECT 2"]),
        ("SELECT 1 /* a /* b; */ c; */; SELECT 2", ["SELECT 1 /* a /* b; */ c; */", "SELECT 2"]),
        ("SELECT 1 -- it's; fine\n; SELECT 2", ["SELECT 1 -- it's; fine", "SELECT 2"]),
        ("SELECT a$1; SELECT b$1", ["SELECT a$1", "SELECT b$1"]),
        (f"{ATOMIC}; SELECT 3", [ATOMIC, "SELECT 3"]),
        (f"{RULE}; SELECT 3", [RULE, "SELECT 3"]),
        ("BEGIN; SELECT 1; END; SELECT 2", ["BEGIN", "SELECT 1", "END", "SELECT 2"]),
        ("SELECT 'never closed; SELECT 2", ["SELECT 'never closed; SELECT 2"]),
        ("SELECT U&'d\\0061;'; SELECT 2", ["SELECT U&'d\\0061;'", "SELECT 2"]),
    ],
)
def test_split(sql: str, statements: list[str]) -> None:
    assert split(sql) == statements


@given(st.text(alphabet="ab'\"$;-/*\\\n eE()1", max_size=60))
@settings(max_examples=300, deadline=None)
def test_nothing_is_lost(sql: str) -> None:
    assert "".join(text for _, text in lex(sql)) == sql


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_a_quoted_text_is_one(text: str) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    assert split(f"SELECT {quoted}; SELECT 2") == [f"SELECT {quoted}", "SELECT 2"]


def test_words() -> None:
    assert words("copy /* to */ T from 'x' ;") == ["COPY", "T", "FROM", "'x'", ";"]


def test_a_summary_has_no_texts_and_one_line() -> None:
    assert summary("ALTER USER x\n  PASSWORD 'secret' -- secret\n") == "ALTER USER x PASSWORD '...'"
    assert len(summary("SELECT " + "a, " * 100)) == 120
