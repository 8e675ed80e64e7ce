"""How many workers there are: the rule, the way down, and what happens when a task comes in between."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from tradewind.local.errors import InvalidInput
from tradewind.local.load import Load
from tradewind.local.stack import sizes
from tradewind.local.stack.compose import Machine
from tradewind.local.stack.scaling import QUIET, STEADY, Scaler, Work, Worker, needed

GB = 1 << 30


@pytest.mark.parametrize(
    ("tasks", "wanted"), [(0, 1), (1, 1), (5, 1), (6, 2), (10, 2), (11, 3), (49, 10), (50, 10), (1000, 10)]
)
def test_the_rule_is_that_of_mwaa(tasks: int, wanted: int) -> None:
    assert needed(tasks, slots=5, minimum=1, maximum=10) == wanted


def test_there_are_never_fewer_than_the_minimum() -> None:
    assert needed(0, slots=5, minimum=3, maximum=10) == 3


@dataclass
class Member:
    """A worker as Celery has it: it takes tasks from the queue while it listens."""

    id: str
    listens: bool = True
    ready: bool = True
    answers: bool = True
    tasks: list[float] = field(default_factory=list)
    """When each of its tasks ends."""


class World:
    """Workers that behave as Celery's do, in a time of their own; they count what is ended with tasks in it."""

    def __init__(self, slots: int = 5) -> None:
        self.now = 0.0
        self.slots = slots
        self.queue: list[float] = []
        self.members: list[Member] = []
        self.broken = 0
        self.done = 0
        self.made = 0
        self.add(1)

    def load(self) -> Load:
        hosts = {each.id[:12]: len(each.tasks) for each in self.members if each.tasks}
        return Load(sum(hosts.values()), len(self.queue), hosts)

    def present(self) -> list[Worker]:
        return [Worker(each.id, each.ready) for each in self.members]

    def add(self, count: int) -> None:
        for _ in range(count):
            self.made += 1
            self.members.append(Member(f"{self.made:064d}"[::-1]))

    def pause(self, worker: Worker) -> bool:
        return self._told(worker, False)

    def resume(self, worker: Worker) -> bool:
        return self._told(worker, True)

    def _told(self, worker: Worker, listens: bool) -> bool:
        member = self.member(worker)
        if member.answers:
            member.listens = listens
        return member.answers

    def ask(self, worker: Worker) -> Work | None:
        member = self.member(worker)
        return Work(len(member.tasks), ["default"] if member.listens else []) if member.answers else None

    def end(self, workers: list[Worker]) -> None:
        for worker in workers:
            self.broken += len(self.member(worker).tasks)
            self.members.remove(self.member(worker))

    def member(self, worker: Worker) -> Member:
        return next(each for each in self.members if each.id == worker.id)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for member in self.members:
            self.done += sum(end <= self.now for end in member.tasks)
            member.tasks = [end for end in member.tasks if end > self.now]
            while self.queue and member.listens and len(member.tasks) < self.slots:
                member.tasks.append(self.now + self.queue.pop(0))


def scaler(world: World, minimum: int = 1, maximum: int = 10) -> Scaler:
    world.add(minimum - 1)
    return Scaler(world, world.slots, minimum, maximum, clock=lambda: world.now)


def live(world: World, scale: Scaler, seconds: float) -> None:
    for _ in range(int(seconds)):
        scale.look()
        world.pass_time(1)


def test_workers_come_at_the_first_look_and_go_when_they_were_quiet() -> None:
    world = World()
    scale = scaler(world)
    world.queue = [10.0] * 23

    scale.look()
    assert len(world.members) == 5

    live(world, scale, 12)
    assert world.done == 23
    assert len(world.members) == 5
    live(world, scale, STEADY + QUIET + 2)
    assert len(world.members) == 1
    assert world.broken == 0


def test_a_task_that_came_while_a_worker_was_told_to_pause_keeps_it() -> None:
    world = World()
    scale = scaler(world)
    world.add(1)
    live(world, scale, STEADY + 2)
    (paused,) = scale.draining
    late = world.member(Worker(paused, True))
    late.tasks.append(world.now + QUIET + 40)  # it was on its way when the pause was told

    live(world, scale, QUIET + 10)
    assert len(world.members) == 2
    live(world, scale, 60 + QUIET)
    assert [each.id for each in world.members] != [paused]
    assert len(world.members) == 1
    assert world.broken == 0


def test_a_worker_that_does_not_answer_is_not_ended() -> None:
    world = World()
    scale = scaler(world)
    world.add(1)
    live(world, scale, STEADY + 2)
    (paused,) = scale.draining
    world.member(Worker(paused, True)).answers = False

    live(world, scale, 10 * QUIET)
    assert len(world.members) == 2


def test_a_paused_worker_that_came_back_to_its_queue_is_paused_again() -> None:
    world = World()
    scale = scaler(world)
    world.add(1)
    live(world, scale, STEADY + 2)
    (paused,) = scale.draining
    world.member(Worker(paused, True)).listens = True

    live(world, scale, QUIET)
    assert len(world.members) == 2
    live(world, scale, QUIET + 2)
    assert len(world.members) == 1
    assert world.broken == 0


def test_work_that_comes_meanwhile_keeps_the_paused_before_others_are_started() -> None:
    world = World()
    scale = scaler(world)
    world.add(2)
    live(world, scale, STEADY + 2)
    assert len(scale.draining) == 2
    made = world.made

    world.queue = [5.0] * 18
    scale.look()
    assert scale.draining == []
    assert world.made == made + 1
    assert all(each.listens for each in world.members)


def test_who_was_kept_and_forgot_its_queue_is_told_again() -> None:
    world = World()
    scale = scaler(world)
    world.add(1)
    live(world, scale, STEADY + 2)
    world.queue = [30.0] * 6
    scale.look()
    world.members[1].listens = False  # Celery connected anew to the broker

    live(world, scale, QUIET)
    assert all(each.listens for each in world.members)


def test_one_that_is_just_starting_is_not_taken_for_the_one_that_serves() -> None:
    world = World()
    scale = scaler(world)
    world.add(1)
    world.members[1].ready = False
    live(world, scale, 60)
    assert scale.draining == []
    world.members[1].ready = True
    live(world, scale, STEADY + QUIET + 2)
    assert len(world.members) == 1


@pytest.mark.parametrize("seed", range(20))
def test_no_task_is_ended_whatever_comes_when(seed: int) -> None:
    rng = random.Random(seed)
    world = World(slots=rng.randint(1, 6))
    minimum = rng.randint(1, 2)
    scale = scaler(world, minimum, rng.randint(3, 9))
    given = 0
    for _ in range(60):
        count = rng.choice((0, 0, 1, rng.randint(1, 60)))
        given += count
        world.queue += [rng.uniform(0.5, 90) for _ in range(count)]
        live(world, scale, rng.uniform(1, STEADY + QUIET + 10))
    while world.done < given and world.now < 100_000:
        live(world, scale, 10)
    live(world, scale, STEADY + 2 * QUIET)

    assert world.broken == 0
    assert world.done == given
    assert len(world.members) == minimum


def test_the_classes_are_those_of_the_guide() -> None:
    found = {each.name: (each.slots, each.worker.cpus, each.worker.memory) for each in sizes.CLASSES.values()}
    assert found == {
        "mw1.micro": (3, 1, 3),
        "mw1.small": (5, 1, 2),
        "mw1.medium": (10, 2, 4),
        "mw1.large": (20, 4, 8),
        "mw1.xlarge": (40, 8, 24),
        "mw1.2xlarge": (80, 16, 48),
    }


def plan(name: str | None = None, **others: object) -> sizes.Plan:
    given: dict[str, object] = {"workers": None, "minimum": None, "maximum": None, "options": {}, **others}
    return sizes.plan(name, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "others", "reason"),
    [
        ("mw1.huge", {}, r"there is no environment class 'mw1.huge': choose one of mw1.micro, mw1.small"),
        (None, {"workers": 0}, "an environment needs a worker at least: 0 were asked for"),
        (None, {"maximum": 0}, "an environment needs a worker at least: 0 were asked for"),
        (None, {"workers": 2, "maximum": 3}, "--workers is a fixed number"),
        (None, {"minimum": 4, "maximum": 3}, "--max-workers 3 is less than the 4 workers"),
        ("micro", {"maximum": 2}, "mw1.micro has one container for scheduler and worker"),
        (None, {"options": {sizes.AUTOSCALE: "7"}}, "celery.worker_autoscale=7 is not what Celery takes"),
        (None, {"options": {sizes.AUTOSCALE: "2,7"}}, "celery.worker_autoscale=2,7 is not what Celery takes"),
    ],
)
def test_sizes_that_cannot_be_are_refused(name: str | None, others: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        plan(name, **others)


def test_celerys_own_option_says_how_many_tasks_a_worker_runs() -> None:
    assert plan("large").slots == 20
    assert plan("large", options={sizes.AUTOSCALE: "7,3"}).slots == 7


@pytest.mark.parametrize(("memory", "most"), [(4, 1), (8, 2), (16, 4), (24, 6), (256, 10)])
def test_the_machines_memory_bounds_the_workers_where_nobody_says_how_many(memory: int, most: int) -> None:
    assert plan().most(Machine(2, memory * GB)) == most
    assert plan(minimum=3).most(Machine(2, memory * GB)) == max(3, most)
    assert plan(maximum=7).most(Machine(2, memory * GB)) == 7


def test_a_machine_smaller_than_the_class_is_told_and_gets_what_it_has() -> None:
    machine = Machine(2, 16 * GB)
    xlarge = plan("xlarge", maximum=3)

    assert list(xlarge.warnings(machine)) == [
        "mw1.xlarge has 8 vCPU for each worker and Docker here has 2: tasks run, slower than on MWAA",
        "mw1.xlarge has 24 GB for each worker and Docker here has 16.0 GB: "
        "tasks that need more fail here and not on MWAA",
    ]
    assert xlarge.variables(machine)["TRADEWIND_WORKER_CPUS"] == "2"
    assert list(plan(maximum=10).warnings(machine)) == [
        "10 workers of mw1.small may take 20 GB and Docker here has 16.0 GB: they may run out of memory together"
    ]
    assert list(plan().warnings(machine)) == []


def test_a_worker_of_before_an_update_ends_its_tasks_and_goes_whatever_the_load() -> None:
    world = World()
    scale = scaler(world, maximum=3)
    world.queue = [60.0] * 3
    live(world, scale, 2)
    old = world.members[0].id
    world.add(1)

    scale.retire([old], 1000)
    world.queue = [30.0] * 14  # more than the others have room for: it is not taken back
    live(world, scale, 30)
    assert not next(each for each in world.members if each.id == old).listens
    assert len(world.members) == 4  # the three there may be, and the one that goes
    live(world, scale, 60 + 2 * QUIET)

    assert old not in [each.id for each in world.members]
    assert (world.broken, world.done) == (0, 17)


def test_a_worker_of_before_an_update_that_takes_too_long_is_ended_with_its_tasks() -> None:
    world = World()
    scale = scaler(world)
    world.queue = [10_000.0]
    live(world, scale, 2)
    old = world.members[0].id

    scale.retire([old], 100)
    live(world, scale, 95)
    assert old in [each.id for each in world.members]
    live(world, scale, 10)

    assert old not in [each.id for each in world.members]
    assert world.broken == 1
