"""Versions: what MWAA's image has, and what an installation of the requirements would add to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from tradewind.local import uv
from tradewind.local.errors import InstallFailed
from tradewind.local.versions import Version

PLATFORM = "x86_64-manylinux_2_34"
"""What MWAA's images are: Amazon Linux 2023, glibc 2.34."""

IMAGE = (
    *("apache-airflow[celery,statsd]=={airflow}", "apache-airflow-providers-amazon"),
    *("apache-airflow-providers-postgres", "psycopg2-binary"),
)
"""What every image has; the rest of it follows: all images are at the versions of their constraints."""

NOT_THERE = frozenset({"async-timeout", "wcwidth"})
"""What follows from the above, and yet is not among what an image lists."""

LINE = re.compile(r"([\w.-]+)(?:\[[^\]]*\])?(?:==(\S+)| @ (\S+))")


@dataclass(frozen=True)
class Pin:
    """One distribution as it is to be installed.

    :param name: its normalised name
    :param version: its version; empty where ``url`` says what it is
    :param url: a wheel or an address
    """

    name: str
    version: str = ""
    url: str = ""

    def __str__(self) -> str:
        return f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"


def image(version: Version, constraints: Path, folder: Path) -> dict[str, Pin]:
    """Return what MWAA's image of an Airflow version has.

    :param version: the Airflow version
    :param constraints: its constraints
    :param folder: for files in between
    """
    lines = [line.format(airflow=version.airflow) for line in IMAGE]
    found = compiled(lines, version, ["--constraints", str(constraints)], folder, what=f"Airflow {version.airflow}")
    return {name: pin for name, pin in found.items() if name not in NOT_THERE}


def compiled(
    lines: Iterable[str], version: Version, bounds: Sequence[str], folder: Path, *, what: str
) -> dict[str, Pin]:
    """Return every distribution that an installation on MWAA's platform would have.

    :param lines: of a requirements file
    :param version: the Airflow version
    :param bounds: further arguments of ``uv pip compile``
    :param folder: for files in between
    :param what: what is resolved, for messages
    :raises InstallFailed: with the resolver's reason
    """
    wanted = folder / "wanted.txt"
    wanted.write_text("\n".join(lines) + "\n")
    text = uv.run(
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", version.python),
        *("--python-platform", PLATFORM, *bounds, str(wanted)),
        what=what,
        folder=folder,
    )
    found = (LINE.match(line) for line in text.splitlines() if line and not line.startswith(("#", "-")))
    pins = [Pin(str(canonicalize_name(line[1])), line[2] or "", line[3] or "") for line in found if line]
    if not pins:
        raise InstallFailed(f"{what}: the resolver named no version")
    return {pin.name: pin for pin in pins}
