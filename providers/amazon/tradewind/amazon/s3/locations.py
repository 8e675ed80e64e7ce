"""Where objects are: URLs, patterns, and what S3 says of an object."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from tradewind.hooks.errors import InvalidArgument

SCHEMES = ("s3://", "s3a://", "s3n://")
_WILD = re.compile(r"[*?\[]")
_ACCESS_POINT = re.compile(r"(arn:[^/]+:accesspoint/[^/]+|arn:[^/]+:accesspoint:[^/]+)(?:/(.*))?$", re.DOTALL)


class S3Location(NamedTuple):
    """A bucket and a key in it."""

    bucket: str
    key: str

    @property
    def url(self) -> str:
        """Write it as people do."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class S3Object:
    """An object, as a listing or a HEAD shows it.

    :param size: in bytes
    :param etag: as S3 gives it, in its quotes
    :param version_id: the version, None where the bucket is not versioned or a listing does not tell
    :param raw: all that S3 said, under S3's own names
    """

    bucket: str
    key: str
    size: int
    etag: str
    last_modified: datetime | None = None
    version_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False, hash=False)

    @property
    def url(self) -> str:
        """Write it as people do."""
        return S3Location(self.bucket, self.key).url


def parse_s3_url(url: str) -> S3Location:
    """Take a URL apart; every character behind the bucket belongs to the key, ``?``, ``#`` and ``%`` too.

    :param url: ``s3://bucket/key``; the key may be empty
    :raises InvalidArgument: where it is none
    """
    scheme = next((scheme for scheme in SCHEMES if isinstance(url, str) and url.startswith(scheme)), None)
    if scheme is None:
        raise InvalidArgument(f"{url!r} is no S3 URL: write s3://bucket/key")
    rest = url[len(scheme) :]
    point = _ACCESS_POINT.match(rest)
    bucket, key = (point[1], point[2] or "") if point else rest.partition("/")[::2]
    if not bucket:
        raise InvalidArgument(f"{url!r} names no bucket: write s3://bucket/key")
    if "@" in bucket:
        raise InvalidArgument("an S3 URL must not hold credentials: put them into a connection")
    return S3Location(bucket, key)


def is_pattern(key: str, wildcard_match: bool | None = None) -> bool:
    """Say whether a key is a pattern: without a word on it, a ``*`` makes it one.

    ``?`` and ``[..]`` do not, for keys hold them as they are: ``export.csv?version=2``, ``report [final].csv``.

    :param wildcard_match: True takes every key for a pattern, False none
    """
    return "*" in key if wildcard_match is None else wildcard_match


def literal_prefix(pattern: str) -> str:
    """Return what stands before a pattern's first ``*``, ``?`` or ``[``."""
    return _WILD.split(pattern, maxsplit=1)[0]


def matcher(pattern: str) -> Callable[[str], bool]:
    """Compile a pattern: ``*`` is any text, slashes too, ``?`` one character, ``[a-z]`` or ``[!a]`` one of a set.

    ``[*]``, ``[?]`` and ``[[]`` stand for the characters themselves. Case matters.
    """
    regex = re.compile(fnmatch.translate(pattern))
    return lambda key: regex.match(key) is not None
