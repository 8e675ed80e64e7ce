"""An update of the embedded engine: what Airflow reads at its start is tried beside what runs, then taken over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tradewind.local import interpreter
from tradewind.local.interpreter import Interpreter
from tradewind.local.pull import Pull
from tradewind.local.stack import plugins, startup
from tradewind.local.state import State
from tradewind.local.versions import Version

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass
class Renewal:
    """The files of one update, and those that they replace.

    :param state: whose environment it is
    """

    state: State

    def __post_init__(self) -> None:
        self.trial = State(self.state.folder / "update")
        self._before = State(self.state.folder / "before-update")

    def fetch(self, client: S3Client, bucket: str, found: Mapping[str, str], tell: Callable[[str], None]) -> None:
        """Lay out what is in the bucket beside what is in use.

        :param client: for the S3 server
        :param bucket: the bucket's name
        :param found: ETag by key of all objects
        :param tell: called with one line for each thing worth telling
        :raises InvalidInput: for a plugins.zip that cannot be unpacked
        """
        self.clear()
        self.trial.airflow.mkdir(parents=True, mode=0o700)
        self.trial.dags.symlink_to(self.state.dags)
        Pull(self.trial, client, bucket, tell).lay_out(dict.fromkeys(found))

    def install(
        self, version: Version, constraints: Path | None, tell: Callable[[str], None], *, bare: bool
    ) -> Interpreter:
        """Return an interpreter with the new requirements.

        :raises InstallFailed: with the reason
        """
        wanted = self.trial.requirements if self.trial.requirements.exists() else None
        return interpreter.find(version, wanted, constraints, tell, self.trial.plugins, bare=bare)

    def prove(self, python: Path, variables: Mapping[str, str], forced: Mapping[str, str]) -> None:
        """Run the new startup.sh once, and load the new plugins.

        :param python: the interpreter
        :param variables: Airflow's environment
        :param forced: what startup.sh may not change
        :raises StartFailed: with what they say
        """
        environment = dict(variables)
        if self.trial.startup.exists():
            limit = float(os.environ.get("TRADEWIND_STARTUP_LIMIT") or startup.LIMIT)
            environment = {**startup.run(self.trial.startup, environment, limit, echo=False), **forced}
        environment["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(self.trial.plugins)
        plugins.check(self.trial.plugins, environment, python=python)

    def take_over(self) -> None:
        """Put the new files in the place of the old ones, which are kept."""
        self._before.airflow.mkdir(parents=True, exist_ok=True, mode=0o700)
        _move(self.state, self._before)
        _move(self.trial, self.state)

    def go_back(self) -> None:
        """Put the old files in their place again."""
        _move(self._before, self.state)

    def clear(self) -> None:
        """Remove what is in no use."""
        for each in (self.trial, self._before):
            shutil.rmtree(each.folder, ignore_errors=True)


def _move(source: State, target: State) -> None:
    """Move what Airflow reads at its start; what the source lacks, the target lacks then."""
    for old, new in (
        (source.plugins, target.plugins),
        (source.requirements, target.requirements),
        (source.startup, target.startup),
    ):
        if new.is_dir():
            shutil.rmtree(new)
        else:
            new.unlink(missing_ok=True)
        if old.exists():
            old.replace(new)
