"""The images of the stack: what they are made of, and whether they are there already."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tradewind.local import constraints, uv
from tradewind.local.errors import LocalError
from tradewind.local.interpreter import PROVIDERS, OwnPackage, own_packages, source
from tradewind.local.project import SKIPPED
from tradewind.local.state import cache_folder
from tradewind.local.versions import Version

BASE = "python:{python}-slim-bookworm"
"""The image that ours are built from unless another is named."""
PYCURL = "pycurl==7.47.0"
"""What Celery asks SQS with, at the version of MWAA's images: Airflow's constraints do not name it."""
USER_ID = 50000
"""Who the containers run as where root starts them; else it is the one who does."""


@dataclass(frozen=True)
class Images:
    """The images of one Airflow version and one state of our packages.

    :param context: the folder they are built from
    :param key: what tells them from others
    :param version: the Airflow version
    :param base: the image they are built from
    """

    context: Path
    key: str
    version: Version
    base: str

    @property
    def airflow(self) -> str:
        """The image of every part of Airflow."""
        return f"tradewind/airflow:{self.version.airflow}-{self.key}"

    @property
    def services(self) -> str:
        """The image of PostgreSQL, the broker and AWS."""
        return f"tradewind/services:{self.version.airflow}-{self.key}"

    @property
    def mariadb(self) -> str:
        """The image of MariaDB, which is built where it is asked for."""
        return f"tradewind/mariadb:{self.version.airflow}-{self.key}"

    def variables(self) -> dict[str, str]:
        """Return what the Compose file asks for."""
        return {
            "TRADEWIND_CONTEXT": str(self.context),
            "TRADEWIND_BASE": self.base,
            "TRADEWIND_AIRFLOW": self.version.airflow,
            "TRADEWIND_USER_ID": str(user_id()),
            "TRADEWIND_UV": uv_version(),
            "TRADEWIND_AIRFLOW_IMAGE": self.airflow,
            "TRADEWIND_SERVICES_IMAGE": self.services,
            "TRADEWIND_MARIADB_IMAGE": self.mariadb,
        }


def user_id() -> int:
    """Return the user that the containers run as: never root."""
    return os.getuid() or USER_ID


def uv_version() -> str:
    """Return the version of uv here, which installs in the images too."""
    return uv.run("--version", what="uv", folder=Path("/")).split()[1]


def prepare(
    version: Version, base: str | None, given: Path | None, tell: Callable[[str], None], *, bare: bool = False
) -> Images:
    """Lay out the folder that the images of an Airflow version are built from; the same content is the same folder.

    :param version: the Airflow version
    :param base: the image to build from; Python's own when None
    :param given: a constraints file; Airflow's published one when None
    :param tell: called with one line for each thing worth telling
    :param bare: whether Airflow's image has none of our packages, as MWAA's
    :raises InstallFailed: when one of our packages cannot be built
    """
    parts = cache_folder() / "stack"
    ours = files("tradewind.local.stack")
    content: dict[str, Path | str] = {name: ours.joinpath(name).read_text() for name in ("Dockerfile", "entrypoint")}
    own = [] if bare else list(own_packages())
    machinery = OwnPackage("tradewind-local", source(distribution("tradewind-local"), "tradewind-local"))
    wanted = []
    for package in (*own, machinery):
        wheel = _wheel(package, parts / "wheels")
        if wheel is not None:
            content[f"wheels/{wheel.name}"] = wheel
        if package.name != "tradewind-local":
            wanted.append(package.arguments[0] if wheel is None else f"/context/wheels/{wheel.name}")
        elif wheel is None:
            raise LocalError(
                "tradewind-local was installed from an index, which cannot go into images yet: give a wheel"
            )
    content["own.txt"] = "".join(f"{line}\n" for line in wanted)
    content["airflow/airflow.txt"] = "\n".join(_airflow(version)) + "\n"
    content["airflow/constraints.txt"], content["airflow/bounds.txt"] = _bounds(version, given, own, tell)
    content["services/services.txt"] = "\n".join(sorted(_closure("tradewind-local"))) + "\n"
    chosen = base or BASE.format(python=version.python)
    key = _key(content, chosen, str(user_id()), uv_version())
    folder = parts / "contexts" / key
    if not folder.exists():
        _lay_out(content, folder)
    return Images(folder, key, version, chosen)


def _airflow(version: Version) -> Iterator[str]:
    yield f"apache-airflow[celery,statsd]=={version.airflow}"
    yield from (f"apache-airflow-providers-{name}" for name in PROVIDERS)
    yield PYCURL
    yield from ("celery[redis,sqs]", "psycopg2-binary", "psutil")
    if version.major == 3:
        yield "asyncpg"


def _bounds(
    version: Version, given: Path | None, own: list[OwnPackage], tell: Callable[[str], None]
) -> tuple[str, str]:
    """Return the constraints without our own packages, and the arguments that make uv keep to that Airflow."""
    try:
        lines = constraints.find(version, given).read_text().splitlines()
    except constraints.Unreachable as error:
        tell(
            f"Airflow's constraints cannot be downloaded ({error}): taking packages as they were on "
            f"{version.newer_than} instead; --constraints FILE gives MWAA's"
        )
        return "", f"--exclude-newer {version.newer_than.isoformat()}\n"
    names = {package.name for package in own}
    kept = [line for line in lines if re.split(r"[=<>! ~]", line)[0] not in names]
    return "\n".join(kept) + "\n", "--constraint constraints.txt\n"


def _wheel(package: OwnPackage, kept: Path) -> Path | None:
    """Return the wheel of a package that lies on this machine, built once for the same content; None for an index's."""
    path = Path(package.arguments[-1])
    if package.arguments[-1].startswith(("http", package.name)) or not path.exists():
        return None
    if path.suffix == ".whl":
        return path
    folder = kept / f"{package.name}-{_digest(path)}"
    if not folder.exists():
        new = folder.with_name(f"{folder.name}.{os.getpid()}")
        uv.run("build", "--quiet", "--wheel", "--out-dir", str(new), str(path), what=package.name, folder=path)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    return next(folder.glob("*.whl"))


def _digest(folder: Path) -> str:
    """Return what changes when a package's wheel would."""
    project = folder / "pyproject.toml"
    found = hashlib.sha256(project.read_bytes())
    wheel = tomllib.loads(project.read_text()).get("tool", {}).get("hatch", {}).get("build", {}).get("targets", {})
    for name in wheel.get("wheel", {}).get("packages", ["."]):
        for top, folders, names in os.walk(folder / name):
            folders[:] = sorted(each for each in folders if each not in SKIPPED)
            for path in (Path(top, each) for each in sorted(names)):
                found.update(f"{path.relative_to(folder)}\0".encode())
                found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def _closure(name: str) -> set[str]:
    """Return the pins of everything that a distribution here needs, at the versions that are here."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    todo = [(name, "")]
    while todo:
        current, extra = todo.pop()
        if (current, extra) in seen:
            continue
        seen.add((current, extra))
        here = distribution(current)
        if current != name:
            found.add(f"{current}=={here.version}")
        for text in here.requires or ():
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(need.name), each) for each in ("", *need.extras)]
    return found


def _key(content: dict[str, Path | str], *others: str) -> str:
    whole = hashlib.sha256("\0".join(others).encode())
    for name, part in sorted(content.items()):
        data = part.read_bytes() if isinstance(part, Path) else part.encode()
        whole.update(f"\0{name}\0".encode() + hashlib.sha256(data).digest())
    return whole.hexdigest()[:12]


def _lay_out(content: dict[str, Path | str], folder: Path) -> None:
    new = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(new, ignore_errors=True)
    for name, part in content.items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(part, Path):
            shutil.copyfile(part, new / name)
        else:
            (new / name).write_text(part)
    new.rename(folder)
