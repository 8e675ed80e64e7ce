"""The SQL that is sent, by a grammar of Redshift: what the stand-in's PostgreSQL takes, Redshift need not."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlglot

from tests.fix_copies import MemoryFiles, copy, drain
from tests.redshift.fix_standin import ROLE, Warehouse
from tradewind.amazon.redshift.copying import copy_statement
from tradewind.amazon.redshift.quoting import authorization, option
from tradewind.amazon.redshift.tables import RedshiftQuery, RedshiftTable
from tradewind.amazon.s3.files import S3File
from tradewind.operators.expectations import ForeignKey, NotNull, RowCount, Unique

pytestmark = pytest.mark.anywhere

NOT_REDSHIFTS = re.compile(
    r"\bfilter\s*\(|\bon conflict\b|\bto_regclass\b|::text\b|\breturning\b|\bilike any\b|\bctid\b|\blateral\b"
    r"|\btruncate\b|is (not )?distinct from|\bif not exists\b(?!.*\bvarchar\b)|\bsavepoint\b|advisory",
    re.IGNORECASE | re.DOTALL,
)
"""What PostgreSQL has and Redshift has not, or what commits."""


@pytest.fixture
def sent(warehouse: Warehouse) -> list[str]:
    """Return the statements of loads and unloads in all modes."""
    place: dict[str, Any] = {
        "conn_id": warehouse.conn_id,
        "staging": f"s3://{warehouse.bucket}/staging/",
        "iam_role": ROLE,
    }
    url = warehouse.put("in/a.csv", "id,name,at\n1,a,2026-01-01 10:00:00\n2,b,\n")
    expect = (RowCount(min=1), Unique("id"), NotNull("id", of="load"), ForeignKey("id", references="made(id)"))
    copy(S3File(url), RedshiftTable("made", **place), create=True)
    copy(S3File(url), RedshiftTable("made", **place), mode="merge", key=("id",))
    copy(MemoryFiles(b"id\n3\n"), RedshiftTable("made", **place), expect=expect)
    copy(S3File(url), RedshiftTable("made", **place), mode="replace")
    drain(RedshiftTable("made", columns={"id": "number"}, constants={"c": "x"}, **place))
    drain(RedshiftQuery("SELECT * FROM made WHERE id = %s", [1], **place))
    return warehouse.server.statements()


def test_the_grammar_knows_what_is_sent(sent: list[str]) -> None:
    kinds = set()
    for sql in sent:
        kinds.add(sql.split()[0].upper())
        assert not NOT_REDSHIFTS.search(sql), sql
        if sql.startswith("LOCK TABLE "):  # sqlglot knows neither LOCK nor UNLOAD
            assert re.fullmatch(r'LOCK TABLE "[^"]+"\."[^"]+"', sql)
            continue
        inner = re.fullmatch(r"UNLOAD \(\$\$\n(.*)\n\$\$\) TO '[^']+' IAM_ROLE .*", sql, re.DOTALL)
        [parsed] = sqlglot.parse(inner[1] if inner else sql, read="redshift")
        assert parsed is not None
        assert type(parsed).__name__ != "Command" or sql.startswith(("SET", "BEGIN", "ROLLBACK")), sql
    assert {"COPY", "UNLOAD", "LOCK", "UPDATE", "INSERT", "DELETE", "CREATE"} <= kinds


def test_no_key_is_in_what_is_sent(sent: list[str]) -> None:
    assert not [sql for sql in sent if re.search(r"access_key|secret|session_token|credentials", sql, re.IGNORECASE)]
    assert [sql for sql in sent if f"IAM_ROLE '{ROLE}'" in sql]


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("x", "'x'"), ("it's", "'it''s'"), ("\\N", "'\\\\N'"), ("\t", "'\t'"), ("'; DROP", "'''; DROP'")],
)
def test_options_are_quoted(text: str, quoted: str) -> None:
    assert option(text) == quoted


def test_a_copy_in_full() -> None:
    statement = copy_statement('"s"."t"', ("a", 'b"'), "s3://b/k.manifest", " FORMAT AS CSV", "default", "eu-west-1")
    assert statement == (
        """COPY "s"."t" ("a", "b\""") FROM 's3://b/k.manifest' IAM_ROLE default MANIFEST FORMAT AS CSV """
        "REGION 'eu-west-1'"
    )
    assert authorization("arn:aws:iam::1:role/a,arn:aws:iam::2:role/b") == (
        "IAM_ROLE 'arn:aws:iam::1:role/a,arn:aws:iam::2:role/b'"
    )
