"""The Python environment that an Airflow version and a user's requirements run in, made by uv and cached."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path
from urllib.parse import unquote, urlparse

from tradewind.local import uv
from tradewind.local.constraints import ALL_OR_NOTHING, Unreachable, constrains_itself
from tradewind.local.constraints import find as find_constraints
from tradewind.local.errors import InstallFailed
from tradewind.local.state import cache_folder
from tradewind.local.versions import Version

PROVIDERS = ("amazon", "postgres")
"""Official providers that MWAA's images have and that a plain Airflow lacks."""


@dataclass(frozen=True)
class Interpreter:
    """A Python with Airflow in it.

    :param python: its executable
    :param shared: whether it is the one that runs the command itself
    """

    python: Path
    shared: bool

    @property
    def site_packages(self) -> Path:
        """The folder of its packages."""
        folders = sorted((self.python.parent.parent / "lib").glob("python3.*/site-packages"))
        return folders[-1]


def find(
    version: Version,
    requirements: Path | None,
    constraints: Path | None,
    tell: Callable[[str], None],
    plugins: Path | None = None,
    *,
    bare: bool = False,
) -> Interpreter:
    """Return an interpreter with that Airflow, Tradewind's providers and the user's requirements.

    :param version: the Airflow version
    :param requirements: the user's requirements.txt
    :param constraints: a constraints file; Airflow's published one when None
    :param tell: called with one line for each thing worth telling
    :param plugins: where plugins.zip was unpacked, for the wheels that requirements may name there
    :param bare: whether Tradewind's providers are left out, as MWAA's image does
    :raises InstallFailed: with uv's reason
    :raises InvalidInput: when the constraints file is missing
    """
    text = requirements.read_text() if requirements is not None else ""
    if not bare and not _names(text) and running_version() == version.airflow:
        return Interpreter(Path(sys.executable), shared=True)
    return Installation(version, text, constraints, tell, plugins, bare=bare).make()


def running_version() -> str | None:
    """Return the Airflow version beside this very module, None without any."""
    try:
        return distribution("apache-airflow").version
    except PackageNotFoundError:
        return None


def _names(text: str) -> list[str]:
    """Return the lines of a requirements file that say something."""
    return [line for raw in text.splitlines() if (line := raw.strip()) and not line.startswith("#")]


class Installation:
    """One environment in the cache: found by its content, or made."""

    def __init__(
        self,
        version: Version,
        requirements: str,
        constraints: Path | None,
        tell: Callable[[str], None],
        plugins: Path | None,
        *,
        bare: bool = False,
    ) -> None:
        self.version = version
        self.bare = bare
        self.requirements = requirements
        self.tell = tell
        self.plugins = plugins
        self.cache = cache_folder()
        self.python = self._find_python()
        self.constraints = self._find_constraints(constraints)
        self.own = [] if bare else list(own_packages())

    def make(self) -> Interpreter:
        """Return the environment, made first where it is missing."""
        folder = self.cache / "environments" / f"{self.version.airflow}-{self.key()}"
        python = folder / "bin" / "python"
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        with _locked(folder.with_suffix(".lock")):
            if not (folder / "complete").exists():
                self.tell(f"installing Airflow {self.version.airflow} and the requirements (kept for the next time)")
                shutil.rmtree(folder, ignore_errors=True)
                try:
                    self._install(folder, python)
                except BaseException:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise
                (folder / "complete").touch()
        return Interpreter(python, shared=False)

    def key(self) -> str:
        """Return what tells two environments apart."""
        parts = [
            self.version.airflow,
            self.python,
            self.requirements,
            self.constraints.read_text() if self.constraints else str(self.version.newer_than),
            *map(str, self.own),
        ]
        for there, here in self._folders().items():
            if there in self.requirements:
                parts += [f"{wheel.name} {wheel.stat().st_size}" for wheel in sorted(here.rglob("*.whl"))]
        if self.bare:
            parts.append("bare")
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def _find_python(self) -> str:
        """Return MWAA's Python for this version where the machine has it, else the running one, and say so."""
        wanted = self.version.python
        found = subprocess.run(
            [uv.program(), "python", "find", "--no-python-downloads", "--no-project", "--system", wanted],
            capture_output=True,
            text=True,
            cwd="/",
            timeout=60,
        )
        if found.returncode == 0:
            return found.stdout.strip()
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        if running != wanted:
            self.tell(
                f"there is no Python {wanted} here, which MWAA runs Airflow {self.version.airflow} on: using {running}"
            )
        return sys.executable

    def _find_constraints(self, given: Path | None) -> Path | None:
        try:
            return find_constraints(self.version, given)
        except Unreachable as error:
            self.tell(
                f"Airflow's constraints cannot be downloaded ({error}): taking packages as they were on "
                f"{self.version.newer_than} instead; --constraints FILE gives MWAA's"
            )
            return None

    def _install(self, folder: Path, python: Path) -> None:
        self._run("venv", "--quiet", "--no-project", "--python", self.python, str(folder), what="the environment")
        airflow = f"apache-airflow=={self.version.airflow}"
        base = [airflow, "psycopg2-binary", *(f"apache-airflow-providers-{name}" for name in PROVIDERS)]
        if self.bare:  # all of what MWAA's image lists, its executor too
            base.append(f"apache-airflow[celery,statsd]=={self.version.airflow}")
        if self.version.major == 3:
            base.append("asyncpg")
        pip = ["pip", "install", "--python", str(python), "--compile-bytecode"]
        own = [part for package in self.own for part in package.arguments]
        self._run(*pip, *self._bounds(folder), *base, *own, what=f"Airflow {self.version.airflow}")
        if _names(self.requirements):
            wanted = folder / "requirements.txt"
            wanted.write_text(self._localised())
            pinned = folder / "airflow.txt"
            pinned.write_text(f"{airflow}\n")
            bounds = ["--constraints", str(pinned)]
            if not constrains_itself(self.requirements):
                bounds += self._bounds(folder)
            self._run(*pip, *bounds, "--requirements", str(wanted), what="requirements.txt")

    def _bounds(self, folder: Path) -> list[str]:
        """Return what keeps uv at the versions of that Airflow; our own packages are not bound by it."""
        if self.constraints is None:
            # The packages of this tool may be younger than that Airflow.
            own = [part for package in self.own for part in ("--exclude-newer-package", f"{package.name}=false")]
            return ["--exclude-newer", self.version.newer_than.isoformat(), *own]
        names = {package.name for package in self.own}
        lines = self.constraints.read_text().splitlines()
        kept = folder / "constraints.txt"
        kept.write_text("\n".join(line for line in lines if re.split(r"[=<>! ~]", line)[0] not in names) + "\n")
        return ["--constraints", str(kept)]

    def _localised(self) -> str:
        """Return the requirements with MWAA's folders replaced by the local ones."""
        text = self.requirements
        for there, here in self._folders().items():
            text = text.replace(there, str(here))
        return text

    def _folders(self) -> dict[str, Path]:
        """Return the local folders by what MWAA calls them."""
        if self.plugins is None:
            return {}
        return {
            "/usr/local/airflow/plugins": self.plugins,
            "/usr/local/airflow/dags": self.plugins.parent / "dags",
        }

    def _run(self, *arguments: str, what: str) -> None:
        try:
            uv.run(*arguments, what=what, folder=self.cache)
        except InstallFailed as error:
            if what != "requirements.txt":
                raise
            raise InstallFailed(f"{error}\n{ALL_OR_NOTHING}") from error


@dataclass(frozen=True)
class OwnPackage:
    """One of Tradewind's distributions and where it came from.

    :param name: the distribution
    :param arguments: what makes uv install the same one
    """

    name: str
    arguments: tuple[str, ...]


def own_packages() -> Iterator[OwnPackage]:
    """Yield those of Tradewind's distributions here that Airflow loads, from the same source as here."""
    seen: set[str] = set()
    for found in distributions():
        name = found.metadata["Name"]
        groups = {entry.group for entry in found.entry_points}
        if name.startswith("tradewind") and name not in seen and "apache_airflow_provider" in groups:
            seen.add(name)
            yield OwnPackage(name, source(found, name))


def source(found: Distribution, name: str) -> tuple[str, ...]:
    """Return what makes uv install the same distribution."""
    direct = json.loads(found.read_text("direct_url.json") or "{}")
    url = urlparse(direct.get("url", ""))
    if url.scheme != "file":
        return (f"{name}=={found.version}",) if not direct else (f"{name} @ {direct['url']}",)
    path = unquote(url.path)
    return ("--editable", path) if direct.get("dir_info", {}).get("editable") else (path,)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with this process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
