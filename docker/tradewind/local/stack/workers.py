"""The containers that are workers: more of them, and fewer."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tradewind.local.errors import LocalError
from tradewind.local.load import Load
from tradewind.local.stack import compose
from tradewind.local.stack.channel import Channel
from tradewind.local.stack.compose import Compose, Found
from tradewind.local.stack.scaling import QUIET, Scaler, Work, Worker

SERVICE = "worker"
LOOK = 1.0
"""Seconds between two looks at the load."""
LOG_LINES = 20_000
"""Lines of each container that are kept when it goes."""
GRACE = 90
"""Seconds that a container has for an orderly end, as on MWAA; an idle one needs few."""


class Containers:
    """The workers of one stack.

    :param project: drives Compose
    :param channel: asks inside
    :param keep: called with the host name of a worker that is gone and what it wrote
    """

    def __init__(self, project: Compose, channel: Channel, keep: Callable[[str, str], None]) -> None:
        self._compose = project
        self._channel = channel
        self._keep = keep
        self._lock = threading.Lock()  # Compose brings a service to a number: nobody else may be changing it meanwhile
        self.ended: set[str] = set()
        """The ids of those that were ended on purpose."""
        self.hidden = ""
        """The generation of those that are not workers yet: an update is trying them."""

    def load(self) -> Load:
        """Return the load of the environment."""
        return Load(**self._channel.ask("load"))

    def present(self) -> list[Worker]:
        """Return the workers, the oldest first; one that ended by itself too, for another takes its place."""
        found = [each for each in self._all() if self._counts(each)]
        return [Worker(each.id, each.healthy) for each in reversed(found)]

    def add(self, count: int, project: Compose | None = None) -> None:
        """Start so many more, with the variables of another project where one is given."""
        with self._lock:
            (project or self._compose).up(SERVICE, scale=len(self._all()) + count)

    def replace(self, found: Found) -> None:
        """Put another in the place of one that ended by itself."""
        with self._lock:
            if any(each.id == found.id and each.running for each in self._all()):
                return  # Compose started it again, when it was to start others
            self._keep(found.id[:12], compose.logs(found.id, LOG_LINES))
            compose.docker("rm", "--force", "--volumes", found.id)
            self._compose.up(SERVICE, scale=len(self._all()) + 1)

    def pause(self, worker: Worker) -> bool:
        """Have a worker take no tasks; say whether it answered."""
        return bool(self._channel.ask("pause", host=worker.host))

    def resume(self, worker: Worker) -> bool:
        """Have a worker take tasks again; say whether it answered."""
        return bool(self._channel.ask("resume", host=worker.host))

    def ask(self, worker: Worker) -> Work | None:
        """Return what a worker does, None when it does not answer."""
        answer = self._channel.ask("work", host=worker.host)
        return Work(**answer) if answer else None

    def end(self, workers: list[Worker], grace: int = GRACE) -> None:
        """End workers: their containers, and no others; Compose would end the newest."""
        ids = [each.id for each in workers]
        with self._lock:
            self.ended.update(ids)
            try:
                compose.docker("stop", "--time", str(grace), *ids, timeout=grace + compose.TIMEOUT)
                for worker in workers:
                    self._keep(worker.host, compose.logs(worker.id, LOG_LINES))
                compose.docker("rm", "--force", "--volumes", *ids)
            except LocalError:
                self.ended.difference_update(ids)  # whatever became of them, they are looked after again
                raise

    def _counts(self, found: Found) -> bool:
        return found.id not in self.ended and not (self.hidden and found.generation == self.hidden)

    def _all(self) -> list[Found]:
        return [each for each in compose.containers(self._compose.project) if each.service == SERVICE]


class Autoscaler:
    """Looks at the load again and again, in a thread.

    :param workers: the workers
    :param slots: tasks that a worker runs at once
    :param minimum: workers at least
    :param maximum: workers at most
    :param quiet: seconds that a worker takes no tasks before it is ended
    :param tell: called with one line for each thing worth telling
    :param changed: called when other workers are about to go than before
    """

    def __init__(
        self,
        workers: Containers,
        slots: int,
        minimum: int,
        maximum: int,
        *,
        quiet: float = QUIET,
        tell: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self._scaler = Scaler(workers, slots, minimum, maximum, tell=tell, quiet=quiet)
        self._tell = tell
        self._changed = changed
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tradewind-scale", daemon=True)

    @property
    def draining(self) -> list[str]:
        """The ids of the workers that take no tasks and will be ended."""
        return self._scaler.draining

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def retire(self, ids: list[str], seconds: float) -> None:
        """Have workers end their tasks and go, whatever the load; see :meth:`Scaler.retire`."""
        with self._lock:
            self._scaler.retire(ids, seconds)

    def stop(self) -> None:
        """Stop looking; what is being done is done to its end."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(GRACE)

    def _run(self) -> None:
        trouble, draining = "", self.draining
        while not self._stopping.wait(LOOK):
            try:
                with self._lock:
                    self._scaler.look()
                trouble = ""
            except LocalError as error:  # it outlives a scheduler or a database that is just being started again
                if str(error) != trouble and not self._stopping.is_set():
                    trouble = str(error)
                    self._tell(f"the load is not known: {trouble}")
            if draining != (draining := self.draining):
                self._changed()
