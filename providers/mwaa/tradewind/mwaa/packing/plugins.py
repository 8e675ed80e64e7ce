"""The content of a plugins.zip: the user's plugins, wheels, unpacked packages, and what Airflow must not execute."""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from tradewind.local.errors import InvalidInput
from tradewind.local.project import walk
from tradewind.local.versions import Version

IGNORE = ".airflowignore"
OWNED = ("aws_mwaa", "celery_config.py")
"""What AWS keeps in the same folder."""


class Content:
    """The entries of a plugins.zip.

    :param version: the Airflow version it is for
    """

    def __init__(self, version: Version) -> None:
        self.version = version
        self.entries: dict[str, Path | bytes] = {}
        self.ignored: list[str] = []
        """Names at the root whose modules Airflow is not to execute."""
        self._written = ""

    def add_plugins(self, folder: Path) -> list[str]:
        """Add the user's plugins, their content at the root.

        :param folder: the folder ``plugins/``, or an unpacked plugins.zip
        :return: what a person should look at
        :raises InvalidInput: for what breaks an environment
        """
        entries = dict(walk(folder))
        names = {name.split("/")[0] for name in entries}
        for owned in OWNED:
            if owned in names:
                raise InvalidInput(f"plugins has {owned} at its root, where MWAA keeps its own: rename it")
        if names == {"plugins"}:
            raise InvalidInput(f"{folder} holds nothing but a folder plugins: its content belongs at the root")
        ignore = entries.pop(IGNORE, None)
        self._written = ignore.read_text() if ignore else ""
        self.entries.update(entries)
        libraries = [name for name in sorted(names) if (folder / name).is_dir() and not _has_plugin(folder / name)]
        self.ignored += [f"{name}/" for name in libraries]
        return [
            f"plugins/{name} hides the standard library's {Path(name).stem}: every process of the environment breaks"
            for name in sorted(names)
            if Path(name).suffix in ("", ".py") and Path(name).stem in sys.stdlib_module_names
        ]

    def add_wheel(self, wheel: Path) -> None:
        """Add a wheel as it is, for requirements.txt to name."""
        self.entries[wheel.name] = wheel

    def add_unpacked(self, wheel: Path) -> None:
        """Add the modules of a wheel, which are importable then without any installation.

        :raises InvalidInput: where two packages, or a package and the plugins, have the same file
        """
        tops = set()
        with zipfile.ZipFile(wheel) as archive:
            for name, target in _modules(archive):
                content = archive.read(name)
                if self.entries.get(target, content) != content:
                    raise InvalidInput(f"{wheel.name} has a file {target}, and so has something else in the zip")
                self.entries[target] = content
                tops.add(PurePosixPath(target).parts[0] + ("/" if "/" in target else ""))
        self.ignored += sorted(top for top in tops if not top.endswith(".dist-info/"))

    def finish(self) -> dict[str, Path | bytes]:
        """Return the entries, with the .airflowignore that keeps Airflow from executing packages as plugins."""
        # Airflow 2 reads regular expressions that may match anywhere, Airflow 3 what .gitignore has.
        anchored = [f"^{re.escape(name)}" if self.version.major == 2 else f"/{name}" for name in self.ignored]
        lines = [*self._written.splitlines(), *sorted(set(anchored) - set(self._written.splitlines()))]
        if not lines:
            return self.entries
        return {**self.entries, IGNORE: ("\n".join(lines) + "\n").encode()}


def _has_plugin(folder: Path) -> bool:
    """Say whether a folder may define a plugin; a library does not, and is imported, not executed."""
    return any(b"AirflowPlugin" in path.read_bytes() for name, path in walk(folder) if name.endswith(".py"))


def _modules(archive: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    """Yield what a wheel would install, by its name there and its place: scripts and headers aside."""
    for name in archive.namelist():
        if name.endswith("/"):
            continue
        data = re.match(r"[^/]+\.data/(\w+)/(.+)", name)
        if data is None:
            yield name, name
        elif data[1] in ("purelib", "platlib"):
            yield name, data[2]


def total(entries: Iterable[Path | bytes]) -> int:
    """Return the bytes of entries, as they will be on MWAA's disk."""
    return sum(entry.stat().st_size if isinstance(entry, Path) else len(entry) for entry in entries)
