"""Zip files whose bytes depend on their content alone, and how MWAA unpacks them."""

from __future__ import annotations

import io
import os
import shutil
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from tradewind.local.errors import InvalidInput

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every entry."""


def write(out: BinaryIO, entries: Mapping[str, Path | bytes]) -> None:
    """Write a zip: entries in order of their names, one date, files of mode 644 or, programs, 755.

    :param out: takes the bytes
    :param entries: each entry's content, or the file that has it, by name
    """
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(entries.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            program = isinstance(content, Path) and os.access(content, os.X_OK)
            entry.external_attr = (stat.S_IFREG | (0o755 if program else 0o644)) << 16
            entry.create_system = 3  # Unix, or the mode is not looked at
            # A wheel is a zip already.
            entry.compress_type = zipfile.ZIP_STORED if name.endswith((".whl", ".zip")) else zipfile.ZIP_DEFLATED
            entry.file_size = content.stat().st_size if isinstance(content, Path) else len(content)
            with archive.open(entry, "w") as target:
                if isinstance(content, Path):
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, target, 1 << 20)
                else:
                    target.write(content)


def unpack(content: bytes, folder: Path) -> None:
    """Unpack a plugins.zip as MWAA does, its content at the root.

    :raises InvalidInput: for what is not a zip, or a name that points outside
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                if name.startswith("/") or "\\" in name or ".." in name.split("/"):
                    raise InvalidInput(f"plugins.zip has an entry {name!r} that points outside of the plugins folder")
            archive.extractall(folder)
    except zipfile.BadZipFile as error:
        raise InvalidInput(f"plugins.zip in the bucket is not a zip file: {error}") from error
