"""A random sample of the chaos proof: what fails here is run again by the command that it prints."""

from __future__ import annotations

import os
import random
import secrets
from pathlib import Path

import pytest

from tests.stack import chaos, chaos_dag
from tests.stack.chaos_dag import KINDS as TASKS
from tests.stack.chaos_dag import kind, name
from tests.stack.chaos_events import KINDS, course
from tests.stack.fix_stack import chosen, stack_arguments
from tradewind.local.stack.services import BROKERS

SAMPLE = 40, 20, 4
"""Tasks, sensors, events."""


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_nothing_is_lost_and_nothing_done_twice(tmp_path: Path) -> None:
    seed = int(os.environ.get("TRADEWIND_SEED") or secrets.randbelow(10**6))
    draw = random.Random(f"{seed} environment")
    airflow, broker = draw.choice(chosen()), draw.choice(BROKERS)
    stack_arguments(airflow)  # skips where there is no Docker
    tasks, sensors, events = SAMPLE
    print(
        f"python -m tests.stack.chaos --seed {seed} --tasks {tasks} --sensors {sensors} --events {events} "
        f"--airflow {airflow} --broker {broker}"
    )

    assert chaos.prove(seed, airflow, tasks, sensors, events, tmp_path / "logs", broker) == []


def test_a_course_is_its_seed_and_has_each_kind() -> None:
    for seed in range(50):
        drawn = course(random.Random(seed), 15)
        assert drawn == course(random.Random(seed), 15)
        assert set(drawn) == set(KINDS)
        assert drawn.index("scale") < 5


def test_half_of_the_tasks_of_each_kind_wait_for_a_sensor() -> None:
    first = {name(number) for number in range(100)}
    assert len({name(number) for number in range(200)}) == 200
    assert all(sum(each.startswith(what) for each in first) in (16, 17) for what in TASKS)
    assert {kind(number) for number in range(6)} == set(TASKS)


def test_tasks_and_sensors_begin_side_by_side() -> None:
    made = chaos_dag.chaos(60, 30)
    order = sorted(made.tasks, key=lambda task: -task.priority_weight)
    first = [task.task_id for task in order if not task.upstream_task_ids][:20]
    assert 5 <= sum(each.startswith("arrived_") for each in first) <= 15
    assert sum(bool(task.upstream_task_ids) for task in made.tasks) == 30
