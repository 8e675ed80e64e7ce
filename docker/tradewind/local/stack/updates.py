"""Updates as MWAA does them: new containers beside the old ones, which go when the new ones are well, or back."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tradewind.local.errors import LocalError, StartFailed
from tradewind.local.stack import compose
from tradewind.local.stack.compose import Compose, Found
from tradewind.local.stack.layout import PINS
from tradewind.local.stack.scaling import Worker
from tradewind.local.stack.workers import LOG_LINES, SERVICE, Containers
from tradewind.local.sync import RESTART

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STRATEGIES = ("forced", "graceful")
"""MWAA's worker replacement strategies; the first is the default."""
LOOK = 1.0
"""Seconds between two looks at the bucket, and at the new containers."""
GRACEFUL = 12 * 3600.0
"""Seconds that the tasks of an old worker have in a graceful update, as on MWAA."""
FORCED = 5
"""Seconds from SIGTERM to SIGKILL for a worker that is not waited for."""
GRACES = {"webserver": 10, "scheduler": 20, "hybrid": 90}
"""Seconds for an orderly end of the others."""


@dataclass(frozen=True)
class Object:
    """One version of an object.

    :param etag: of its content
    :param version: its id in the bucket
    """

    etag: str
    version: str


Objects = Mapping[str, Object]


def objects(client: S3Client, bucket: str) -> Objects:
    """Return the newest versions of what Airflow reads at its start alone, by key."""
    from botocore.exceptions import ClientError

    found = {}
    for key in RESTART:
        try:
            head = client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
        else:
            found[key] = Object(head["ETag"], head.get("VersionId", "null"))
    return found


def pins(wanted: Objects) -> dict[str, str]:
    """Return the variables that make a container take just these versions."""
    found = {variable: wanted[key].version if key in wanted else "" for key, variable in PINS.items()}
    return {**found, "TRADEWIND_GENERATION": secrets.token_hex(4)}


class Updates:
    """Looks at the bucket again and again, in a thread, and updates the environment when it has to.

    :param project: drives Compose for what the environment is
    :param trial: drives Compose for what it may become
    :param workers: the workers
    :param services: the names of the services that are Airflow
    :param minimum: workers at least
    :param look: returns what is in the bucket
    :param retire: called with the ids of the old workers and the seconds they have, for a graceful update; None to
        end them at once
    :param turn: called when another web server is to answer
    :param reason: returns why a container ended, with its last lines
    :param keep: called with a name and what a container wrote that is gone
    :param tell: called with a line (or several) for each thing worth telling
    :param stopping: set when the environment ends
    :param patience: seconds that the new containers have
    """

    def __init__(
        self,
        project: Compose,
        trial: Compose,
        workers: Containers,
        services: tuple[str, ...],
        minimum: int,
        *,
        look: Callable[[], Objects],
        retire: Callable[[list[str], float], None] | None,
        turn: Callable[[], None],
        reason: Callable[[Found], str],
        keep: Callable[[str, str], None],
        tell: Callable[[str], None],
        stopping: threading.Event,
        patience: float,
    ) -> None:
        self._compose = project
        self._trial = trial
        self._workers = workers
        self._services = services
        self._counts = {name: minimum if name == SERVICE else 1 for name in services}
        self._look = look
        self._retire_workers = retire
        self._turn = turn
        self._reason = reason
        self._keep = keep
        self._tell = tell
        self._stopping = stopping
        self._patience = patience
        self._variables: dict[str, str] = {}
        self._current: Objects = {}
        self._refused: Objects | None = None
        self._candidate = ""
        self._leaving: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="tradewind-update", daemon=True)

    def pin(self, variables: Mapping[str, str]) -> None:
        """Write down which versions the environment starts with.

        :param variables: all others that the Compose file asks for
        """
        self._current = self._look()
        self._variables = {**variables, **pins(self._current)}
        self._compose.write(self._variables)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait for the end of what is being done, after ``stopping`` was set."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def concerns(self, found: Found) -> bool:
        """Say whether a container is one that an update is starting or ending: nobody else looks after it."""
        return found.id in self._leaving or (bool(self._candidate) and found.generation == self._candidate)

    def _run(self) -> None:
        seen: Objects | None = None
        while not self._stopping.wait(LOOK):
            try:
                wanted = self._look()
            except Exception:  # noqa: S112 - the sync tells when the bucket is away
                continue
            if _same(wanted, self._current) or _same(wanted, self._refused):
                seen = None
            elif wanted == seen:
                self._update(wanted)
            seen = wanted  # one look more: somebody may be saving several files

    def _update(self, wanted: Objects) -> None:
        changed = [name for key, name in RESTART.items() if _etag(wanted, key) != _etag(self._current, key)]
        what, began = " and ".join(changed), time.monotonic()
        self._tell(f"{what} changed: updating; the old containers work on until the new ones are well")
        try:
            old = self._replace(wanted)
        except LocalError as error:
            self._refused = wanted
            if not self._stopping.is_set():
                self._tell(f"the update of {what} failed, the environment works on with the files before it:\n{error}")
            return
        self._refused = None
        try:
            self._retire(old)
        except LocalError as error:
            if not self._stopping.is_set():
                self._tell(f"a container of before the update could not be ended: {error}")
        self._tell(f"updated {what} in {time.monotonic() - began:.0f} s")

    def _replace(self, wanted: Objects) -> list[Found]:
        """Bring the environment to other versions, or back to those it has.

        :return: the old containers, which are to end
        :raises LocalError: with the reason why the new containers did not come up
        """
        before, variables = self._variables, {**self._variables, **pins(wanted)}
        old = [each for each in self._airflow() if each.generation != variables["TRADEWIND_GENERATION"]]
        self._trial.write({**variables, "TRADEWIND_BESIDE": "1"})
        self._candidate = self._workers.hidden = variables["TRADEWIND_GENERATION"]
        try:
            self._begin()
            self._wait(sum(self._counts.values()))
            self._replace_web(variables, old)
        except BaseException:
            if not self._stopping.is_set():
                self._go_back(before)
            raise
        finally:
            self._candidate = self._workers.hidden = ""
        self._current, self._variables = wanted, variables
        return old

    def _begin(self) -> None:
        """Start as many new containers as the environment has at least; the old ones go on."""
        for name, count in self._counts.items():
            if name == "webserver":  # the others do not find it before it is known to be well
                self._trial.run(name)
            elif name == SERVICE:
                self._workers.add(count, self._trial)
            else:
                self._trial.up(name, scale=1 + len([each for each in self._airflow() if each.service == name]))

    def _wait(self, count: int) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            found = self._new()
            for each in found:
                if not each.running:
                    raise StartFailed(self._reason(each))
            if len(found) >= count and all(each.healthy for each in found):
                return
            if time.monotonic() > deadline:
                ill = [each for each in found if not each.healthy]
                what = "\n".join(f"{each.service}:\n{compose.logs(each.id, 15)}" for each in ill)
                raise StartFailed(f"the new containers are not well after {self._patience:.0f} s\n{what}")
            if self._stopping.wait(LOOK):
                raise StartFailed("the environment is being stopped")

    def _replace_web(self, variables: Mapping[str, str], old: Iterable[Found]) -> None:
        """Put one that others find in the place of the web server that was tried, then have it answer."""
        tried = [each for each in self._new() if each.service == "webserver"]
        there = [each for each in old if each.service == "webserver"]
        self._compose.write(variables)  # what ends from now on is replaced by new ones
        self._end(tried)
        self._compose.up("webserver", scale=len(there) + 1)
        self._wait(sum(self._counts.values()))
        self._turn()
        self._end(there)

    def _go_back(self, before: Mapping[str, str]) -> None:
        """Remove what is new, and start what was ended for it."""
        self._compose.write(before)
        self._end(self._new(), "update-{0}")
        there = {each.service for each in self._airflow()}
        for name in self._services:
            if name not in there:
                self._compose.up(name)

    def _retire(self, old: list[Found]) -> None:
        """End the old containers: the workers as the strategy says, the others at once.

        The workers come first: as long as old and new ones count as workers there are too many of them.
        """
        workers = [each.id for each in old if each.service == SERVICE]
        if self._retire_workers is not None:
            self._retire_workers(workers, GRACEFUL)
        elif workers:
            self._workers.end([Worker(id, ready=True) for id in workers], grace=FORCED)
        self._end([each for each in old if each.service not in (SERVICE, "webserver")])

    def _end(self, found: list[Found], name: str = "{0}-{1}") -> None:
        """End containers, and keep what they wrote under a name made of the service and the id."""
        self._leaving.update(each.id for each in found)
        for each in found:
            grace = GRACES.get(each.service, FORCED)
            compose.docker("stop", "--time", str(grace), each.id, timeout=grace + compose.TIMEOUT)
            self._keep(name.format(each.service, each.id[:12]), compose.logs(each.id, LOG_LINES))
            compose.docker("rm", "--force", "--volumes", each.id)

    def _new(self) -> list[Found]:
        return [each for each in self._airflow() if each.generation == self._candidate]

    def _airflow(self) -> list[Found]:
        found = compose.containers(self._compose.project)
        return [each for each in found if each.service in self._services and each.id not in self._leaving]


def _etag(found: Objects, key: str) -> str | None:
    return found[key].etag if key in found else None


def _same(one: Objects, other: Objects | None) -> bool:
    return other is not None and all(_etag(one, key) == _etag(other, key) for key in RESTART)
