"""Inputs that cannot work, with what the error must say; and odd ones that must load right."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.stage import LAKE
from tradewind.hooks.errors import (
    AccessDenied,
    ConnectionFailed,
    DataError,
    InvalidArgument,
    NotFound,
    TimedOut,
    TradewindError,
)

TABLE = "public.people"
SETUP = """
    create table public.teams (id int primary key);
    insert into public.teams values (1), (2);
    create table public.people (
        id int primary key, name text not null, born date, score numeric(6, 2) check (score >= 0), member boolean,
        code varchar(3), team int references public.teams, twice int generated always as (id * 2) stored
    );
    create view public.names as select name from public.people union select 'nobody';
    create schema closed;
    create table closed.people (like public.people including all);
"""
ROWS = "insert into public.people (id, name, born, score) values (1, 'Ada', '1815-12-10', 9.5), (2, 'Blaise', null, 8)"
CHECKSUM = "select count(*), coalesce(sum(hash_record_extended(p, 0)::numeric), 0) from public.people p"
HEADER = b"id,name,born,score\n"
GOOD = HEADER + b"3,Carl,1777-04-30,7.25\n4,Emmy,1882-03-23,\n"
SECRET = "pass-word-that-nobody-may-see"


@dataclass(frozen=True)
class Case:
    """One input.

    :param says: what the error's text must hold, in any order, whatever the case
    :param error: the error's class, None where the input is good
    :param body: the bytes of the object
    :param key: where the object lies
    :param url: what the source is declared with, by default the object's address
    :param file: arguments of the source
    :param table: arguments of the target
    :param copy: arguments of the operator
    :param postgres: what differs in the database's connection
    :param aws: what differs in the connection to S3
    :param sql: statements that run before, ``{role}`` being a user without rights
    :param rows: how many rows a good input has
    """

    says: tuple[str, ...] = ()
    error: type[TradewindError] | None = None
    body: bytes = GOOD
    key: str = "in/people.csv"
    url: str | None = None
    file: Mapping[str, Any] = field(default_factory=dict)
    table: Mapping[str, Any] = field(default_factory=dict)
    copy: Mapping[str, Any] = field(default_factory=dict)
    postgres: Mapping[str, Any] = field(default_factory=dict)
    aws: Mapping[str, Any] = field(default_factory=dict)
    sql: tuple[str, ...] = ()
    rows: int = 2


def bad(error: type[TradewindError], *says: str, **what: Any) -> Case:
    return Case(says, error, **what)


def good(**what: Any) -> Case:
    return Case(**what)


def lines(*records: bytes) -> bytes:
    return HEADER + b"".join(record + b"\n" for record in records)


ZIPPED = gzip.compress(GOOD * 1000, mtime=0)
AS_ROLE = {"login": "{role}", "password": SECRET}
MERGE = {"mode": "merge", "key": ["id"]}

CONNECTIONS = {
    "postgres: nobody listens": bad(ConnectionFailed, "connection refused", postgres={"port": 1}),
    "postgres: unknown host": bad(ConnectionFailed, "no.such.host.invalid", postgres={"host": "no.such.host.invalid"}),
    "postgres: wrong password": bad(AccessDenied, "password", postgres={"password": SECRET}),
    "postgres: unknown user": bad(AccessDenied, "nobody_here", postgres={"login": "nobody_here", "password": SECRET}),
    "postgres: unknown database": bad(NotFound, "no_such_db", "does not exist", postgres={"schema": "no_such_db"}),
    "postgres: unknown option": bad(InvalidArgument, "no_such_option", postgres={"extra": {"no_such_option": "1"}}),
    "postgres: bad sslmode": bad(InvalidArgument, "sslmode", postgres={"extra": {"sslmode": "perhaps"}}),
    "postgres: tls where there is none": bad(InvalidArgument, "ssl", postgres={"extra": {"sslmode": "require"}}),
    "postgres: unknown service": bad(NotFound, "no_such_service", postgres={"extra": {"service": "no_such_service"}}),
    "postgres: port that is none": bad(InvalidArgument, "port", postgres={"port": 99999}),
    "postgres: a server that never answers": bad(
        TimedOut, "timeout", postgres={"port": "{silent}", "extra": {"connect_timeout": 1}}
    ),
    "s3: nobody listens": bad(
        ConnectionFailed,
        "127.0.0.1:1",
        aws={"extra": {"endpoint_url": "http://127.0.0.1:1", "config_kwargs": {"retries": {"max_attempts": 1}}}},
    ),
    "s3: endpoint without scheme": bad(
        InvalidArgument, "endpoint_url", "http://", aws={"extra": {"endpoint_url": "localhost:9000"}}
    ),
    "s3: key id without secret": bad(InvalidArgument, LAKE, "secret access key", aws={"login": "AKIA", "password": ""}),
    "s3: secret without key id": bad(InvalidArgument, LAKE, "access key id", aws={"login": "", "password": SECRET}),
    "s3: config_kwargs that is no object": bad(
        InvalidArgument, "config_kwargs", LAKE, aws={"extra": {"config_kwargs": "[1]"}}
    ),
    "s3: unknown way to assume a role": bad(
        InvalidArgument, "assume_role_method", aws={"extra": {"assume_role_method": "magic", "role_arn": "arn:x"}}
    ),
    "s3: unknown profile": bad(InvalidArgument, "no-such-profile", aws={"extra": {"profile_name": "no-such-profile"}}),
}

KEYS = {
    "no such bucket": bad(NotFound, "no-such-bucket-here", url="s3://no-such-bucket-here/people.csv"),
    "no such key": bad(NotFound, "in/peple.csv", url="s3://{bucket}/in/peple.csv"),
    "wildcard without a match": bad(NotFound, "in/2026-*.csv", url="s3://{bucket}/in/2026-*.csv"),
    "wildcard in a missing bucket": bad(NotFound, "no-such-bucket-here", url="s3://no-such-bucket-here/*.csv"),
    "one key of two is missing": bad(
        NotFound, "in/none.csv", url=["s3://{bucket}/in/people.csv", "s3://{bucket}/in/none.csv"]
    ),
    "no key": bad(InvalidArgument, "s3://{bucket}", "key", url="s3://{bucket}"),
    "no key but a slash": bad(InvalidArgument, "s3://{bucket}/", "key", url="s3://{bucket}/"),
    "no bucket": bad(InvalidArgument, "s3:///people.csv", url="s3:///people.csv"),
    "another scheme": bad(InvalidArgument, "https://example.org/people.csv", url="https://example.org/people.csv"),
    "no scheme": bad(InvalidArgument, "people.csv", "s3://", url="people.csv"),
    "an empty list": bad(InvalidArgument, url=[]),
    "a bucket's name that is none": bad(InvalidArgument, "Bad_Bucket!", url="s3://Bad_Bucket!/people.csv"),
    "an empty wildcard that is allowed": good(url="s3://{bucket}/in/2026-*.csv", file={"allow_empty": True}, rows=0),
    "a key with blanks and signs": good(key="in/größe & more+(1) = 100%.csv"),
    "a key with a question mark, taken as it is": good(key="in/what?.csv", file={"wildcard_match": False}),
}

HEADERS = {
    "unknown column": bad(DataError, "people.csv", "'nmae'", "did you mean 'name'", body=b"id,nmae\n3,Carl\n"),
    "column twice": bad(DataError, "'name' 2 times", body=b"id,name,name\n3,Carl,Carl\n"),
    "column twice in another case": bad(DataError, "'NAME'", "'name'", body=b"id,name,NAME\n3,Carl,Carl\n"),
    "column without a name": bad(DataError, "column 2 of 3 has no name", body=b"id,,name\n3,,Carl\n"),
    "empty line first": bad(DataError, "empty line", body=b"\n" + GOOD),
    "semicolons": bad(DataError, "delimiter=';'", body=GOOD.replace(b",", b";")),
    "tabs": bad(DataError, r"delimiter='\t'", body=GOOD.replace(b",", b"\t")),
    "a required column is missing": bad(DataError, "name", "not-null", body=b"id,born\n3,1777-04-30\n"),
    "a quote left open": bad(DataError, "quote", body=b'id,"name\n3,Carl\n'),
    "a generated column": bad(DataError, "twice", "generated", body=b"id,name,twice\n3,Carl,6\n"),
    "no header where one is due": bad(DataError, "people.csv", "'3'", body=b"3,Carl,1777-04-30,7.25\n"),
    "no byte at all": good(body=b"", rows=0),
    "a header alone": good(body=HEADER, rows=0),
    "a header without a line end": good(body=HEADER.rstrip(), rows=0),
    "another order and case": good(body=b"NAME,Id\nCarl,3\nEmmy,4\n"),
    "names in quotes": good(body=b'"id","name"\n3,Carl\n4,Emmy\n'),
}

ENCODINGS = {
    "utf-8 with a mark": good(body=b"\xef\xbb\xbf" + GOOD),
    "utf-16, little": good(body=b"\xff\xfe" + GOOD.decode().encode("utf-16-le")),
    "utf-16, big": good(body=b"\xfe\xff" + GOOD.decode().encode("utf-16-be")),
    "utf-16 without a mark, as stated": good(body=GOOD.decode().encode("utf-16-le"), file={"encoding": "utf-16-le"}),
    "utf-32": good(body=b"\xff\xfe\0\0" + GOOD.decode().encode("utf-32-le")),
    "latin-1, as stated": good(body=lines("3,Käthe,,".encode("latin-1")), file={"encoding": "latin-1"}, rows=1),
    "utf-16 without a mark": bad(DataError, "people.csv", "utf-16", body=GOOD.decode().encode("utf-16-le")),
    "utf-16 cut in the middle": bad(
        DataError, "people.csv", "utf-16", body=b"\xff\xfe" + GOOD.decode().encode("utf-16-le")[:-1]
    ),
    "latin-1 in a record": bad(
        DataError, "people.csv, line 3, column name", "utf8", body=lines(b"3,Carl,,", "4,Käthe,,".encode("latin-1"))
    ),
    "latin-1 in the header": bad(DataError, "not utf-8", "encoding=", body="id,größe\n3,1\n".encode("latin-1")),
    "utf-8 stated as ascii passes": good(body=lines("3,Käthe,,".encode()), file={"encoding": "ascii"}, rows=1),
    "utf-8 stated as utf-16": bad(
        DataError, "people.csv", "has no column", body=GOOD + b"x", file={"encoding": "utf-16-le"}
    ),
    "an encoding that is none": bad(InvalidArgument, "utf-9", file={"encoding": "utf-9"}),
}

RECORDS = {
    "a quote left open": bad(DataError, "people.csv", "quoted", body=lines(b'3,"Carl,1777-04-30,7', b"4,Emmy,,")),
    "too few fields": bad(DataError, "people.csv, line 3", "missing data", "born", body=lines(b"3,Carl,,", b"4,Emmy")),
    "too many fields": bad(DataError, "people.csv, line 3", "extra data", body=lines(b"3,Carl,,", b"4,Emmy,,,,5")),
    "a blank line": bad(DataError, "people.csv, line 3", body=lines(b"3,Carl,,", b"", b"4,Emmy,,")),
    "a NUL in a record": bad(DataError, "people.csv, line 2, column name", "nul", body=lines(b"3,Ca\0rl,,")),
    "a NUL in the header": bad(DataError, "people.csv", "nul", body=b"id,na\0me\n3,Carl\n"),
    "an end mark": bad(DataError, "people.csv", r"\.", body=lines(b"3,Carl,,", b"\\.", b"4,Emmy,,")),
    "a bare carriage return": bad(DataError, "people.csv", "carriage return", body=lines(b"3,Car\rl,,")),
    "a line feed among carriage returns": bad(
        DataError, "people.csv", "newline", body=b"id,name\r\n3,Carl\r\n4,Emmy\n"
    ),
    "text in a number": bad(
        DataError, "people.csv, line 3, column id", "four", body=lines(b"3,Carl,,", b"four,Emmy,,")
    ),
    "a number that is too large": bad(
        DataError, "line 2, column id", "out of range", body=lines(b"99999999999,Carl,,")
    ),
    "a number with too many digits": bad(DataError, "line 2", "overflow", body=lines(b"3,Carl,,123456")),
    "a date that is none": bad(DataError, "line 2, column born", "2013-02-30", body=lines(b"3,Carl,2013-02-30,")),
    "a truth value that is none": bad(
        DataError, "line 2, column member", "perhaps", body=b"id,name,member\n3,C,perhaps\n"
    ),
    "a text that is too long": bad(
        DataError, "line 2, column code", "character varying(3)", body=b"id,name,code\n3,C,long\n"
    ),
    "no value where one is required": bad(DataError, "name", "null", body=lines(b"3,,,")),
    "a key that is there": bad(DataError, "unique", "(id)=(1)", body=lines(b"3,Carl,,", b"1,Ada,,")),
    "a key twice in the file": bad(DataError, "unique", "(id)=(3)", body=lines(b"3,Carl,,", b"3,Carl,,")),
    "a value that is checked": bad(DataError, "check constraint", body=lines(b"3,Carl,,-1")),
    "a reference to nothing": bad(DataError, "foreign key", "teams", body=b"id,name,team\n3,Carl,9\n"),
    "more bad records than allowed": bad(
        DataError,
        "more than 1 bad records",
        body=lines(b"x,Carl,,", b"3,Carl,,", b"y,Emmy,,"),
        copy={"max_errors": 1, "rejects": "s3://{bucket}/rejects/people.csv"},
    ),
    "an empty number in quotes": good(body=lines(b'3,Carl,"",""', b'"4",Emmy,,')),
    "commas, quotes and line ends in quotes": good(body=lines(b'3,"Carl, ""C""\nGauss",,', b"4,Emmy,,")),
    "carriage returns and line feeds": good(body=GOOD.replace(b"\n", b"\r\n")),
    "carriage returns": good(body=GOOD.replace(b"\n", b"\r")),
    "no line end at the end": good(body=GOOD.rstrip(b"\n")),
}

COMPRESSION = {
    "gzip": good(key="in/people.csv.gz", body=gzip.compress(GOOD)),
    "gzip in several members": good(key="in/people.csv.gz", body=gzip.compress(GOOD[:30]) + gzip.compress(GOOD[30:])),
    "gzip cut in the middle": bad(DataError, "people.csv.gz", key="in/people.csv.gz", body=ZIPPED[: len(ZIPPED) // 2]),
    "gzip without its last bytes": bad(
        DataError, "people.csv.gz", key="in/people.csv.gz", body=gzip.compress(GOOD)[:-4]
    ),
    "gzip with a wrong checksum": bad(
        DataError, "people.csv.gz", key="in/people.csv.gz", body=gzip.compress(GOOD)[:-8] + bytes(8)
    ),
    "a name that lies": bad(DataError, "people.csv.gz", "gzip", key="in/people.csv.gz", body=GOOD),
    "gzip of nothing": good(key="in/people.csv.gz", body=gzip.compress(b""), rows=0),
    "zstd that is none": bad(DataError, "people.csv.zst", key="in/people.csv.zst", body=GOOD),
}

TABLES = {
    "no such table": bad(NotFound, "public.poeple", "did you mean 'people'", table={"table": "public.poeple"}),
    "no such schema": bad(NotFound, "nowhere", table={"table": "nowhere.people"}),
    "a name of three parts": bad(InvalidArgument, "a.b.c", table={"table": "a.b.c"}),
    "a name that is SQL": bad(InvalidArgument, "drop", table={"table": "people; drop table people"}),
    "an empty name": bad(InvalidArgument, "table", table={"table": " "}),
    "a view": bad(InvalidArgument, "names", "view", table={"table": "public.names"}, body=b"name\nCarl\n"),
    "a key that the table lacks": bad(InvalidArgument, "key", "'idd'", "'id'", copy={"mode": "merge", "key": ["idd"]}),
    "a key that the file lacks": bad(InvalidArgument, "key", "'id'", body=b"name\nCarl\n", copy=MERGE),
    "a key twice in a merge": bad(DataError, "id", "3", body=lines(b"3,Carl,,", b"3,Emmy,,"), copy=MERGE),
    "a merge without a key": bad(InvalidArgument, "key", copy={"mode": "merge"}),
    "an unknown mode": bad(InvalidArgument, "did you mean 'append'", copy={"mode": "apend"}),
    "no right to the table": bad(
        AccessDenied, "people", postgres=AS_ROLE, sql=("grant usage, create on schema public to {role}",)
    ),
    "no right to the ledger": bad(
        AccessDenied,
        "ledger",
        "create table",
        postgres=AS_ROLE,
        sql=("revoke create on schema public from public", "grant all on public.people to {role}"),
    ),
    "no right to the schema": bad(AccessDenied, "closed", postgres=AS_ROLE, table={"table": "closed.people"}),
    "a user who may only read": bad(
        AccessDenied,
        "people",
        postgres=AS_ROLE,
        sql=("grant create on schema public to {role}", "grant select on public.people to {role}"),
    ),
    "the ledger in another place": good(
        postgres=AS_ROLE,
        table={"ledger": "books.loads"},
        sql=("create schema books authorization {role}", "grant all on public.people to {role}"),
    ),
}

CASES = {
    f"{group}: {name}": case
    for group, cases in {
        "connections": CONNECTIONS,
        "keys": KEYS,
        "headers": HEADERS,
        "encodings": ENCODINGS,
        "records": RECORDS,
        "compression": COMPRESSION,
        "tables": TABLES,
    }.items()
    for name, case in cases.items()
}


UNLOADS = {
    "no such bucket": bad(NotFound, "no-such-bucket-here", url="s3://no-such-bucket-here/people.csv"),
    "no key": bad(InvalidArgument, "key", url="s3://{bucket}/"),
    "a wildcard": bad(InvalidArgument, "*", url="s3://{bucket}/out/*.csv"),
    "no such table": bad(NotFound, "poeple", table={"table": "public.poeple"}),
    "no right to read": bad(AccessDenied, "people", postgres=AS_ROLE),
    "no query": bad(InvalidArgument, "syntax", copy={"sql": "selec 1"}),
    "no such column": bad(NotFound, "nmae", copy={"sql": "select nmae from people"}),
    "a query that writes": bad(
        TradewindError, copy={"sql": "with gone as (delete from people returning id) select * from gone"}
    ),
    "a query that fails at its last row": bad(
        DataError,
        "division by zero",
        copy={"sql": "select repeat('x', 1000), 1 / (20000 - n) from generate_series(1, 20000) n"},
    ),
    "an encoding that cannot say it": bad(
        DataError, "latin1", copy={"sql": "select chr(8364)"}, file={"encoding": "latin-1"}
    ),
    "nobody listens": bad(ConnectionFailed, "connection refused", postgres={"port": 1}),
}
