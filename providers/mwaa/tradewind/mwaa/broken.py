"""Tells in the terminal which DAG files Airflow cannot import, as soon as it knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tradewind.local.api import Api, ApiError
from tradewind.mwaa.terminal import Terminal

LINES = 6
"""How much of a traceback is told: its end names the line and the reason."""


class BrokenDags:
    """Compares the import errors that Airflow knows with those told before.

    :param api: of the environment
    :param dags: the folder that Airflow reads
    :param terminal: where to talk
    """

    def __init__(self, api: Api, dags: Path, terminal: Terminal) -> None:
        self._api = api
        self._dags = dags
        self._terminal = terminal
        self._told: dict[str, str] = {}

    def look(self) -> None:
        """Tell of each file that broke, broke in another way or was mended since the last look."""
        try:
            errors = self._api.import_errors()
        except (OSError, ApiError, ValueError):  # a web server that restarts: the next look sees them
            return
        found = {self._name(error): str(error["stack_trace"]).strip() for error in errors}
        for name, trace in found.items():
            if self._told.get(name) != trace:
                lines = "\n".join(f"  {line}" for line in trace.splitlines()[-LINES:])
                self._terminal.warn(f"{name} cannot be imported:\n{lines}")
        for name in self._told.keys() - found.keys():
            self._terminal.tell(f"{name} is no longer broken")
        self._told = found

    def _name(self, error: dict[str, Any]) -> str:
        """Return the file as its author knows it; Airflow 2 gives the whole path."""
        path = Path(error["filename"])
        return str(Path("dags") / (path.relative_to(self._dags) if path.is_relative_to(self._dags) else path))
