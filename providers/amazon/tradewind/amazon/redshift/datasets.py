"""Sets of objects that the warehouse unloads to their last place, and the manifest that makes a set visible at once.

Each try writes into a folder of its own. When the rows are counted, ``_manifest.json`` is put in place by one PUT: who
reads by it sees the old set or the new one, whole. It has the form that COPY takes for a manifest. The sets before are
deleted then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tradewind.amazon.redshift.quoting import option
from tradewind.amazon.s3.locations import parse_s3_url
from tradewind.hooks.errors import DataError, InvalidArgument, NotFound, Superseded
from tradewind.hooks.libpq.names import listed
from tradewind.operators.files.datasets import OwnFolder

if TYPE_CHECKING:
    from tradewind.amazon.s3.hooks import S3Hook

Format = Literal["parquet", "csv", "json"]
MANIFEST = "_manifest.json"

_COMPRESSIONS = {None: "", "gzip": " GZIP", "zstd": " ZSTD", "bz2": " BZIP2"}
_LEAST_MB, _MOST_MB = 5.0, 6348.0


@dataclass(frozen=True)
class Layout:
    """How the objects of a set are written.

    :param format: parquet, csv or json (a line for each row)
    :param partition_by: columns whose values become folders, as ``day=2026-01-01/``
    :param include_partitions: whether these columns stay in the objects too
    :param header: of CSV, whether each object begins with the columns' names
    :param delimiter: of CSV
    :param null: of CSV, what stands for NULL
    :param compression: of CSV and JSON: gzip, zstd, bz2 or None
    :param max_file_mb: how large an object may get, in MB (5 to 6,348)
    :param parallel: whether all slices of the warehouse write at once; else the rows keep the query's order
    """

    format: Format = "parquet"
    partition_by: tuple[str, ...] = ()
    include_partitions: bool = False
    header: bool = True
    delimiter: str = ","
    null: str = ""
    compression: str | None = None
    max_file_mb: float | None = None
    parallel: bool = True

    def check(self) -> None:
        """Refuse what UNLOAD cannot write.

        :raises InvalidArgument: with what, which and what instead
        """
        if self.format not in ("parquet", "csv", "json"):
            raise InvalidArgument(f"format must be parquet, csv or json, not {self.format!r}")
        if self.compression not in _COMPRESSIONS:
            raise InvalidArgument(f"compression must be gzip, zstd, bz2 or None, not {self.compression!r}")
        if self.format == "parquet" and self.compression:
            raise InvalidArgument("Parquet is compressed within: leave compression= out")
        if len(self.delimiter) != 1 or not self.delimiter.isascii():
            raise InvalidArgument(f"delimiter must be one ASCII character, not {self.delimiter!r}")
        if self.include_partitions and not self.partition_by:
            raise InvalidArgument("include_partitions means nothing without partition_by: leave it out")
        if self.max_file_mb is not None and not _LEAST_MB <= self.max_file_mb <= _MOST_MB:
            raise InvalidArgument(f"max_file_mb must be {_LEAST_MB:g} to {_MOST_MB:g}, not {self.max_file_mb!r}")

    def options(self) -> str:
        """Write the options of UNLOAD."""
        text = f" FORMAT AS {self.format.upper()}"
        if self.partition_by:
            text += f" PARTITION BY ({listed(list(self.partition_by))}){' INCLUDE' * self.include_partitions}"
        if self.format == "csv":
            text += f" DELIMITER AS {option(self.delimiter)} NULL AS {option(self.null)}{' HEADER' * self.header}"
        text += _COMPRESSIONS[self.compression]
        text += "" if self.parallel else " PARALLEL OFF"
        text += "" if self.max_file_mb is None else f" MAXFILESIZE {self.max_file_mb:g} MB"
        return f"{text} MANIFEST VERBOSE"


class Dataset:
    """The place of a set.

    :param hook: S3
    :param folder: its URL, ending with ``/``
    :param token: the name of the work
    :param number: which try it is
    """

    def __init__(self, hook: S3Hook, folder: str, token: str, number: int) -> None:
        from tradewind.amazon.s3.storage import S3Storage

        self._hook = hook
        self._token = token
        self._published = False
        self.manifest = f"{folder}{MANIFEST}"
        self._place = OwnFolder(S3Storage(hook), folder, token, number)
        self.own = self._place.url

    def done(self) -> dict[str, Any] | None:
        """Return what an earlier try of the same work has finished, None where none has."""
        found = self._read(self.manifest)
        return _told(found, self.manifest) if found and found.get("author", {}).get("token") == self._token else None

    def finish(self, rows: int) -> dict[str, Any]:
        """Count what was unloaded, make it visible, and delete the sets before.

        :param rows: how many rows UNLOAD says it wrote
        :raises DataError: where the manifest, or an object, tells otherwise
        """
        url = f"{self.own}manifest"
        written = self._read(url)
        if written is None:
            raise Superseded(f"{url} is gone: another try of the same work has taken over")
        counted = int(written["meta"]["record_count"])
        if counted != rows:
            raise DataError(f"UNLOAD wrote {rows:,} rows, its manifest tells of {counted:,}: {url}")
        sizes = {found.url: found.size for found in self._place.files()}
        for entry in written["entries"]:
            if entry["url"] not in sizes:
                raise Superseded(f"{entry['url']} is gone: another try of the same work has taken over")
            if sizes.get(entry["url"]) != int(entry["meta"]["content_length"]):
                raise DataError(f"{entry['url']} is not as UNLOAD's manifest says")
        written["author"] = {"name": "tradewind", "token": self._token, "folder": self.own}
        self._published = True  # from here on it may be seen, whatever becomes of the answer
        self._hook.put(*parse_s3_url(self.manifest), json.dumps(written), content_type="application/json")
        self._place.remove_others()
        return _told(written, self.manifest)

    def abandon(self) -> None:
        """Delete what this try has written, unless it may be seen; never raises."""
        if not self._published:
            self._place.remove()

    def _read(self, url: str) -> dict[str, Any] | None:
        try:
            found = json.loads(self._hook.read_key(url))
        except NotFound:
            return None
        except ValueError as error:
            raise DataError(f"{url} is no manifest: move it away", source=url) from error
        return found if isinstance(found, dict) else None


def _told(found: Mapping[str, Any], manifest: str) -> dict[str, Any]:
    entries: Sequence[Mapping[str, Any]] = found["entries"]
    return {
        "manifest": manifest,
        "folder": found["author"]["folder"],
        "rows": int(found["meta"]["record_count"]),
        "bytes": int(found["meta"]["content_length"]),
        "file_count": len(entries),
        "files": [entry["url"] for entry in entries[:100]],
    }
