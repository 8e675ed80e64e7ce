"""Where one statement ends and the next begins."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.statements import lex, split, summary, words

pytestmark = pytest.mark.anywhere

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


BODY = (
    "BEGIN DECLARE x int; IF x > 1 THEN SET x = IF(x > 2, 1, 2); END IF; WHILE x < 3 DO SET x = x + 1; END WHILE; "
    "l: LOOP LEAVE l; END LOOP; CASE x WHEN 1 THEN SELECT 1; ELSE SELECT CASE WHEN 1 THEN 2 END; END CASE; "
    "FOR i IN 1..3 DO SELECT REPEAT('x', i); END FOR; END"
)


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        (f"CREATE PROCEDURE p() {BODY}; SELECT 2", [f"CREATE PROCEDURE p() {BODY}", "SELECT 2"]),
        (
            f"CREATE OR REPLACE DEFINER=`a`@`b` EVENT e ON SCHEDULE EVERY 1 DAY DO {BODY}; SELECT 2",
            [f"CREATE OR REPLACE DEFINER=`a`@`b` EVENT e ON SCHEDULE EVERY 1 DAY DO {BODY}", "SELECT 2"],
        ),
        (
            "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW IF NEW.a = 1 THEN SET NEW.a = 2; END IF; SELECT 2",
            ["CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW IF NEW.a = 1 THEN SET NEW.a = 2; END IF", "SELECT 2"],
        ),
        (
            "CREATE FUNCTION f(x int) RETURNS int DETERMINISTIC WHILE x < 3 DO SET x = 3; END WHILE; SELECT 1",
            ["CREATE FUNCTION f(x int) RETURNS int DETERMINISTIC WHILE x < 3 DO SET x = 3; END WHILE", "SELECT 1"],
        ),
        (
            "CREATE PROCEDURE p() REPEAT SELECT 1; UNTIL TRUE END REPEAT; SELECT REPEAT('x', 2)",
            ["CREATE PROCEDURE p() REPEAT SELECT 1; UNTIL TRUE END REPEAT", "SELECT REPEAT('x', 2)"],
        ),
        (
            "CREATE PROCEDURE IF NOT EXISTS p() SELECT 1; CALL p()",
            ["CREATE PROCEDURE IF NOT EXISTS p() SELECT 1", "CALL p()"],
        ),
        (
            "CREATE TABLE t (event int, begin int, `procedure` int); SELECT 1",
            ["CREATE TABLE t (event int, begin int, `procedure` int)", "SELECT 1"],
        ),
        (
            "BEGIN NOT ATOMIC SELECT 1; SELECT 2; END; SELECT 3",
            ["BEGIN NOT ATOMIC SELECT 1; SELECT 2; END", "SELECT 3"],
        ),
        ("BEGIN; SELECT 1; COMMIT", ["BEGIN", "SELECT 1", "COMMIT"]),
        ("SELECT 1 # a;b\n; SELECT 2--1; SELECT 3 -- x;y", ["SELECT 1 # a;b", "SELECT 2--1", "SELECT 3 -- x;y"]),
        (r"SELECT 'a\';'; SELECT 'b\\'; SELECT 'it''s;'", [r"SELECT 'a\';'", r"SELECT 'b\\'", "SELECT 'it''s;'"]),
        (r'SELECT "x\";", "y"";"; SELECT `a``;b`, @`c;`', [r'SELECT "x\";", "y"";"', "SELECT `a``;b`, @`c;`"]),
        (
            "/*!40101 SET NAMES utf8; */; SELECT /* a /* ; */ 5",
            ["/*!40101 SET NAMES utf8; */", "SELECT /* a /* ; */ 5"],
        ),
        ("SELECT /*+ MAX_EXECUTION_TIME(1); */ 1; # only this", ["SELECT /*+ MAX_EXECUTION_TIME(1); */ 1"]),
        ("SELECT a$b, $$ ; $$; SELECT 2", ["SELECT a$b, $$ ; $$", "SELECT 2"]),
        ("SELECT 'never closed\\", ["SELECT 'never closed\\"]),
    ],
)
def test_split_by_mysqls_rules(sql: str, statements: list[str]) -> None:
    assert split(sql, "mysql") == statements


@pytest.mark.parametrize("sql", ["DELIMITER //\nSELECT 1 //", "SELECT 1; -- now\ndelimiter $$"])
def test_a_command_of_mysqls_client_is_refused(sql: str) -> None:
    with pytest.raises(InvalidArgument, match="DELIMITER is a command of the mysql client, not SQL: leave it out"):
        split(sql, "mysql")
    assert split("SELECT delimiter FROM t", "mysql") == ["SELECT delimiter FROM t"]


@given(st.text(alphabet="ab'\"$;-/*!\\\n #`@e()1", max_size=60))
@settings(max_examples=300, deadline=None)
def test_nothing_is_lost_by_mysqls_rules(sql: str) -> None:
    assert "".join(text for _, text in lex(sql, "mysql")) == sql


def test_a_summary_by_mysqls_rules() -> None:
    sql = 'ALTER USER `x` IDENTIFIED BY "s\\"ecret" # secret\n /*! secret */'
    assert summary(sql, rules="mysql") == "ALTER USER `x` IDENTIFIED BY '...' '...'"
