"""The user's folder, as it would be uploaded to the bucket of an MWAA environment."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tradewind.local import archive
from tradewind.local.errors import InvalidInput

SKIPPED = frozenset({"__pycache__", ".git", ".ipynb_checkpoints", ".DS_Store", ".tradewind", ".venv"})
"""Names of files and folders that are nobody's code."""


@dataclass(frozen=True)
class Stamp:
    """What tells that a file changed without reading it."""

    modified: int
    size: int
    inode: int


class Project:
    """A folder with ``dags/`` and perhaps ``plugins.zip`` or ``plugins/``, ``requirements.txt``, ``startup.sh``.

    :param folder: the folder
    :raises InvalidInput: when it, or its ``dags``, is not there
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        if not self.folder.is_dir():
            raise InvalidInput(f"there is no folder {self.folder}")
        self.dags = self.folder / "dags"
        if not self.dags.is_dir():
            raise InvalidInput(
                f"{self.folder} has no folder dags: make it and put the DAGs there, as in the bucket of MWAA"
            )
        if (self.folder / "plugins").is_dir() and (self.folder / "plugins.zip").exists():
            raise InvalidInput(f"{self.folder} has plugins/ and plugins.zip: keep one of them")

    def files(self) -> dict[str, Path]:
        """Return what goes into the bucket by its key, plugins aside."""
        found = {f"dags/{name}": path for name, path in walk(self.dags)}
        for name in ("requirements.txt", "startup.sh"):
            if (self.folder / name).is_file():
                found[name] = self.folder / name
        return found

    def plugins(self) -> bytes | None:
        """Return the content of ``plugins.zip``, None where there are no plugins.

        :raises InvalidInput: when the user's own file is not a zip
        """
        packed = self.folder / "plugins.zip"
        if packed.exists():
            if not zipfile.is_zipfile(packed):
                raise InvalidInput(f"{packed} is not a zip file")
            return packed.read_bytes()
        folder = self.folder / "plugins"
        return pack(folder) if folder.is_dir() else None

    def plugins_stamp(self) -> object:
        """Return what changes when the plugins do."""
        packed = self.folder / "plugins.zip"
        if packed.exists():
            return stamp(packed)
        return {name: stamp(path) for name, path in walk(self.folder / "plugins")}


def walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield each file below a folder, links followed, with its name relative to it; a folder is entered once."""
    seen: set[str] = set()
    for top, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(top)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        for name in sorted(files):
            path = Path(top, name)
            if name not in SKIPPED and path.is_file():
                yield path.relative_to(folder).as_posix(), path


def stamp(path: Path) -> Stamp | None:
    """Return the stamp of a file, None when it is gone."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return Stamp(facts.st_mtime_ns, facts.st_size, facts.st_ino)


def pack(folder: Path) -> bytes:
    """Zip the content of a folder, the same bytes for the same files.

    Airflow runs every Python file below ``plugins/`` by its bare name unless ``.airflowignore`` names its folder: for
    a ``tradewind`` folder that line is added where the user wrote no such file.
    """
    entries: dict[str, Path | bytes] = dict(walk(folder))
    if (folder / "tradewind").is_dir():
        entries.setdefault(".airflowignore", b"tradewind/\n")
    buffer = io.BytesIO()
    archive.write(buffer, entries)
    return buffer.getvalue()
