"""What an S3 sensor waits for: keys, wildcards and regular expressions, and how each is looked for.

A key costs one HEAD, a pattern one LIST a thousand keys, from the pattern's literal beginning on.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from tradewind.amazon.s3.locations import SCHEMES, S3Location, S3Object, is_pattern, literal_prefix, parse_s3_url
from tradewind.hooks.errors import AccessDenied, InvalidArgument, NotFound

if TYPE_CHECKING:
    from tradewind.amazon.s3.hooks import S3Hook

POLL_CONFIG = {
    "connect_timeout": 5,
    "read_timeout": 30,
    "retries": {"mode": "standard", "total_max_attempts": 2},
    "max_pool_connections": 16,
}
"""What botocore's Config is to a poll: the next one comes anyway."""

_TEMPLATED = ("{{", "{%")
_SPECIAL = frozenset(".^$*+?{}[]\\|()")


@dataclass(frozen=True)
class Awaited:
    """One key, or one pattern of which a key must be there.

    :param bucket: the bucket
    :param key: the key or pattern, taken as it is
    :param kind: how the key is read
    """

    bucket: str
    key: str
    kind: Literal["key", "wildcard", "regex"] = "key"

    @property
    def url(self) -> str:
        """Name it in a message."""
        return S3Location(self.bucket, self.key).url

    @property
    def prefix(self) -> str:
        """How every key that matches begins."""
        if self.kind == "key":
            return self.key
        return literal_prefix(self.key) if self.kind == "wildcard" else regex_prefix(self.key)

    def find(self, hook: S3Hook, *, every: bool = False) -> list[S3Object]:
        """Look for it once.

        :param every: whether all matches of a pattern are wanted; else the first one ends the listing
        :return: the objects that are there, none for not yet
        """
        if self.kind == "key":
            found = head(hook, self.bucket, self.key)
            return [] if found is None else [found]
        return list(islice(self._matches(hook), None if every else 1))

    def describe(self, hook: S3Hook, found: Iterable[S3Object], names: Sequence[str]) -> list[dict[str, Any]]:
        """Gather the attributes that are asked for, by a HEAD for each match where the listing has not all.

        :param found: what :meth:`find` found
        :param names: attributes of S3's HeadObject, or ``*`` for all of them
        :return: a dictionary for each object, None for an attribute it does not have
        """
        known = (self._attributes(hook, one, names) for one in found)
        return [one if "*" in names else {name: one.get(name) for name in names} for one in known if one is not None]

    def _attributes(self, hook: S3Hook, found: S3Object, names: Sequence[str]) -> dict[str, Any] | None:
        known = {**found.raw, "Key": found.key, "Size": found.size}
        if self.kind == "key" or ("*" not in names and all(name in known for name in names)):
            return known
        more = head(hook, found.bucket, found.key)
        return None if more is None else {**known, **more.raw}

    def _matches(self, hook: S3Hook) -> Iterator[S3Object]:
        if self.kind == "wildcard":
            return hook.match(self.bucket, self.key)
        match = re.compile(self.key).match
        return (found for found in hook.list_objects(self.bucket, self.prefix) if match(found.key))


def parse(
    bucket_key: str | Sequence[str],
    bucket_name: str | None = None,
    wildcard_match: bool | None = None,
    use_regex: bool = False,
    *,
    rendered: bool = True,
) -> list[Awaited]:
    """Read a sensor's arguments, and refuse what cannot work.

    :param bucket_key: keys, or whole ``s3://bucket/key`` URLs
    :param bucket_name: the bucket of keys that are not URLs
    :param wildcard_match: whether the keys are wildcards; None takes those with a ``*`` for wildcards
    :param use_regex: whether the keys are regular expressions
    :param rendered: whether the templates are rendered; before that, keys that hold one are left out
    :raises InvalidArgument: with what, which and what instead
    """
    if wildcard_match and use_regex:
        raise InvalidArgument("wildcard_match and use_regex exclude each other: choose one")
    keys = [bucket_key] if isinstance(bucket_key, str) else bucket_key
    if not isinstance(keys, Sequence) or not all(isinstance(key, str) for key in keys):
        raise InvalidArgument(f"bucket_key must be a string or a list of strings, not {bucket_key!r}")
    if not keys:
        raise InvalidArgument("bucket_key is an empty list: name a key at least, or nothing is waited for")
    if bucket_name and "/" in bucket_name and (rendered or not _templated(bucket_name)):
        raise InvalidArgument(f"bucket_name must be a bucket's bare name, not {bucket_name!r}")
    for key in keys:
        if bucket_name and key.startswith(SCHEMES):
            raise InvalidArgument(f"bucket_key {key!r} names its bucket: leave bucket_name {bucket_name!r} out")
    whole = [key for key in keys if rendered or not _templated(key)]
    return [_awaited(*_split(key, bucket_name), wildcard_match, use_regex) for key in whole]


def _templated(text: str) -> bool:
    return any(mark in text for mark in _TEMPLATED)


def _split(key: str, bucket_name: str | None) -> tuple[str, str]:
    if key.startswith(SCHEMES):
        bucket, rest = parse_s3_url(key)
    elif bucket_name:
        bucket, rest = bucket_name, key
    else:
        raise InvalidArgument(f"bucket_key {key!r} names no bucket: write s3://bucket/key, or give bucket_name")
    if not rest:
        raise InvalidArgument(f"bucket_key {key!r} has no key: write s3://bucket/key, or a wildcard as s3://bucket/*")
    return bucket, rest


def _awaited(bucket: str, key: str, wildcard_match: bool | None, use_regex: bool) -> Awaited:
    if use_regex:
        try:
            re.compile(key)
        except re.error as error:
            raise InvalidArgument(f"bucket_key {key!r} is no regular expression: {error}") from error
        return Awaited(bucket, key, "regex")
    return Awaited(bucket, key, "wildcard" if is_pattern(key, wildcard_match) else "key")


def regex_prefix(pattern: str) -> str:
    """Return the literal text that everything which matches begins with; rather too short than too long.

    :param pattern: a valid regular expression
    """
    if _has_choice(pattern):
        return ""
    rest = pattern.removeprefix("^").removeprefix(r"\A")
    literal: list[str] = []
    at = 0
    while at < len(rest):
        char = rest[at]
        if char == "\\" and not rest[at + 1].isalnum():
            at += 1
            char = rest[at]
        elif char in _SPECIAL:
            # A quantifier may make the character before it optional.
            return "".join(literal[:-1] if char in "*?{" else literal)
        literal.append(char)
        at += 1
    return "".join(literal)


def _has_choice(pattern: str) -> bool:
    """Say whether a ``|`` stands, or may stand, outside of all brackets."""
    if "|" not in pattern:
        return False
    if "(?" in pattern.replace("(?:", "("):
        return True  # flags and comments can hide brackets
    # Escaped characters and classes go first, then groups from the innermost outwards.
    text = re.sub(r"\\.", "x", pattern, flags=re.DOTALL)
    text = re.sub(r"\[\^?\]?[^\]]*\]", "", text)
    while (shorter := re.sub(r"\([^()]*\)", "", text)) != text:
        text = shorter
    return "|" in text


def head(hook: S3Hook, bucket: str, key: str) -> S3Object | None:
    """Ask for one object by one HEAD.

    :return: what S3 says of it; None where the key is not there
    """
    hook.get_conn()  # outside of the block: a connection that is not defined is no missing key
    try:
        return hook.head(bucket, key)
    except NotFound:
        return None


def require_bucket(hook: S3Hook, bucket: str) -> None:
    """Make sure of a bucket, for the HEAD of a key does not tell a missing key from a missing bucket.

    :raises NotFound: where there is no such bucket
    """
    client = hook.get_conn()
    try:
        with hook.errors(f"head bucket {bucket}"):
            client.head_bucket(Bucket=bucket)
    except NotFound as error:
        raise NotFound(f"no such bucket: {bucket}: check the name and the account") from error
    except AccessDenied:
        return  # whoever may not list it cannot know


def digest(found: Iterable[Iterable[S3Object]]) -> str:
    """Identify what was seen: another object, size, ETag, time of change or state of restoring gives another text."""
    seen = [[_steady(one) for one in objects] for objects in found]
    return hashlib.sha256(json.dumps(seen, default=str).encode()).hexdigest()


def _steady(found: S3Object) -> list[Any]:
    return [found.key, *sorted((name, value) for name, value in found.raw.items() if name != "ResponseMetadata")]
