"""Stages that lead to S3, integrations and file formats, as the manual has them; the objects are in the real S3."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

NAME = r'(?:"(?:[^"]|"")*"|[\w$])(?:"(?:[^"]|"")*"|[\w$.])*'
_OPTION = r"'(?:[^'\\]|\\.|'')*'"
_STAGE = re.compile(
    rf"\s*create\s+(?:or\s+replace\s+)?(?:temporary\s+)?stage\s+(?P<name>{NAME})\s+url\s*=\s*(?P<url>{_OPTION})"
    rf"(?:\s+storage_integration\s*=\s*(?P<integration>{NAME}))?(?P<rest>.*)",
    re.I | re.S,
)
_INTERNAL = re.compile(rf"\s*create\s+(?:temporary\s+)?stage\s+(?P<name>{NAME})", re.I)
_DESCRIBE = re.compile(rf"\s*desc(?:ribe)?\s+stage\s+(?P<name>{NAME})\s*;?\s*", re.I)
_INTEGRATION = re.compile(
    rf"\s*create\s+(?:or\s+replace\s+)?storage\s+integration\s+(?P<name>{NAME})\s.*"
    r"storage_allowed_locations\s*=\s*\((?P<urls>[^)]*)\).*",
    re.I | re.S,
)
_FORMAT = re.compile(rf"\s*create\s+temporary\s+file\s+format\s+(?P<name>{NAME})\s+(?P<options>.*)", re.I | re.S)


class Failed(Exception):
    """A statement that the service refuses.

    :param code: its number
    :param state: its SQLSTATE
    """

    def __init__(self, code: str, state: str, message: str) -> None:
        super().__init__(message)
        self.code, self.state = code, state


@dataclass(frozen=True)
class Stage:
    """A stage that leads to S3."""

    name: str
    url: str
    integration: str | None


@dataclass
class Outside:
    """What is defined, and S3.

    :param s3: where S3 is
    """

    s3: str | None = None
    stages: dict[str, Stage] = field(default_factory=dict)
    internal: set[str] = field(default_factory=set)
    integrations: dict[str, tuple[str, ...]] = field(default_factory=dict)
    formats: dict[str, str] = field(default_factory=dict)
    _client: Any = None

    def defined(self, sql: str, connection: Any) -> list[tuple[Any, ...]] | None:
        """Do what a statement defines or describes; None for one that is none of these."""
        if found := _INTEGRATION.fullmatch(sql):
            self.integrations[parts(found["name"])[-1]] = tuple(re.findall(r"'([^']*)'", found["urls"]))
        elif found := _STAGE.fullmatch(sql):
            self._make(whole(found["name"], connection), text(found["url"]), found["integration"])
        elif found := _FORMAT.fullmatch(sql):
            self.formats[whole(found["name"], connection)] = found["options"]
        elif found := _DESCRIBE.fullmatch(sql):
            return self._described(whole(found["name"], connection))
        else:
            if found := _INTERNAL.match(sql):
                self.internal.add(whole(found["name"], connection))
            return None
        if connection._in_transaction:  # what defines something commits
            connection._duck_conn.commit()
            connection._in_transaction = False
        return []

    def _make(self, name: str, url: str, through: str | None) -> None:
        integration = parts(through)[-1] if through else None
        if integration is not None and integration not in self.integrations:
            raise Failed("002003", "02000", f"Integration '{integration}' does not exist or not authorized.")
        allowed = self.integrations[integration] if integration else ("",)
        if not any(url.startswith(each) for each in allowed):
            raise Failed("003167", "42601", f"Location '{url}' is not allowed by integration '{integration}'.")
        self.stages[name] = Stage(name, url, integration)

    def _described(self, name: str) -> list[tuple[Any, ...]]:
        stage = self.stages.get(name)
        if stage is None and name not in self.internal:
            message = f"SQL compilation error:\nStage '{name}' does not exist or not authorized."
            raise Failed("002003", "02000", message)
        url = json.dumps([stage.url]) if stage else ""
        return [
            ("STAGE_FILE_FORMAT", "TYPE", "String", "CSV", "CSV"),
            ("STAGE_COPY_OPTIONS", "ON_ERROR", "String", "CONTINUE", "ABORT_STATEMENT"),
            ("STAGE_COPY_OPTIONS", "PURGE", "Boolean", "true", "false"),
            ("STAGE_LOCATION", "URL", "String", url, ""),
        ]

    # S3

    @property
    def client(self) -> Any:
        """A client of S3."""
        if self._client is None:
            import boto3

            self._client = boto3.client(
                "s3",
                endpoint_url=self.s3,
                region_name="us-east-1",
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
        return self._client

    def read(self, url: str) -> bytes:
        """Return an object's bytes.

        :raises Failed: where it is not there
        """
        bucket, key = place(url)
        try:
            data: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            raise Failed("100016", "22000", f"Remote file '{url}' was not found.") from None
        return data

    def list(self, url: str) -> list[str]:
        """Return the URLs of all objects whose URL begins so."""
        bucket, prefix = place(url)
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [f"s3://{bucket}/{each['Key']}" for page in pages for each in page.get("Contents", [])]

    def write(self, url: str, data: bytes) -> None:
        """Write an object."""
        bucket, key = place(url)
        self.client.put_object(Bucket=bucket, Key=key, Body=data)


OUTSIDE = Outside()
"""That of the process."""


def place(url: str) -> tuple[str, str]:
    """Return a URL's bucket and key."""
    found = urlsplit(url, allow_fragments=False)
    return found.netloc, url[len(f"{found.scheme}://{found.netloc}/") :]


def parts(name: str) -> tuple[str, ...]:
    """Return the parts of a name as the catalog has them."""
    found = re.findall(r'"((?:[^"]|"")*)"|([\w$]+)', name)
    return tuple(quoted.replace('""', '"') if quoted else plain.upper() for quoted, plain in found)


def whole(name: str, connection: Any) -> str:
    """Return a name with its database and schema."""
    return ".".join((connection.database, connection.schema, *parts(name))[-3:])


def text(quoted: str) -> str:
    """Return what a quoted text says."""
    return re.sub(r"\\(.)", r"\1", quoted[1:-1].replace("''", "'"))
