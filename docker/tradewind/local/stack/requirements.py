"""``requirements.txt`` as MWAA installs it: by pip, all lines or none, under constraints nobody can override."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from tradewind.local.constraints import ALL_OR_NOTHING, constrains_itself
from tradewind.local.errors import InstallFailed
from tradewind.local.stack import layout

LIMIT = 540.0
"""Seconds that MWAA gives the installation."""

ESSENTIAL = (
    *("apache-airflow", "flask-appbuilder", "Flask-Babel", "Flask-JWT-Extended", "Flask-Limiter", "Flask-Login"),
    *(
        "Flask-SQLAlchemy",
        "Flask-Session",
        "Flask-WTF",
        "Flask",
        "gunicorn",
        "billiard",
        "celery",
        "gevent",
        "greenlet",
    ),
    *("kombu", "vine", "SQLAlchemy-Utils", "SQLAlchemy", "statsd", "watchtower", "fluent-logger"),
)
"""What MWAA keeps at its own versions whatever the user asks for."""


NO_INDEX = (
    "this container has no way out, as in a private network on MWAA: `tradewind pack --wheels` puts every wheel into "
    "plugins.zip, and writes a requirements.txt that needs no index"
)


def install(requirements: Path, variables: Mapping[str, str], limit: float = LIMIT, *, private: bool = False) -> None:
    """Install a requirements file.

    :param requirements: the file; nothing happens where it names nothing
    :param variables: pip's environment
    :param limit: seconds
    :param private: whether there is no way to an index: pip tries it once
    :raises InstallFailed: with pip's reason
    """
    text = requirements.read_text()
    if not any(line.strip() and not line.strip().startswith("#") for line in text.splitlines()):
        return
    essential = _write("essential", _pins(ESSENTIAL))
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--constraint", str(essential), "--requirement", str(requirements)]
    if private:
        command += ["--retries", "0", "--timeout", "5"]
    if not constrains_itself(text):
        command += ["--constraint", str(_constraints())]
    try:
        done = subprocess.run(
            command, env={**variables, **_certificates()}, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InstallFailed(
            f"requirements.txt was not installed in {limit:.0f} s, which is all that MWAA gives it"
        ) from error
    print(done.stdout, end="", flush=True)
    if done.returncode != 0:
        what = f"requirements.txt cannot be installed:\n{done.stderr.strip()}\n{ALL_OR_NOTHING}"
        raise InstallFailed(f"{what}\n{NO_INDEX}" if private and "--no-index" not in text else what)


def _constraints() -> Path:
    """Return Airflow's constraints, or, where the images were made without, what is installed."""
    if layout.CONSTRAINTS.read_text().strip():
        return layout.CONSTRAINTS
    return _write("installed", _pins(found.metadata["Name"] for found in distributions()))


def _pins(names: Iterable[str]) -> Iterable[str]:
    for name in names:
        try:
            yield f"{name}=={version(name)}\n"
        except PackageNotFoundError:
            continue


def _write(name: str, lines: Iterable[str]) -> Path:
    path = layout.AIRFLOW.airflow / f"{name}.txt"
    path.write_text("".join(sorted(set(lines))))
    return path


def _certificates() -> dict[str, str]:
    """Return what makes pip trust the machine's own authorities, where the machine has some."""
    bundle = os.fspath(layout.SECRETS / "ca")
    return {"PIP_CERT": bundle, "SSL_CERT_FILE": bundle} if layout.secret("ca") else {}
