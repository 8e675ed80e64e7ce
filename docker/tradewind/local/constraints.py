"""The constraints of an Airflow version: a file that was given, or the published one, downloaded once."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

from tradewind.local.errors import InvalidInput
from tradewind.local.state import cache_folder, write_private
from tradewind.local.versions import Version

PUBLISHED = "https://raw.githubusercontent.com/apache/airflow/constraints-{airflow}/constraints-{python}.txt"
DOWNLOAD_TIMEOUT = 5.0

OWN_CONSTRAINT = re.compile(r"-c |--constraint ")
"""What makes MWAA leave its own constraints away, searched for in every line, comments and names included."""

ALL_OR_NOTHING = (
    "MWAA would install none of its lines, start all the same, and every DAG that imports one of them would fail: "
    "mend requirements.txt"
)


class Unreachable(Exception):
    """The published file could not be downloaded."""


def find(version: Version, given: Path | None) -> Path:
    """Return the constraints file of a version.

    :param version: the Airflow version
    :param given: the file to take in place of the published one
    :raises InvalidInput: when the given file is missing
    :raises Unreachable: when there is none in the cache and it cannot be downloaded
    """
    if given is not None:
        if not given.is_file():
            raise InvalidInput(f"there is no constraints file {given}")
        return given
    kept = cache_folder() / "constraints" / f"{version.airflow}-{version.python}.txt"
    if kept.exists():
        return kept
    url = PUBLISHED.format(airflow=version.airflow, python=version.python)
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT) as answer:  # noqa: S310 - a constant
            text = answer.read().decode()
    except (OSError, ValueError) as error:
        raise Unreachable(str(getattr(error, "reason", error))) from error
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_private(kept, text)
    return kept


def constrains_itself(requirements: str) -> bool:
    """Say whether MWAA would leave Airflow's constraints away for the text of a requirements file."""
    return any(OWN_CONSTRAINT.search(line) for line in requirements.splitlines())
