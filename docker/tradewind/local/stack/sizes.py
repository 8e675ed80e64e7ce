"""The sizes of an environment: MWAA's classes, and how many workers there may be on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tradewind.local.errors import InvalidInput
from tradewind.local.stack import compose

DEFAULT = "mw1.small"
MOST = 10
"""Workers at most where nobody says how many, as on MWAA."""
SHARE = 0.5
"""Of the machine's memory, what the limits of the workers take together where nobody says how many there may be."""
AUTOSCALE = "AIRFLOW__CELERY__WORKER_AUTOSCALE"
GB = 1 << 30


@dataclass(frozen=True)
class Size:
    """What a container may take.

    :param cpus: in cores
    :param memory: in GB (2**30 bytes)
    """

    cpus: int
    memory: int


@dataclass(frozen=True)
class EnvironmentClass:
    """One of MWAA's environment classes.

    :param name: MWAA's name
    :param slots: tasks that a worker runs at once
    :param worker: the size of a worker; of the one container that is worker and scheduler where `hybrid`
    :param web: the size of a web server
    :param hybrid: whether scheduler and worker are one container
    """

    name: str
    slots: int
    worker: Size
    web: Size
    hybrid: bool = False


# Figures from MWAA's guide, "Configuring the Amazon MWAA environment class". A scheduler is as large as a worker.
CLASSES = {
    each.name: each
    for each in (
        EnvironmentClass("mw1.micro", 3, Size(1, 3), Size(1, 3), hybrid=True),
        EnvironmentClass("mw1.small", 5, Size(1, 2), Size(1, 2)),
        EnvironmentClass("mw1.medium", 10, Size(2, 4), Size(1, 2)),
        EnvironmentClass("mw1.large", 20, Size(4, 8), Size(2, 4)),
        EnvironmentClass("mw1.xlarge", 40, Size(8, 24), Size(4, 12)),
        EnvironmentClass("mw1.2xlarge", 80, Size(16, 48), Size(8, 24)),
    )
}


@dataclass(frozen=True)
class Plan:
    """The size of one environment.

    :param size: its class
    :param slots: tasks that a worker runs at once: those of the class, or of the option ``celery.worker_autoscale``
    :param minimum: workers at least
    :param maximum: workers at most; what the machine bears when None
    """

    size: EnvironmentClass
    slots: int
    minimum: int
    maximum: int | None

    @property
    def services(self) -> tuple[str, ...]:
        """The services of Airflow."""
        return ("webserver", "hybrid") if self.size.hybrid else ("webserver", "scheduler", "worker")

    @property
    def profile(self) -> str:
        """The profile of the Compose file that has them."""
        return "hybrid" if self.size.hybrid else "apart"

    @property
    def working(self) -> str:
        """The service that runs tasks."""
        return self.services[-1]

    def most(self, machine: compose.Machine) -> int:
        """Return how many workers there may be on a machine."""
        if self.maximum is not None:
            return self.maximum
        if self.size.hybrid:
            return 1
        borne = int(machine.memory * SHARE) // (self.size.worker.memory * GB)
        return max(self.minimum, min(MOST, borne))

    def variables(self, machine: compose.Machine) -> dict[str, str]:
        """Return what the Compose file asks for; Docker refuses more cores than there are."""
        found = {"TRADEWIND_SLOTS": str(self.slots), "TRADEWIND_WORKERS": str(self.minimum)}
        # As MWAA has it by default: half as much again as the workers can run.
        found["TRADEWIND_PARALLELISM"] = str(max(32, self.most(machine) * self.slots * 3 // 2))
        for name, size in (("WEB", self.size.web), ("WORKER", self.size.worker)):
            found[f"TRADEWIND_{name}_CPUS"] = str(min(size.cpus, machine.cpus))
            found[f"TRADEWIND_{name}_MEMORY"] = f"{size.memory}g"
        # What lies there is of a container's memory: half of it, so that who fills it is told, and none is ended.
        found["TRADEWIND_TMP"] = f"{min(self.size.worker.memory, self.size.web.memory) * 512}m"
        return found

    def warnings(self, machine: compose.Machine) -> Iterator[str]:
        """Say where the machine is smaller than the class."""
        worker, name = self.size.worker, self.size.name
        memory = machine.memory / GB
        if worker.cpus > machine.cpus:
            yield (
                f"{name} has {worker.cpus} vCPU for each worker and Docker here has {machine.cpus}: "
                "tasks run, slower than on MWAA"
            )
        least = self.minimum * worker.memory
        if worker.memory > memory:
            yield (
                f"{name} has {worker.memory} GB for each worker and Docker here has {memory:.1f} GB: "
                "tasks that need more fail here and not on MWAA"
            )
        elif least > memory:
            yield f"{self.minimum} workers of {name} may take {least} GB and Docker here has {memory:.1f} GB"
        elif self.maximum is not None and self.maximum * worker.memory > memory:
            yield (
                f"{self.maximum} workers of {name} may take {self.maximum * worker.memory} GB and Docker here has "
                f"{memory:.1f} GB: they may run out of memory together"
            )


def plan(
    name: str | None,
    *,
    workers: int | None,
    minimum: int | None,
    maximum: int | None,
    options: Mapping[str, str],
) -> Plan:
    """Return the size of an environment.

    :param name: its class, ``mw1.`` may be left out; the default one when None
    :param workers: a fixed number of workers
    :param minimum: workers at least, otherwise
    :param maximum: workers at most, otherwise
    :param options: Airflow's configuration as variables
    :raises InvalidInput: for what cannot be
    """
    chosen = CLASSES.get(name or DEFAULT) or CLASSES.get(f"mw1.{name}")
    if chosen is None:
        raise InvalidInput(f"there is no environment class {name!r}: choose one of {', '.join(CLASSES)}")
    if workers is not None:
        if minimum is not None or maximum is not None:
            raise InvalidInput("--workers is a fixed number: leave it out, or --min-workers and --max-workers")
        minimum = maximum = workers
    least = 1 if minimum is None else minimum
    for number in (least, maximum):
        if number is not None and number < 1:
            raise InvalidInput(f"an environment needs a worker at least: {number} were asked for")
    if maximum is not None and maximum < least:
        raise InvalidInput(f"--max-workers {maximum} is less than the {least} workers that there are at least")
    if chosen.hybrid and (least, maximum or 1) != (1, 1):
        raise InvalidInput(f"{chosen.name} has one container for scheduler and worker: it has no further workers")
    return Plan(chosen, _slots(chosen, options), least, maximum)


def _slots(chosen: EnvironmentClass, options: Mapping[str, str]) -> int:
    given = options.get(AUTOSCALE)
    if given is None:
        return chosen.slots
    most, comma, least = given.partition(",")
    if not comma or not most.strip().isdigit() or not least.strip().isdigit() or not 0 < int(most) >= int(least):
        usual = f"{chosen.slots},{chosen.slots}"
        raise InvalidInput(f"celery.worker_autoscale={given} is not what Celery takes: write MOST,LEAST, like {usual}")
    return int(most)
