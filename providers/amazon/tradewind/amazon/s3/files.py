"""Files in S3, as the ends of a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from tradewind.amazon.hooks import DEFAULT_CONN_ID
from tradewind.amazon.s3.locations import is_pattern, parse_s3_url
from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.files.ends import FileEnd, FileOptions

if TYPE_CHECKING:
    from tradewind.amazon.s3.hooks import S3Hook
    from tradewind.amazon.s3.storage import S3Storage


class _Unset:
    def __repr__(self) -> str:
        return repr(DEFAULT_CONN_ID)


_UNSET: Any = _Unset()


class S3File(FileEnd):
    """Files in S3: one object, several, or all that match a wildcard.

    As a target it is one object, which is always written whole: ``append`` and ``replace`` mean the same to it, and a
    retry writes the same bytes again.

    :param url: ``s3://bucket/key``, or a list of them; a ``*`` in a key makes it a pattern, in which ``?`` (one) and
        ``[..]`` (one of a set) stand for characters too
    :param conn_id: the connection of type ``aws``, ``aws_default`` by default, None for the credentials of the
        environment
    :param region_name: the region, instead of the connection's
    :param aws_conn_id: another name of ``conn_id``; give one of the two
    :param options: what every file takes, see :class:`~tradewind.operators.files.ends.FileEnd`: compression, the
        dialect of CSV or its single arguments, columns, constants, allow_empty, wildcard_match
    """

    template_fields: ClassVar[Sequence[str]] = ("url", "conn_id", "region_name", *FileEnd.template_fields)
    noun = "object"
    waiting = "wait for it with S3KeySensor, or "
    store = "S3"

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        conn_id: str | None = _UNSET,
        region_name: str | None = None,
        aws_conn_id: str | None = _UNSET,
        **options: Unpack[FileOptions],
    ) -> None:
        self.url = url
        self.conn_id = _conn_id(conn_id, aws_conn_id)
        self.region_name = region_name
        super().__init__(**options)

    def storage(self) -> S3Storage:
        """Connect to S3."""
        from tradewind.amazon.s3.storage import S3Storage

        return S3Storage(self._hook())

    def parse_url(self, text: str) -> str:
        """Return the URL as ``s3://bucket/key``."""
        location = parse_s3_url(text)
        if not location.key or location.key.endswith("/"):
            raise InvalidArgument(
                f"{text!r} names no file: write s3://bucket/key, or a pattern as s3://bucket/folder/*.csv"
            )
        return location.url

    def is_pattern(self, url: str) -> bool:
        """Say whether the key is a pattern."""
        return is_pattern(parse_s3_url(url).key, self.wildcard_match)

    def link(self) -> str | None:
        """Return the page of the object in the console of AWS, of a set that of its folder."""
        from tradewind.amazon.s3.console import console_url

        url = self.parse_url(self.urls()[0])
        region = self._hook().region_name
        return console_url(f"{url.rpartition('/')[0]}/" if self.is_set else url, region)

    def openlineage_dataset(self) -> tuple[str, str] | None:
        """Return OpenLineage's namespace and name: the bucket and the key (of several files, the first)."""
        urls = self.urls()
        if not urls:
            return None
        location = parse_s3_url(urls[0])
        return f"s3://{location.bucket}", location.key

    def _hook(self) -> S3Hook:
        # The hook imports botocore when it connects: an author's DAG does not pay for it.
        from tradewind.amazon.s3.hooks import S3Hook

        return S3Hook(self.conn_id, region_name=self.region_name)


def _conn_id(conn_id: str | None, aws_conn_id: str | None) -> str | None:
    given = [value for value in (conn_id, aws_conn_id) if value is not _UNSET]
    if len(given) > 1:
        raise InvalidArgument(f"conn_id {conn_id!r} and aws_conn_id {aws_conn_id!r} are the same: give one of them")
    return given[0] if given else DEFAULT_CONN_ID
