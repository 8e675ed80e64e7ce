"""Wheels: built of what lies on this machine, fetched from the index, and fit for MWAA or not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from tradewind.local import uv
from tradewind.local.errors import InstallFailed, InvalidInput
from tradewind.local.interpreter import own_packages
from tradewind.local.versions import Version
from tradewind.mwaa.packing.pins import Pin
from tradewind.mwaa.packing.requirements import Wanted

GLIBC = 34
"""The minor version of the images' glibc 2."""
TIMEOUT = 20 * 60
"""Seconds after which a download is given up."""


@cache
def tags(python: str) -> frozenset[Tag]:
    """Return the tags that wheels for MWAA may have.

    :param python: the Python version, as ``3.12``
    """
    version = tuple(int(part) for part in python.split("."))
    platforms = platform_names()
    exact = cpython_tags(python_version=version, platforms=platforms)
    return frozenset((*exact, *compatible_tags(version, f"cp{version[0]}{version[1]}", platforms)))


def platform_names() -> list[str]:
    """Return the names of MWAA's platform and of those it is compatible with, the best first."""
    named = [f"manylinux_2_{minor}_x86_64" for minor in range(GLIBC, 4, -1)]
    return [*named, "manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]


def check(wheel: Path, version: Version) -> None:
    """Refuse a wheel that MWAA cannot install.

    :raises InvalidInput: with what it is made for
    """
    try:
        _, _, _, made_for = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as error:
        raise InvalidInput(f"{wheel.name} is no name of a wheel: {error}") from error
    if not made_for & tags(version.python):
        raise InvalidInput(
            f"{wheel.name} does not fit MWAA's Airflow {version.airflow}, which runs on Python {version.python}, "
            f"Linux x86_64, glibc 2.{GLIBC}: it is made for {', '.join(sorted(map(str, made_for)))}"
        )
    if not zipfile.is_zipfile(wheel):
        raise InvalidInput(f"{wheel} is not a zip file, as a wheel is")


def pin(wheel: Path, extras: str = "") -> str:
    """Return the line of a requirements file that means one wheel on this machine."""
    name, _, _, _ = parse_wheel_filename(wheel.name)
    return f"{name}{extras} @ {wheel.resolve().as_uri()}"


class Wheelhouse:
    """A folder of wheels for one version of Airflow.

    :param folder: where they go
    :param version: the Airflow version
    """

    def __init__(self, folder: Path, version: Version) -> None:
        self.folder = folder
        self.version = version
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, source: str) -> Path:
        """Return the wheel of a folder, of an sdist, of a wheel, or of an address of version control.

        :raises InstallFailed: where it cannot be built
        :raises InvalidInput: where it does not fit MWAA
        """
        if source.endswith(".whl"):
            made = self.folder / Path(source).name
            if not made.exists():
                made.write_bytes(Path(source).read_bytes())
        else:
            made = self._built(source)
        check(made, self.version)
        return made

    def own(self, wanted: Wanted) -> Iterator[tuple[str, Path]]:
        """Yield extras and wheel of each package of Tradewind's that is wanted and not from an index here."""
        local = {package.name: package.arguments[-1] for package in own_packages() if "==" not in package.arguments[0]}
        asked = {str(canonicalize_name(each.name)): each for each in wanted.named if each.url is None}
        names = [name for name in asked if name in local]
        for name in names:  # grows meanwhile
            names += [each for each in _requires(name) if each in local and each not in names]
            extras = asked[name].extras if name in asked else ()
            yield (f"[{','.join(sorted(extras))}]" if extras else ""), self.add(local[name])
        wanted.named = [each for each in wanted.named if str(canonicalize_name(each.name)) not in names]

    def _built(self, source: str) -> Path:
        before = set(self.folder.glob("*.whl"))
        if "+" in source.split(":")[0]:
            _pip("wheel", "--no-deps", "--wheel-dir", str(self.folder), source)
        else:
            built = ("build", "--quiet", "--wheel", "--out-dir", str(self.folder), source)
            uv.run(*built, what=source, folder=self.folder)
            (self.folder / ".gitignore").unlink(missing_ok=True)  # uv writes one
        made = set(self.folder.glob("*.whl")) - before
        if len(made) != 1:
            raise InstallFailed(f"{source} made {len(made)} wheels in place of one: is it named twice")
        return made.pop()

    def fetch(self, pins: Sequence[Pin], options: Sequence[str]) -> None:
        """Download the wheels of pins; what has none is built, where it is Python alone.

        :param pins: what to fetch
        :param options: lines about indexes, as the user wrote them
        :raises InstallFailed: with pip's reason
        :raises InvalidInput: where a package must be compiled and nobody has done it for MWAA
        """
        try:
            self._download(pins, options)
        except InstallFailed:
            for each in pins:
                try:
                    self._download([each], options)
                except InstallFailed:
                    self._build_portable(each, options)

    def _download(self, pins: Sequence[Pin], options: Sequence[str]) -> None:
        platforms = [f"--platform={name}" for name in platform_names()]
        digits = self.version.python.replace(".", "")
        _pip(
            *("download", "--no-deps", "--only-binary=:all:", "--dest", str(self.folder), *platforms),
            *("--implementation=cp", f"--python-version={digits}", f"--abi=cp{digits}", "--abi=abi3", "--abi=none"),
            *("--requirement", self._listed(pins, options)),
        )

    def _build_portable(self, found: Pin, options: Sequence[str]) -> None:
        _pip("wheel", "--no-deps", "--wheel-dir", str(self.folder), "--requirement", self._listed([found], options))
        made = self.wheel(found)
        if not made.name.endswith("-none-any.whl"):
            made.unlink()
            raise InvalidInput(
                f"{found} has no wheel for MWAA (Python {self.version.python}, Linux x86_64) and must be compiled: "
                "build one on Amazon Linux 2023 and name it in requirements.txt"
            )

    def _listed(self, pins: Sequence[Pin], options: Sequence[str]) -> str:
        wanted = self.folder.parent / "fetched.txt"
        wanted.write_text("\n".join((*options, *map(str, pins))) + "\n")
        return str(wanted)

    def wheel(self, found: Pin) -> Path:
        """Return the wheel of a pin.

        :raises InstallFailed: where it is not there
        """
        for path in self.folder.glob("*.whl"):
            name, version, _, _ = parse_wheel_filename(path.name)
            if name == found.name and (found.url == path.resolve().as_uri() or str(version) == found.version):
                return path
        raise InstallFailed(f"there is no wheel of {found} in {self.folder}")


def _requires(name: str) -> list[str]:
    found = [Requirement(text) for text in requires(name) or ()]
    return [str(canonicalize_name(each.name)) for each in found if not each.marker]


def _pip(*arguments: str) -> None:
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "NO_COLOR": "1"}
    for theirs, ours in (("UV_DEFAULT_INDEX", "PIP_INDEX_URL"), ("UV_INDEX_URL", "PIP_INDEX_URL")):
        if theirs in environment:
            environment.setdefault(ours, environment[theirs])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", *arguments, "--quiet"],
            capture_output=True,
            text=True,
            env=environment,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise InstallFailed(f"pip {arguments[0]} took longer than {TIMEOUT // 60} min") from error
    if done.returncode != 0:
        reason = re.sub(r"(?m)^(WARNING|ERROR): ", "", done.stderr.strip())
        raise InstallFailed(f"pip {arguments[0]} failed:\n{reason}")
