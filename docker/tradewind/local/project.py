"""The user's folder, as it would be uploaded to the bucket of an MWAA environment."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tradewind.local.errors import InvalidInput

SKIPPED = frozenset({"__pycache__", ".git", ".ipynb_checkpoints", ".DS_Store", ".tradewind", ".venv"})
"""Names of files and folders that are nobody's code."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every entry of a zip made here, so that the same files give the same bytes."""


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
        archive = self.folder / "plugins.zip"
        if archive.exists():
            if not zipfile.is_zipfile(archive):
                raise InvalidInput(f"{archive} is not a zip file")
            return archive.read_bytes()
        folder = self.folder / "plugins"
        return pack(folder) if folder.is_dir() else None

    def plugins_stamp(self) -> object:
        """Return what changes when the plugins do."""
        archive = self.folder / "plugins.zip"
        if archive.exists():
            return stamp(archive)
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
    buffer = io.BytesIO()
    entries = dict(walk(folder))
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(entries.items()):
            archive.writestr(_entry(name), path.read_bytes())
        if ".airflowignore" not in entries and (folder / "tradewind").is_dir():
            archive.writestr(_entry(".airflowignore"), "tradewind/\n")
    return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


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
