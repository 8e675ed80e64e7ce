"""What is copied in a proof, how it must look afterwards, and what must not be left behind."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from tests.flights import COLUMNS, NULL, TABLE, ddl
from tests.proofs.job import RESULT_KEY, SOURCE_KEY
from tests.stage import Stage

PATIENCE = 10.0
"""Seconds in which PostgreSQL must notice that a client is dead."""

SUM = "select count(*), coalesce(sum(hash_record_extended(t, 0)::numeric), 0) from {} t"
"""How many rows, and a sum over all of them that no order changes."""

RELATIONS = """
    select format('%s.%s', nspname, relname) from pg_class join pg_namespace n on n.oid = relnamespace
    where nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and relkind in ('r', 'p', 'v', 'm', 'S', 'f')
    order by 1
"""
SESSIONS = """
    select format('%s %s: %s', application_name, state, left(query, 60)) from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
"""
ACTIVITY = """
    select state, left(regexp_replace(query, '\\s+', ' ', 'g'), 40) from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
"""
COPYING = "select tuples_processed from pg_stat_progress_copy where datname = current_database()"


class Scene(ABC):
    """A copy that can be prepared, looked at and checked again and again.

    :param stage: the servers
    :param file: the CSV file that is the source, or from which the table is filled
    """

    what: ClassVar[str]

    def __init__(self, stage: Stage, file: Path, what: str | None = None) -> None:
        self.stage = stage
        self.file = file
        self.name = what or self.what
        self.connection = stage.connect()
        self.client = stage.client()
        self.known: set[str] = set()
        self.prepare()

    def close(self) -> None:
        self.connection.close()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement, and return its rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def prepare(self) -> None:
        """Make what stays the same for all tries: ``expected``, the rows of the file as PostgreSQL reads them."""
        self.rows("drop table if exists expected, old")
        self.rows(ddl("expected"))
        with self.file.open("rb") as source, self.connection.cursor() as cursor:
            cursor.copy_expert(f"copy expected from stdin (format csv, header, null '{NULL}')", source, 1 << 20)
        self.client.upload_file(str(self.file), self.stage.bucket, SOURCE_KEY)
        self.client.delete_object(Bucket=self.stage.bucket, Key=RESULT_KEY)

    @cached_property
    def count(self) -> int:
        return int(self.rows("select count(*) from expected")[0][0])

    @abstractmethod
    def reset(self) -> None:
        """Put both ends back to how they are before the first try."""

    @abstractmethod
    def phase(self) -> str:
        """Say how far a try is, seen from outside, while it runs."""

    @abstractmethod
    def halfway(self) -> str | None:
        """Say what is wrong with a target after a kill, None where it is as before or as after the whole copy."""

    @abstractmethod
    def wrong(self) -> str | None:
        """Say what is wrong with a target after success, None where it is right."""

    @property
    def keys(self) -> set[str]:
        """The objects that may be in the bucket."""
        return {SOURCE_KEY}

    def learn(self) -> None:
        """Take the tables that are there after an undisturbed run, the ledger among them, as those that may stay."""
        self.known = {name for (name,) in self.rows(RELATIONS)}

    def leftovers(self, sessions: Iterable[int] = ()) -> list[str]:
        """List what a try left behind: sessions, tables, multipart uploads, objects and processes.

        :param sessions: the process sessions of the tries
        """
        uploads = self.client.list_multipart_uploads(Bucket=self.stage.bucket).get("Uploads", [])
        found = {item["Key"] for item in self.client.list_objects_v2(Bucket=self.stage.bucket).get("Contents", [])}
        return [
            *(f"session {text}" for text in self._sessions()),
            *(f"table {name}" for (name,) in self.rows(RELATIONS) if name not in self.known),
            *(f"multipart upload {upload['Key']}" for upload in uploads),
            *(f"object {key}" for key in sorted(found - self.keys)),
            *(f"process {text}" for text in processes(set(sessions))),
        ]

    def _sessions(self) -> list[str]:
        deadline = time.monotonic() + PATIENCE
        while (left := self.rows(SESSIONS)) and time.monotonic() < deadline:
            time.sleep(0.02)
        return [text for (text,) in left]

    def _copying(self) -> int | None:
        found = self.rows(COPYING)
        return int(found[0][0]) if found else None

    def _activity(self) -> str:
        found = self.rows(ACTIVITY)
        return f"{found[0][0]}: {found[0][1]}" if found else "no session"


class Load(Scene):
    """A file is loaded into a table."""

    what = "append"

    def reset(self) -> None:
        self.rows(f"drop table if exists {TABLE}")
        self.rows(ddl())

    def phase(self) -> str:
        copied = self._copying()
        return self._activity() if copied is None else f"COPY at {copied * 100 // self.count} %"

    def halfway(self) -> str | None:
        (count,) = self.rows(f"select count(*) from {TABLE}")[0]
        before, after = self.states
        return None if count in (before, after) else f"{count:,} rows, neither {before:,} nor {after:,}"

    @property
    def states(self) -> tuple[int, int]:
        """How many rows there are before and after."""
        return 0, self.count

    def committed(self) -> bool:
        return bool(self.rows(f"select count(*) from {TABLE}")[0][0] == self.states[1] != self.states[0])

    def wrong(self) -> str | None:
        got, wanted = self.rows(SUM.format(TABLE))[0], self.wanted
        if got == wanted:
            return None
        return f"{got[0]:,} rows instead of {wanted[0]:,}" if got[0] != wanted[0] else f"{got[0]:,} rows, other values"

    @cached_property
    def wanted(self) -> tuple[Any, ...]:
        return self.rows(SUM.format("expected"))[0]


class Replace(Load):
    """A file takes the place of other rows."""

    what = "replace"

    def prepare(self) -> None:
        super().prepare()
        self.rows("create table old as select * from expected limit (select count(*) / 3 from expected)")

    def reset(self) -> None:
        super().reset()
        self.rows(f"insert into {TABLE} select * from old")

    @property
    def states(self) -> tuple[int, int]:
        return self.count // 3, self.count


class Merge(Replace):
    """A file is merged into a table that holds a third of its rows, all of them changed."""

    what = "merge"

    def prepare(self) -> None:
        super().prepare()
        self.rows("update old set air_time = -1")


class Unload(Scene):
    """A table is unloaded into an object."""

    what = "unload"

    def prepare(self) -> None:
        super().prepare()
        self.rows(f"drop table if exists {TABLE}")
        self.rows(ddl())
        self.rows(f"insert into {TABLE} select * from expected")

    @property
    def keys(self) -> set[str]:
        return {SOURCE_KEY, RESULT_KEY}

    def reset(self) -> None:
        self.client.delete_object(Bucket=self.stage.bucket, Key=RESULT_KEY)

    def phase(self) -> str:
        copied = self._copying()
        state = self._activity() if copied is None else f"COPY at {copied * 100 // self.count} %"
        parts = self._parts()
        return state if parts is None else f"{state}, {parts} parts sent"

    def _parts(self) -> int | None:
        for upload in self.client.list_multipart_uploads(Bucket=self.stage.bucket).get("Uploads", []):
            try:
                parts = self.client.list_parts(Bucket=self.stage.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                return len(parts.get("Parts", []))
            except self.client.exceptions.ClientError:
                return None  # completed in this moment
        return None

    def committed(self) -> bool:
        return bool(self.client.list_objects_v2(Bucket=self.stage.bucket, Prefix=RESULT_KEY).get("KeyCount"))

    def halfway(self) -> str | None:
        return self.wrong() if self.committed() else None

    def wrong(self) -> str | None:
        body = self.client.get_object(Bucket=self.stage.bucket, Key=RESULT_KEY)["Body"]
        lines = body.read().split(b"\n")
        header, rows = lines[0], lines[1:-1]
        if header.decode().rstrip("\r").split(",") != list(COLUMNS):
            return f"header {header[:60]!r}"
        if lines[-1]:
            return f"cut in the middle of a record: {lines[-1][:60]!r}"
        return compare(rows, self.wanted)

    @cached_property
    def wanted(self) -> tuple[int, int]:
        """How many lines, and a sum over them that no order changes, from PostgreSQL's own COPY."""
        import io

        sink = io.BytesIO()
        with self.connection.cursor() as cursor:
            cursor.copy_expert(f"copy {TABLE} to stdout (format csv)", sink, 1 << 20)
        return digest(sink.getvalue().split(b"\n")[:-1])


class CountedUnload(Unload):
    """A table is unloaded by a data frame, which writes other texts for the same values: its rows are counted."""

    def wrong(self) -> str | None:
        body = self.client.get_object(Bucket=self.stage.bucket, Key=RESULT_KEY)["Body"].read()
        count = body.count(b"\n") - 1
        return None if count == self.count else f"{count:,} rows instead of {self.count:,}"


def digest(lines: list[bytes]) -> tuple[int, int]:
    """Count lines and sum their hashes; comparable within this process alone."""
    return len(lines), sum(map(hash, lines))


def compare(lines: list[bytes], wanted: tuple[int, int]) -> str | None:
    """Say how lines differ from those wanted, None where they do not."""
    got = digest(lines)
    if got == wanted:
        return None
    return f"{got[0]:,} rows instead of {wanted[0]:,}" if got[0] != wanted[0] else f"{got[0]:,} rows, other values"


SCENES: dict[str, type[Load] | type[Unload]] = {scene.what: scene for scene in (Load, Unload, Merge, Replace)}
OFFICIAL: dict[str, type[Load] | type[Unload]] = {"official-load": Load, "official-unload": CountedUnload}


@dataclass(frozen=True)
class Process:
    """A process as /proc shows it."""

    pid: int
    session: int
    state: str
    command: str


def processes(sessions: set[int]) -> list[str]:
    """List the live processes of some sessions."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (process := _read(int(entry))) and process.session in sessions and process.state != "Z":
            found.append(f"{process.pid} {process.command}")
    return found


def _read(pid: int) -> Process | None:
    try:
        command, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return None
    fields = rest.split()
    return Process(pid, int(fields[3]), fields[0], command)
