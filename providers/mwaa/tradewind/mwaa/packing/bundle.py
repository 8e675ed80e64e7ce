"""From a project to the two files that MWAA installs."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tradewind.local import archive
from tradewind.local.constraints import Unreachable
from tradewind.local.constraints import find as find_constraints
from tradewind.local.errors import InvalidInput
from tradewind.local.project import Project
from tradewind.local.versions import Version
from tradewind.mwaa.packing import pins, requirements
from tradewind.mwaa.packing.pins import Pin
from tradewind.mwaa.packing.plugins import Content, total
from tradewind.mwaa.packing.requirements import Wanted, local_path
from tradewind.mwaa.packing.wheels import Wheelhouse, check, pin

Way = Literal["index", "wheels", "unpacked"]
"""How packages reach the environment: from an index, as wheels in the zip, or as modules in the zip."""

LARGEST = 1 << 30
"""Bytes that a plugins.zip may have on MWAA."""
THERE = "/usr/local/airflow/plugins"


@dataclass(frozen=True)
class Packed:
    """What was written.

    :param files: the files
    :param pins: what the environment will have beyond its image
    :param warnings: what a person should look at
    :param unpacked_bytes: of plugins.zip, on MWAA's disk
    """

    files: list[Path]
    pins: list[Pin]
    warnings: list[str]
    unpacked_bytes: int

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file by its name."""
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.files}


def make(
    project: Project,
    version: Version,
    out: Path,
    *,
    way: Way = "index",
    constraints: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Packed:
    """Write plugins.zip and requirements.txt for a project; both or neither.

    :param project: the user's folder
    :param version: the Airflow version of the environment
    :param out: the folder to write into
    :param way: how packages reach the environment
    :param constraints: a constraints file; Airflow's published one when None
    :param tell: called with what goes on
    :raises InstallFailed: where the requirements do not fit, with the resolver's reason
    :raises InvalidInput: for what MWAA could not install
    """
    try:
        airflow = find_constraints(version, constraints)
    except Unreachable as error:
        raise InvalidInput(
            f"the constraints of Airflow {version.airflow} cannot be downloaded ({error}): give them by --constraints"
        ) from error
    with tempfile.TemporaryDirectory(prefix="tradewind-pack-") as made, _plugins(project, Path(made)) as plugins:
        scratch = Path(made)
        content = Content(version)
        warnings = content.add_plugins(plugins) if plugins else []
        folders = {"dags": project.dags} | ({"plugins": plugins} if plugins else {})
        wanted = requirements.read(project.folder / "requirements.txt", folders)
        house = Wheelhouse(scratch / "wheels", version)
        found = Added({}, {})
        if wanted.named or wanted.local:
            found = _added(wanted, house, version, airflow, folders, scratch, tell)
            warnings += found.warnings(version, way)
            _gather(found, wanted, house, content, way, folders, tell)
        lines = _lines(found, wanted, house, way)
        tell("writing")
        entries = content.finish()
        files = _write(out, entries, lines)
        return Packed(files, list(found.pins.values()), warnings, total(entries.values()))


@contextmanager
def _plugins(project: Project, scratch: Path) -> Iterator[Path | None]:
    """Yield the folder of the user's plugins, unpacked where they are a zip."""
    folder = project.folder / "plugins"
    if (project.folder / "plugins.zip").exists():
        folder = scratch / "plugins"
        archive.unpack(project.plugins() or b"", folder)
    yield folder if folder.is_dir() else None


@dataclass(frozen=True)
class Added:
    """What an environment will have beyond its image.

    :param pins: what is new or changed there, or named by the user, by name
    :param image: what the image has
    """

    pins: dict[str, Pin]
    image: dict[str, Pin]

    def missing(self) -> list[Pin]:
        """Return the pins that the image does not satisfy already."""
        return [pin for name, pin in self.pins.items() if self.image.get(name) != pin]

    def warnings(self, version: Version, way: Way) -> list[str]:
        """Return what a person should know."""
        changed = [
            f"{pin} in place of the image's {self.image[pin.name]}" for pin in self.missing() if pin.name in self.image
        ]
        if way == "unpacked" and version.major == 3 and any(name.startswith("tradewind") for name in self.pins):
            changed.append(
                f"Airflow {version.airflow} may not list providers that are unpacked: their operators work, their "
                "connection types may be missing in the form (--wheels lists them)"
            )
        return changed


def _added(
    wanted: Wanted,
    house: Wheelhouse,
    version: Version,
    constraints: Path,
    folders: dict[str, Path],
    scratch: Path,
    tell: Callable[[str], None],
) -> Added:
    """Resolve what the requirements add to the image."""
    lines = [pin(house.add(source), extras) for source, extras in wanted.local]
    lines += [pin(wheel, extras) for extras, wheel in house.own(wanted)]
    lines += [str(each) for each in wanted.named]
    names = {str(canonicalize_name(Requirement(line).name)) for line in lines}
    airflow = scratch / "airflow.txt"
    airflow.write_text(f"apache-airflow=={version.airflow}\n")
    own = [local_path(text, folders) for text in wanted.constraints]
    bounds = [part for text in (str(airflow), *(own or [str(constraints)])) for part in ("--constraints", text)]
    tell("resolving the requirements")
    options = [local_path(option, folders) for option in wanted.options]
    found = pins.compiled([*options, *lines], version, bounds, scratch, what="requirements.txt")
    image = pins.image(version, constraints, scratch)
    kept = {name: each for name, each in sorted(found.items()) if image.get(name) != each or name in names}
    return Added(kept, image)


def _gather(
    found: Added,
    wanted: Wanted,
    house: Wheelhouse,
    content: Content,
    way: Way,
    folders: dict[str, Path],
    tell: Callable[[str], None],
) -> None:
    """Put into the zip what travels in it."""
    missing = found.missing()
    if way == "index":
        for each in missing:
            if each.url.startswith("file:"):
                content.add_wheel(house.wheel(each))
        return
    tell(f"fetching the wheels of {len(missing)} packages")
    options = [local_path(option, folders) for option in wanted.options]
    house.fetch([each for each in missing if not each.url.startswith("file:")], options)
    for each in missing:
        wheel = house.wheel(each)
        check(wheel, house.version)
        (content.add_wheel if way == "wheels" else content.add_unpacked)(wheel)


def _lines(found: Added, wanted: Wanted, house: Wheelhouse, way: Way) -> list[str]:
    """Return the lines of requirements.txt."""
    head = f"# tradewind pack, Airflow {house.version.airflow}: every version is pinned"
    if way == "unpacked":
        return [head.split(":")[0] + ": all packages are in plugins.zip, nothing is installed"]
    if way == "wheels":
        remote = [text for text in wanted.constraints if not text.startswith("/")]
        if remote:
            raise InvalidInput(
                f"without an index the constraints {remote[0]} are not reached either: put the file into dags/ and "
                "name it as /usr/local/airflow/dags/..."
            )
        options = [f"--find-links {THERE}", "--no-index"]
    else:
        options = wanted.options
    lines = [head, *options, *(f"--constraint {text}" for text in wanted.constraints)]
    for each in found.pins.values():
        local = each.url.startswith("file:")
        lines.append(f"{THERE}/{house.wheel(each).name}" if local else str(each))
    return lines


def _write(out: Path, entries: dict[str, Path | bytes], lines: list[str]) -> list[Path]:
    """Write both files beside each other, then put them in their places."""
    out.mkdir(parents=True, exist_ok=True)
    text = out / "requirements.txt"
    packed = out / "plugins.zip"
    with tempfile.TemporaryDirectory(prefix=".tradewind-", dir=out) as beside:
        half = Path(beside)
        (half / text.name).write_text("\n".join(lines) + "\n")
        with (half / packed.name).open("wb") as file:
            archive.write(file, entries)
        if (size := (half / packed.name).stat().st_size) > LARGEST:
            raise InvalidInput(f"plugins.zip would have {size:,} bytes, MWAA takes {LARGEST:,} at most")
        (half / text.name).replace(text)
        if not entries:
            packed.unlink(missing_ok=True)  # of an earlier time; MWAA needs none
            return [text]
        (half / packed.name).replace(packed)
    return [packed, text]
