"""SQL text in statements by Snowflake's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.operators.statements import lex, split, summary

pytestmark = pytest.mark.anywhere

ONE = {
    "a comment": "SELECT 1 -- ; no end",
    "a comment of two slashes": "SELECT 1 // ; no end\n, 2",
    "a comment that does not nest": "SELECT /* ; /* ; */ 1",
    "a text": "SELECT ';', 'it''s ;', 'a\\';b'",
    "dollar quotes": "CREATE PROCEDURE p() RETURNS INT LANGUAGE SQL AS $$ BEGIN RETURN 1; END; $$",
    "a name": 'SELECT ";" AS "a"";b"',
    "a file": "PUT file:///tmp/a;b.csv".partition(";")[0] + " @st//in",
    "a block": "BEGIN LET x INT := 1; RETURN x; END",
    "a block with declarations": "DECLARE x INT; c CURSOR FOR SELECT 1; BEGIN x := 1; RETURN x; END",
    "nested blocks": "BEGIN BEGIN SELECT 1; END; DECLARE y INT; BEGIN y := 2; END; END",
    "branches": "BEGIN IF (1 = 1) THEN SELECT 1; ELSEIF (2 = 2) THEN SELECT 2; "
    "ELSE IF (TRUE) THEN SELECT 3; END IF; END IF; END",
    "loops": "BEGIN FOR i IN 1 TO 3 DO SELECT 1; END FOR; WHILE (TRUE) DO BREAK; END WHILE; LOOP BREAK; END LOOP; "
    "REPEAT SELECT 1; UNTIL (TRUE) END REPEAT; FOR r IN c LOOP SELECT 1; END LOOP; END",
    "a case": "BEGIN CASE (x) WHEN 1 THEN SELECT 1; ELSE SELECT 2; END CASE; SELECT CASE WHEN 1 = 1 THEN 2 END; END",
    "the function REPEAT": "BEGIN SELECT CASE WHEN TRUE THEN REPEAT('a', 3) ELSE REPEAT('b', 2) END; END",
    "handlers": "BEGIN SELECT 1; EXCEPTION WHEN OTHER THEN ROLLBACK; RAISE; END",
    "a transaction within": "BEGIN BEGIN TRANSACTION; INSERT INTO t VALUES (1); COMMIT; END",
    "a cursor within": "BEGIN LET c CURSOR FOR SELECT 1; FOR r IN c DO SELECT 1; END FOR; END",
    "the body of a procedure": "CREATE OR REPLACE PROCEDURE p() RETURNS INT LANGUAGE SQL AS BEGIN RETURN 1; END",
    "the body of a task": "CREATE TASK t SCHEDULE = '1 MINUTE' AS DECLARE x INT; BEGIN x := 1; END",
    "a case without a block": "SELECT CASE WHEN 1 = 1 THEN 2 END",
    "an IF of DDL": "DROP TABLE IF EXISTS t",
    "a comment before a block": "-- first\nBEGIN /* x */ SELECT 1; END",
}


@pytest.mark.parametrize("case", ONE)
def test_one_statement_stays_one(case: str) -> None:
    text = ONE[case]

    assert split(text, "snowflake") == [text]
    assert split(f"SELECT 0; {text}\n; SELECT 2;", "snowflake") == ["SELECT 0", text, "SELECT 2"]


@pytest.mark.parametrize("begin", ["BEGIN", "begin transaction", "BEGIN WORK", "BEGIN NAME t1", "START TRANSACTION"])
def test_a_transaction_is_no_block(begin: str) -> None:
    parts = [begin, "INSERT INTO t VALUES (1)", "COMMIT"]

    assert split("; ".join(parts), "snowflake") == parts


def test_a_summary_shows_no_text() -> None:
    assert summary("SELECT 'secret', $$ secret $$ -- secret", rules="snowflake") == "SELECT '...', '...'"


PIECES = st.sampled_from(
    [*ONE.values(), "SELECT 1", "BEGIN", "COMMIT", "SELECT $1 FROM @st/a//b.csv", "SET x = 'a;b'", "SELECT 'é\\\\'"]
)


@given(st.lists(PIECES, min_size=1, max_size=6), st.sampled_from([";", ";\n", " ;\n-- next; one\n", "\n;;/* next; */"]))
def test_joined_statements_are_found_again(pieces: list[str], between: str) -> None:
    text = between.join(f"{piece}\n" for piece in pieces)
    found = [part.split("-- next; one\n")[-1].split("/* next; */")[-1].strip() for part in split(text, "snowflake")]

    assert found == pieces


@given(st.text(alphabet="aB1 \n'\"\\$/*-;@%.()=:ü", max_size=80))
def test_lexemes_are_the_text(text: str) -> None:
    assert "".join(part for _, part in lex(text, "snowflake")) == text
    assert all(part.strip() for part in split(text, "snowflake"))


BLOCKS = st.recursive(
    st.sampled_from(["SELECT 1;", "x := 'a;b';", "LET y INT := 2;", "NULL; -- ; c\n", "BEGIN TRANSACTION;", "COMMIT;"]),
    lambda inner: st.one_of(
        inner.map(lambda body: f"IF (x > 1) THEN {body} ELSE {body} END IF;"),
        inner.map(lambda body: f"FOR i IN 1 TO 3 DO {body} END FOR;"),
        inner.map(lambda body: f"WHILE (TRUE) LOOP {body} END LOOP;"),
        inner.map(lambda body: f"REPEAT {body} UNTIL (TRUE) END REPEAT;"),
        inner.map(lambda body: f"CASE (x) WHEN 1 THEN {body} END;"),
        inner.map(lambda body: f"BEGIN {body} EXCEPTION WHEN OTHER THEN {body} END;"),
        inner.map(lambda body: f"DECLARE z INT DEFAULT CASE WHEN TRUE THEN 1 END; BEGIN {body} END;"),
        st.tuples(inner, inner).map(" ".join),
    ),
    max_leaves=8,
)


@given(
    BLOCKS,
    st.sampled_from(["BEGIN ", "DECLARE a INT; c CURSOR FOR SELECT 1; BEGIN ", "CREATE PROCEDURE p() AS BEGIN "]),
)
def test_blocks_of_any_depth_stay_together(body: str, head: str) -> None:
    block = f"{head}{body} END"

    assert split(f"{block}; SELECT 1; {block}", "snowflake") == [block, "SELECT 1", block]
