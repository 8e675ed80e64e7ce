"""The Airflow versions that Amazon MWAA offers, and what belongs to each."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from tradewind.local.errors import InvalidInput


@dataclass(frozen=True)
class Version:
    """One version of Airflow on MWAA.

    :param airflow: the version, like ``3.3.1``
    :param python: MWAA's Python for it
    :param released: the day of Airflow's release
    """

    airflow: str
    python: str
    released: dt.date

    @property
    def major(self) -> int:
        """2 or 3."""
        return int(self.airflow.split(".")[0])

    @property
    def newer_than(self) -> dt.date:
        """The day whose index stands in for the constraints where those cannot be had: five days after the release."""
        return self.released + dt.timedelta(days=5)


VERSIONS = {
    version.airflow: version
    for version in (
        Version("2.10.3", "3.11", dt.date(2024, 11, 5)),
        Version("2.11.2", "3.12", dt.date(2026, 3, 9)),
        Version("3.0.6", "3.12", dt.date(2025, 8, 29)),
        Version("3.2.1", "3.12", dt.date(2026, 4, 22)),
        Version("3.3.1", "3.12", dt.date(2026, 8, 12)),
    )
}
DEFAULT = "3.3.1"


def version(name: str) -> Version:
    """Return one of the versions.

    :raises InvalidInput: for any other
    """
    if name not in VERSIONS:
        raise InvalidInput(f"unknown Airflow version {name}: choose one of {', '.join(VERSIONS)}")
    return VERSIONS[name]
