"""The ends of the kill matrix: those of the conformance suite, a set of numbered files, many files, the Data API."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tests.conformance import ends
from tests.conformance.end import End
from tests.conformance.files import S3Csv
from tests.conformance.redshift import Redshift
from tests.conformance.rows import Row
from tests.conformance.snowflake import Snowflake, StagedSnowflake
from tests.redshift.fix_standin import CLUSTER
from tests.stage import LAKE
from tradewind.amazon.s3.files import S3File
from tradewind.operators.files.manifests import WRITING

if TYPE_CHECKING:
    from tradewind.operators.ends import Source, Target

PART = 9_000_000
"""Bytes of a part of the set: more than one part of an upload."""

OLD_PART = 100
"""Rows of a part of the set that was there before, so that it has more parts than the one that takes its place."""

FILES = 7
"""Files of a source of many."""


class S3Set(S3Csv):
    """A set of numbered CSV files with a manifest, as a target: what the manifest names is what is there."""

    kind = "s3set"

    @property
    def url(self) -> str:
        return f"s3://{self.stage.bucket}/{self.name}/part-{{n}}.csv"

    @property
    def key(self) -> str:
        """The manifest's key."""
        return f"{self.name}/_manifest.json"

    def target(self) -> Target:
        return S3File(self.url, conn_id=LAKE, max_bytes=PART)

    def fill(self, rows: Iterable[Row]) -> None:
        """Write a set of small parts past the code under test."""
        found = list(rows)
        files = []
        for number, start in enumerate(range(0, len(found), OLD_PART)):
            some = found[start : start + OLD_PART]
            key, body = f"{self.name}/part-{number:05d}.csv", self.encode(some)
            etag = self.client.put_object(Bucket=self.stage.bucket, Key=key, Body=body)["ETag"]
            place = {"url": f"s3://{self.stage.bucket}/{key}", "etag": etag.strip('"')}
            files.append({**place, "rows": len(some), "bytes": len(body), "size": len(body)})
        manifest = {"kind": "tradewind manifest", "version": 1, "target": self.url, "token": "", "columns": None}
        self.put(json.dumps({**manifest, "written": {}, "files": files}).encode())

    def keys(self) -> list[str]:
        """List what lies in the set's folder."""
        found = self.client.list_objects_v2(Bucket=self.stage.bucket, Prefix=f"{self.name}/").get("Contents", [])
        return [item["Key"] for item in found]

    def body(self) -> bytes | None:
        """Return the manifest, None where there is none: only its name with more behind it may be there."""
        return super().body() if self.key in self.keys() else None

    def rows(self) -> list[Row]:
        """Return the rows of all parts that the manifest names.

        :raises AssertionError: where a part is not as the manifest says
        """
        manifest = json.loads(self.body() or b'{"files": []}')
        found: list[Row] = []
        for file in manifest["files"]:
            key = file["url"].removeprefix(f"s3://{self.stage.bucket}/")
            part = self.client.get_object(Bucket=self.stage.bucket, Key=key)
            some = self.decode(part["Body"].read())
            told = file["etag"].strip('"'), file["size"], file["rows"]
            assert told == (part["ETag"].strip('"'), part["ContentLength"], len(some)), f"{key} is not as told: {told}"
            found += some
        return sorted(found, key=lambda row: row.id)

    def keep(self) -> None:
        self.bodies = {
            key: self.client.get_object(Bucket=self.stage.bucket, Key=key)["Body"].read() for key in self.keys()
        }

    def reset(self) -> None:
        self.remove()
        for key, body in self.bodies.items():
            self.put(body, key)

    def sum(self) -> object:
        """Return the rows, the names of the files, and None where there is no manifest: the set is not there.

        What lies beside the manifest while a set is written is no part of it: a try may be killed between the one and
        the other.
        """
        if self.body() is None:
            return None
        try:
            return self.rows(), [key for key in self.keys() if key != self.key + WRITING]
        except (AssertionError, self.client.exceptions.NoSuchKey) as error:
            return str(error)


class S3Many(S3Csv):
    """Many CSV files in S3, named by a wildcard, as a source."""

    kind = "s3many"

    def fill(self, rows: Iterable[Row]) -> None:
        found = list(rows)
        size = -(-len(found) // FILES)
        for number in range(FILES):
            self.put(self.encode(found[number * size : (number + 1) * size]), f"{self.name}/in-{number}.csv")

    def source(self) -> Source:
        return self.file(f"{self.name}/in-*.csv")


class RedshiftByApi(Redshift):
    """A table in the stand-in for Redshift, reached through the Data API."""

    kind = "redshiftapi"

    @property
    def place(self) -> dict[str, Any]:
        return {**{name: value for name, value in super().place.items() if name != "conn_id"}, **CLUSTER}


class LeftSnowflake(Snowflake):
    """A table in Snowflake, where sessions of dead workers stay until the service ends them."""

    def left(self) -> list[str]:
        return [f"statement {each['sql'][:60]}" for each in self.server.running() if each["user"] != "OTHER"]

    def leftovers(self) -> list[str]:
        """List what runs, and what is there when the service has ended the sessions that nobody uses."""
        left = super().leftovers()
        self.server.expire("ETL")
        self.server.wait_for(lambda: not self.server.transactions())
        return [*left, *(f"stage {name}" for name in self.server.stages()), *super().left()]


class LeftStagedSnowflake(StagedSnowflake, LeftSnowflake):
    """The same, where the service reads the source by itself."""


WAREHOUSES: dict[str, type[End]] = {end.kind: end for end in (Redshift, RedshiftByApi, LeftSnowflake)}
DIRECT: dict[str, type[End]] = {LeftStagedSnowflake.kind: LeftStagedSnowflake}
"""Warehouses that read files of S3 by themselves."""
ENDS: dict[str, type[End]] = {**ends.ENDS, S3Set.kind: S3Set, S3Many.kind: S3Many, **WAREHOUSES, **DIRECT}
