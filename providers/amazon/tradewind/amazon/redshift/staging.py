"""Objects that lie in S3 for the time of a load or an unload, each try's in a folder of its own."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tradewind.amazon.redshift.marking import Marked
from tradewind.amazon.redshift.quoting import check_staging
from tradewind.amazon.s3.files import S3File
from tradewind.amazon.s3.locations import parse_s3_url
from tradewind.hooks.errors import InvalidArgument, NotFound, Superseded, TradewindError, TransientError
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import CopyRequest, Reading
from tradewind.operators.files.manifests import Manifest, read_manifest
from tradewind.operators.progress import Progress

if TYPE_CHECKING:
    from tradewind.amazon.s3.hooks import S3Hook
    from tradewind.amazon.s3.storage import S3Storage
    from tradewind.hooks.work import Work

log = logging.getLogger(__name__)

PART_BYTES = 256 * 1000**2
"""Bytes of a staged part before compression; a warehouse loads several at once."""
_PART = "part-{n}.csv.gz"
_ORDINAL = "@tradewind-ordinal@"
"""What the staged objects call the number of a record; the warehouse never sees the name."""


class Staging:
    """The folder of one try, within that of its work: what killed tries left there is known by its place.

    :param folder: the author's folder
    :param work: whose work it is
    :param what: what is copied where, which tells several copies of a task apart
    :param aws_conn_id: the connection of type ``aws``
    :param region_name: its region, instead of the connection's
    """

    def __init__(self, folder: str, work: Work, what: str, aws_conn_id: str | None, region_name: str | None) -> None:
        check_staging(folder)
        self.of_work = f"{folder}tradewind/{work.token(f'staging {what}', clears=False)[:40]}/"
        self.url = f"{self.of_work}{work.try_number}-{secrets.token_hex(8)}/"
        self._conn_id = aws_conn_id
        self._region_name = region_name
        self._number = work.try_number
        self._file: S3File | None = None
        self._written: set[str] = set()

    @property
    def hook(self) -> S3Hook:
        """A hook on S3."""
        from tradewind.amazon.s3.hooks import S3Hook

        return S3Hook(self._conn_id, region_name=self._region_name)

    def storage(self) -> S3Storage:
        """Connect to S3."""
        from tradewind.amazon.s3.storage import S3Storage

        return S3Storage(self.hook)

    def put(self, name: str, text: str) -> str:
        """Write a small object; return its URL."""
        location = parse_s3_url(f"{self.url}{name}")
        self.hook.put(*location, text)
        self.wrote(location.url)
        return location.url

    def wrote(self, *urls: str) -> None:
        """Note objects of this try, which are there until it removes them or a newer try does.

        :param urls: where they are
        """
        self._written.update(parse_s3_url(url).key for url in urls)

    def check_length(self, most: int) -> None:
        """Refuse a folder whose objects have longer URLs than the service tells whole.

        :param most: bytes of a URL that it tells
        :raises InvalidArgument: with how many are too many
        """
        if (over := len(f"{self.url}{_PART.format(n='00000')}".encode()) - most) > 0:
            raise InvalidArgument(
                f"staging has a name too long for max_errors= by {over} bytes: the service keeps {most} of an object's"
            )

    def write(
        self, reading: Reading, request: CopyRequest, progress: Progress, dialect: CsvDialect, *, numbered: bool = False
    ) -> Manifest:
        """Write a reading's rows as objects of CSV.

        :param reading: the rows
        :param request: whose work it is
        :param progress: is told rows and bytes
        :param dialect: how to write them
        :param numbered: whether a first column numbers the records as they come
        :return: the objects, with the rows of each
        """
        self._file = S3File(
            f"{self.url}{_PART}",
            dialect=dialect,
            max_bytes=PART_BYTES,
            conn_id=self._conn_id,
            region_name=self._region_name,
        )
        self._file.write(
            Marked(reading, dialect, _ORDINAL if numbered else ""), CopyRequest(request.work, "replace"), progress
        )
        self._file = None
        storage, place = self.storage(), f"{self.url}_manifest.json"
        self.wrote(place)
        found = read_manifest(storage, place)
        if found is None:
            raise NotFound(f"there is no {place}, which was written last")
        self.wrote(*(member.url for member in found.files))
        return found

    def cancel(self) -> None:
        """Abort what is being written; called from another thread or a signal handler."""
        if self._file is not None:
            self._file.cancel()

    def remove(self) -> None:
        """Delete this try's objects; a fault leaves them to the next try, or to a rule of the bucket's."""
        self._delete(self.url)

    def sweep(self) -> None:
        """Delete what older tries of the work have left; a newer one may be at work."""
        try:
            bucket, prefix = parse_s3_url(self.of_work)
            keys = [
                found.key
                for found in self.hook.list_objects(bucket, prefix)
                if (number := found.key.removeprefix(prefix).partition("-")[0]).isdigit() and int(number) < self._number
            ]
            if keys:
                self.hook.delete(bucket, keys)
                log.info("deleted %s objects that an earlier try left in %s", f"{len(keys):,}", self.of_work)
        except TradewindError as error:
            log.warning("objects of an earlier try may be left in %s: %s", self.of_work, error)

    @contextmanager
    def taken_over(self) -> Iterator[None]:
        """Tell a try whose objects a newer one has cleared away just that, whatever it looked like to it.

        :raises Superseded: where objects of this try are gone
        """
        try:
            yield
        except TransientError:
            raise
        except TradewindError as error:
            if not self._some_gone():
                raise
            raise Superseded(f"a newer try of this work cleared away what this one had in {self.url}") from error

    def _some_gone(self) -> bool:
        there = {found.key for found in self.hook.list_objects(*parse_s3_url(self.url))} if self._written else set()
        return not self._written <= there

    def _delete(self, url: str) -> None:
        try:
            self.hook.delete_prefix(*parse_s3_url(url))
        except TradewindError as error:
            log.warning("objects are left in %s: %s", url, error)

    @contextmanager
    def removed(self) -> Iterator[None]:
        """Delete this try's objects after the block, however it ends."""
        try:
            yield
        finally:
            self.remove()
