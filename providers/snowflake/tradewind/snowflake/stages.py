"""Where the service itself reads and writes objects: an external stage, or one of the session's own over a URL.

Source: "CREATE STAGE", "DESCRIBE STAGE" and "COPY INTO <table>" of Snowflake's SQL command reference. No credential is
in a statement: a stage has its own, else a storage integration has.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import TYPE_CHECKING

from tradewind.hooks.errors import InvalidArgument, NotFound
from tradewind.operators.templates import templated
from tradewind.snowflake.names import TableName, literal, quoted

if TYPE_CHECKING:
    from tradewind.snowflake.session import SnowflakeSession

_URL = re.compile(r"s3(?:china|gov)?://[^/]+/(?:.*/)?", re.DOTALL)
_SCHEME = re.compile(r"s3(?:china|gov)?://")


@dataclass(frozen=True)
class ExternalStage:
    """A stage, or what one is made from.

    :param stage: an external stage's name, or a URL as ``s3://landing/`` that one is to be made for
    :param storage_integration: the integration by which the service reaches the URL
    """

    stage: str | None = None
    storage_integration: str | None = None

    def __bool__(self) -> bool:
        return self.stage is not None or self.storage_integration is not None

    def check(self) -> None:
        """Refuse what cannot work; templates are seen when they are rendered.

        :raises InvalidArgument: with what, which and what instead
        """
        for name, given in (("stage", self.stage), ("storage_integration", self.storage_integration)):
            if given is not None and (not isinstance(given, str) or not given.strip()):
                raise InvalidArgument(f"{name} must be a name, not {given!r}: leave it out for none")
        if self.stage is not None and not templated(self.stage):
            self._check_stage(self.stage)
        if self.storage_integration is not None and not templated(self.storage_integration):
            integration = _parsed(self.storage_integration, "storage_integration")
            if integration.schema is not None:
                raise InvalidArgument(
                    f"storage_integration {self.storage_integration!r}: an integration is the account's, no schema's: "
                    "give its name alone"
                )

    def _check_stage(self, stage: str) -> None:
        if _SCHEME.match(stage):
            if not _URL.fullmatch(stage):
                raise InvalidArgument(f"stage {stage!r}: a URL must end with '/', as s3://landing/flights/")
            return
        _parsed(stage.removeprefix("@"), "stage")
        if self.storage_integration is not None:
            raise InvalidArgument(
                f"stage {stage!r} has credentials of its own: leave storage_integration out, or give a URL as stage"
            )

    def find(self, session: SnowflakeSession, beside: TableName, urls: Sequence[str]) -> FoundStage:
        """Find the stage, or name one of the session's own.

        :param session: the connection
        :param beside: the table, in whose schema a stage is made
        :param urls: the objects, or the folder, that it must lead to
        :raises InvalidArgument: where the stage does not lead there
        :raises Unfit: where no single stage could
        """
        from tradewind.snowflake.catalog import full_name

        if self.stage is not None and not _SCHEME.match(self.stage):
            name = full_name(session, _parsed(self.stage.removeprefix("@"), "stage"))
            found = FoundStage(name, _location(session, name))
        else:
            url = self.stage or _folder(urls)
            name = beside.beside(f"TRADEWIND_S3_{secrets.token_hex(8).upper()}")
            through = f" STORAGE_INTEGRATION = {self._integration()}" if self.storage_integration else ""
            found = FoundStage(name, url, f"CREATE TEMPORARY STAGE {name.sql} URL = {literal(url)}{through}")
        for url in urls:
            if not found.covers(url):
                raise InvalidArgument(
                    f"stage {self.stage} leads to {found.url}, which does not cover {url}: name one that does, or "
                    "leave stage= out"
                )
        return found

    def _integration(self) -> str:
        return quoted(_parsed(str(self.storage_integration), "storage_integration").table)


@dataclass(frozen=True)
class FoundStage:
    """A stage that leads to a place in S3.

    :param name: its name
    :param url: its URL, ending with ``/``
    :param ddl: what makes it, None where it is there
    """

    name: TableName
    url: str
    ddl: str | None = None

    def covers(self, url: str) -> bool:
        """Say whether an object or a folder lies under its URL."""
        return _SCHEME.sub("", url).startswith(_SCHEME.sub("", self.url))

    def path(self, url: str) -> str:
        """Return where an object or a folder lies, counted from the stage's URL."""
        return _SCHEME.sub("", url)[len(_SCHEME.sub("", self.url)) :]


def _parsed(text: str, argument: str) -> TableName:
    try:
        return TableName.parse(text)
    except InvalidArgument:
        raise InvalidArgument(
            f"{argument} {text!r} is no name: write name or schema.name or database.schema.name; of a stage neither "
            "@ nor a path in it is needed, the source names its objects"
        ) from None


def _folder(urls: Sequence[str]) -> str:
    """Return the folder that all objects have in common."""
    if len({url.split("/", 3)[2] for url in urls}) > 1:
        from tradewind.operators.files.heads import Unfit

        raise Unfit("the objects lie in several buckets, to which no single stage leads")
    return commonprefix(list(urls)).rpartition("/")[0] + "/"


def _location(session: SnowflakeSession, name: TableName) -> str:
    """Ask where a stage leads to.

    :raises NotFound: where there is none of this name
    :raises InvalidArgument: where it leads to no S3
    """
    try:
        rows = session.run(f"DESCRIBE STAGE {name.sql}", None, _described)
    except NotFound as error:
        raise NotFound(
            f"{session.describe}: there is no stage {name}, or none that this role may see: name one that is there, "
            "or leave stage= out"
        ) from error
    text = next((str(row["property_value"]) for row in rows if row["property"].upper() == "URL"), "")
    try:
        listed = json.loads(text)
    except ValueError:
        listed = [text]
    url = str(listed[0]) if isinstance(listed, list) and listed else ""
    if not _SCHEME.match(url):
        where = f"leads to {url}" if url else "is internal"
        raise InvalidArgument(f"stage {name} {where}: name an external stage of S3, or leave stage= out")
    return url if url.endswith("/") else f"{url}/"


def _described(cursor: object) -> list[dict[str, str]]:
    names = [column[0].lower() for column in cursor.description]  # type: ignore[attr-defined]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]  # type: ignore[attr-defined]
