"""Files on the worker's own disk, as the ends of a copy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar, Unpack

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.files.ends import FileEnd, FileOptions
from tradewind.operators.templates import templated

if TYPE_CHECKING:
    from tradewind.operators.files.local_storage import LocalStorage

_SCHEME = "file://"


class LocalFile(FileEnd):
    """Files on the worker's own disk: one, several, or all that match a wildcard.

    As a target it is one file, which is always written whole: under a hidden name beside it, then renamed. Folders
    that lack are made. On Amazon MWAA each worker has a disk of its own, which ends with the worker and which no other
    task need see: write there what the same task reads, or what a mounted file system keeps.

    :param path: an absolute path, or a list of them; a ``*`` makes it a pattern: ``*`` is any text within a folder,
        ``**`` any folders, ``?`` one character, ``[..]`` one of a set
    :param options: what every file takes, see :class:`~tradewind.operators.files.ends.FileEnd`: compression, the
        dialect of CSV or its single arguments, columns, constants, allow_empty, wildcard_match
    """

    template_fields: ClassVar[Sequence[str]] = ("path", *FileEnd.template_fields)
    place = "path"
    store = "the disk"

    def __init__(
        self, path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], **options: Unpack[FileOptions]
    ) -> None:
        self.path = _texts(path)
        super().__init__(**options)

    def storage(self) -> LocalStorage:
        """Return the machine's disk."""
        from tradewind.operators.files.local_storage import LocalStorage

        return LocalStorage()

    def parse_url(self, text: str) -> str:
        """Return the path without ``file://`` and doubled slashes."""
        path = text.removeprefix(_SCHEME)
        if not path.startswith("/"):
            raise InvalidArgument(f"{text!r} is no absolute path: a task runs in any folder, write /folder/file")
        if path.endswith("/") or "\0" in path:
            raise InvalidArgument(f"{text!r} names no file: write /folder/file, or a pattern as /folder/*.csv")
        return f"/{str(PurePosixPath(path)).lstrip('/')}"

    def is_pattern(self, url: str) -> bool:
        """Say whether a path is a pattern."""
        return "*" in url if self.wildcard_match is None else self.wildcard_match

    def assets(self) -> list[str]:
        """Return the files' URIs; templates and patterns are left out."""
        return [PurePosixPath(path).as_uri() for path in map(self.parse_url, super().assets())]

    def openlineage_dataset(self) -> tuple[str, str] | None:
        """Return OpenLineage's namespace and name: the path (of several files, the first)."""
        urls = self.urls()
        return ("file", self.parse_url(urls[0])) if urls and not templated(urls[0]) else None


def _texts(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> str | list[str]:
    if isinstance(path, list | tuple):
        return [os.fspath(one) if isinstance(one, os.PathLike) else one for one in path]
    return os.fspath(path) if isinstance(path, os.PathLike) else path  # type: ignore[return-value]
