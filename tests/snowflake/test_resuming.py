"""Each statement is executed once, whenever a try dies, and none runs on after a kill."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from inspect import unwrap
from typing import Any

import pytest

from tests.fix_snowflake import SnowflakeDatabase
from tests.snowflake.server import SnowflakeServer
from tradewind.hooks.compat import AIRFLOW_VERSION, TaskDeferred
from tradewind.hooks.errors import PermanentError
from tradewind.operators.jobs.resuming import JobName
from tradewind.snowflake.operators import SnowflakeOperator
from tradewind.snowflake.triggers import SnowflakeTrigger

Make = Callable[..., SnowflakeOperator]
MakeContext = Callable[..., Any]


@pytest.fixture
def server(snowflake_database: SnowflakeDatabase) -> SnowflakeServer:
    return snowflake_database.server


@pytest.fixture
def work(request: pytest.FixtureRequest, context: MakeContext) -> MakeContext:
    """Return a function that makes a context of this test's own run: all tests share the history."""
    name = request.node.name

    def make(task: Any, **given: Any) -> Any:
        return context(task, **{"run_id": name, **given})

    return make


def run(task: SnowflakeOperator, context: Any) -> Any:
    return unwrap(type(task).execute)(task, context)


def statuses(server: SnowflakeServer, text: str) -> list[str]:
    return [each["status"] for each in server.jobs() if text in each["sql"]]


def test_a_retry_finds_what_an_earlier_try_submitted(
    operator: Make, work: MakeContext, server: SnowflakeServer
) -> None:
    sql = "SELECT SYSTEM$WAIT(1), 'found'"
    sql = "SELECT SYSTEM$WAIT(1.01)"
    first = operator(sql, wait_for_completion=False)
    id = first.execute(work(first, try_number=1))
    again = operator(sql)

    assert again.execute(work(again, try_number=2)) == [("waited 1.01 seconds",)]
    done = operator(sql)
    assert done.execute(work(done, try_number=3)) == [("waited 1.01 seconds",)]
    assert [each["id"] for each in server.jobs("SYSTEM$WAIT(1.01)")] == [id]


def test_several_statements_are_found_as_one(operator: Make, work: MakeContext, server: SnowflakeServer) -> None:
    sql = "SELECT SYSTEM$WAIT(0.51); SELECT 'last of several'"
    first = operator(sql, wait_for_completion=False)
    first.execute(work(first, try_number=1))
    again = operator(sql)

    assert again.execute(work(again, try_number=2)) == [("last of several",)]
    assert len(statuses(server, "last of several")) == 1


@pytest.mark.parametrize("after", [False, True], ids=["the request is lost", "the answer is lost"])
@pytest.mark.parametrize("kind", ["drop", "status"])
def test_a_request_that_breaks_submits_nothing_twice(
    operator: Make, work: MakeContext, server: SnowflakeServer, kind: str, after: bool
) -> None:
    text = f"broken {kind} {after}"
    server.faults({"path": "query-request", "kind": kind, "after": after, "count": 1, "body": text})
    task = operator(f"SELECT '{text}'")

    assert task.execute(work(task)) == [(text,)]
    assert len(statuses(server, text)) == 1


def test_a_statement_that_failed_runs_again(
    operator: Make, work: MakeContext, snowflake_database: SnowflakeDatabase
) -> None:
    sql = f"INSERT INTO {snowflake_database.name}.S.later VALUES (1)"
    for number in (1, 2):
        task = operator(sql)
        with pytest.raises(PermanentError):
            task.execute(work(task, try_number=number))
    snowflake_database.query("CREATE TABLE later (i INT)")
    task = operator(sql)
    task.execute(work(task, try_number=3))

    names = [JobName.parse(each["tag"].split()[0]) for each in snowflake_database.server.jobs(sql)]
    assert [name.attempt for name in names if name] == [1, 2, 3]
    assert snowflake_database.query("SELECT * FROM later") == [(1,)]


def test_two_tries_at_the_same_time_run_it_once(operator: Make, work: MakeContext, server: SnowflakeServer) -> None:
    tasks = [operator("SELECT SYSTEM$WAIT(0.52)") for _ in range(4)]
    made = [work(task, try_number=number) for number, task in enumerate(tasks, 1)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, tasks, made))

    assert results == [[("waited 0.52 seconds",)]] * 4
    assert len(statuses(server, "SYSTEM$WAIT(0.52)")) == 1


def test_a_history_that_lags_submits_nothing_twice(operator: Make, work: MakeContext, server: SnowflakeServer) -> None:
    server.set_history(delay=60)
    for number in (1, 2):
        task = operator("SELECT 'lagging'")
        assert task.execute(work(task, try_number=number)) == [("lagging",)]

    assert len(statuses(server, "lagging")) == 1


def test_a_cleared_task_is_new_work_and_stops_the_old(
    operator: Make, work: MakeContext, server: SnowflakeServer
) -> None:
    slow = operator("SELECT SYSTEM$WAIT(72)", wait_for_completion=False)
    slow.execute(work(slow, try_number=1, max_tries=0))
    edited = operator("SELECT 'edited'")

    assert edited.execute(work(edited, try_number=2, max_tries=1)) == [("edited",)]
    assert statuses(server, "SYSTEM$WAIT(72)") == ["ABORTED"]


def test_the_same_sql_runs_again_after_a_clear(operator: Make, work: MakeContext, server: SnowflakeServer) -> None:
    for clears in (0, 1):
        task = operator("SELECT 'cleared'")
        task.execute(work(task, try_number=1 + clears, max_tries=clears))

    assert len(statuses(server, "'cleared'")) == 2


def test_other_tasks_are_left_alone(operator: Make, work: MakeContext, server: SnowflakeServer) -> None:
    slow = operator("SELECT SYSTEM$WAIT(73)", wait_for_completion=False)
    id = slow.execute(work(slow, map_index=0))
    other = operator("SELECT 1")
    other.execute(work(other, map_index=1))

    assert statuses(server, "SYSTEM$WAIT(73)") == ["RUNNING"]
    slow.get_hook().get_records(f"SELECT SYSTEM$CANCEL_QUERY('{id}')")


def test_what_runs_outlives_the_session_that_submitted_it(
    operator: Make, work: MakeContext, server: SnowflakeServer
) -> None:
    task = operator("SELECT SYSTEM$WAIT(1.02)", wait_for_completion=False)
    task.execute(work(task))

    server.wait_for(lambda: statuses(server, "SYSTEM$WAIT(1.02)") == ["SUCCESS"])


def test_a_kill_on_the_worker_stops_the_statement(operator: Make, work: MakeContext, server: SnowflakeServer) -> None:
    task = operator("SELECT SYSTEM$WAIT(74)")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, task, work(task))
        server.wait_for(lambda: task._job is not None and statuses(server, "SYSTEM$WAIT(74)") == ["RUNNING"])
        task.on_kill()

        assert statuses(server, "SYSTEM$WAIT(74)") == ["ABORTED"]
        with pytest.raises(Exception, match="was cancelled"):
            running.result()


def test_a_kill_while_the_answer_is_awaited_stops_the_statement(
    operator: Make, work: MakeContext, server: SnowflakeServer
) -> None:
    server.faults({"path": "query-request", "kind": "delay", "seconds": 3, "count": 1, "body": r"WAIT\(75\)"})
    server.faults({"path": "query-request", "kind": "drop", "after": True, "count": 1, "body": r"WAIT\(75\)"})
    task = operator("SELECT SYSTEM$WAIT(75)")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, task, work(task))
        server.wait_for(lambda: statuses(server, "SYSTEM$WAIT(75)") == ["RUNNING"])
        task._job = None  # as far as the task knows, nothing was submitted yet
        task.on_kill()

        assert statuses(server, "SYSTEM$WAIT(75)") == ["ABORTED"]
        with pytest.raises(Exception, match="was cancelled"):
            running.result()


def test_a_kill_may_leave_it_running(operator: Make, work: MakeContext, server: SnowflakeServer) -> None:
    task = operator("SELECT SYSTEM$WAIT(1.5)", cancel_on_kill=False)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, task, work(task))
        server.wait_for(lambda: task._job is not None)
        task.on_kill()

        assert running.result() == [("waited 1.5 seconds",)]


def deferred(task: SnowflakeOperator, context: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        task.execute(context)
    return caught.value


async def first_event(trigger: SnowflakeTrigger) -> Any:
    try:
        async for event in trigger.run():
            return event.payload
    finally:
        await trigger.cleanup()
    raise AssertionError("the trigger ended without an event")


def test_a_deferred_statement_ends_on_another_worker(
    operator: Make, work: MakeContext, server: SnowflakeServer
) -> None:
    asked: dict[str, Any] = {"deferrable": True, "defer_after": 0, "warehouse": "w2"}
    sql = "SELECT SYSTEM$WAIT(0.53)"
    task = operator(sql, **asked)
    handed = deferred(task, work(task))
    path, kwargs = handed.trigger.serialize()
    event = asyncio.run(first_event(SnowflakeTrigger(**kwargs)))
    other = operator(sql, **asked)

    assert path == "tradewind.snowflake.triggers.SnowflakeTrigger"
    assert "Pass" not in str(kwargs)
    result = other.resume_execution(handed.method_name, {**(handed.kwargs or {}), "event": event}, work(other))
    assert result == [("waited 0.53 seconds",)]
    assert len(statuses(server, "SYSTEM$WAIT(0.53)")) == 1


def test_a_short_statement_is_not_deferred(operator: Make, work: MakeContext) -> None:
    task = operator("SELECT 'short'", deferrable=True)

    assert task.execute(work(task)) == [("short",)]


def test_a_trigger_outlives_faults(operator: Make, work: MakeContext, server: SnowflakeServer) -> None:
    task = operator("SELECT SYSTEM$WAIT(2.01)", deferrable=True, defer_after=0)
    handed = deferred(task, work(task))
    server.faults({"path": "monitoring", "kind": "drop", "share": 0.4}, {"path": "login", "kind": "drop", "count": 1})
    event = asyncio.run(first_event(SnowflakeTrigger(**handed.trigger.serialize()[1])))

    assert event["state"] == "done"
    assert event["found"]["state"] == "succeeded"


def test_the_waits_of_a_triggerer_share_a_session(operator: Make, work: MakeContext, server: SnowflakeServer) -> None:
    tasks = [operator(f"SELECT SYSTEM$WAIT(2.{number:02})", deferrable=True, defer_after=0) for number in range(20)]
    handed = [deferred(task, work(task, map_index=number)) for number, task in enumerate(tasks)]
    logins, sessions = len(server.logins()), {each["id"] for each in server.sessions()}

    async def all_events() -> list[Any]:
        triggers = [SnowflakeTrigger(**each.trigger.serialize()[1]) for each in handed]
        return await asyncio.gather(*map(first_event, triggers))

    events = asyncio.run(all_events())

    assert [event["found"]["state"] for event in events] == ["succeeded"] * 20
    assert len(server.logins()) == logins + 1
    assert {each["id"] for each in server.sessions()} <= sessions


def test_without_a_triggerer_the_worker_waits(operator: Make, work: MakeContext, server: SnowflakeServer) -> None:
    sql = "SELECT SYSTEM$WAIT(1.03)"
    task = operator(sql, deferrable=True, defer_after=0)
    deferred(task, work(task))
    again = operator(sql, deferrable=True, defer_after=0)

    found = again.resume_execution("__fail__", {"error": "Trigger failure", "traceback": None}, work(again))
    assert found == [("waited 1.03 seconds",)]
    assert len(statuses(server, "SYSTEM$WAIT(1.03)")) == 1


def test_a_person_s_kill_reaches_the_service_from_the_trigger(
    operator: Make, work: MakeContext, server: SnowflakeServer
) -> None:
    task = operator("SELECT SYSTEM$WAIT(76)", deferrable=True, defer_after=0)
    handed = deferred(task, work(task))
    trigger = SnowflakeTrigger(**handed.trigger.serialize()[1])
    asyncio.run(trigger.on_kill())
    asyncio.run(trigger.cleanup())

    assert statuses(server, "SYSTEM$WAIT(76)") == ["ABORTED"]


class TaskStore:
    """Airflow's store of one task instance, as its tries see it from 3.3 on."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.kept[key]) if key in self.kept else default

    def set(self, key: str, value: Any) -> None:
        self.kept[key] = json.dumps(value)


def with_store(context: Any, store: Any) -> Any:
    return {**context, "task_state_store": store}


class BrokenStore:
    def get(self, key: str, default: Any = None) -> Any:
        raise RuntimeError("no answer")

    def set(self, key: str, value: Any) -> None:
        raise RuntimeError("no answer")


@pytest.mark.skipif(AIRFLOW_VERSION < (3, 3), reason="Airflow 3.3 brought the store")
def test_what_airflow_remembers_is_known_before_the_history_shows_it(
    operator: Make, work: MakeContext, server: SnowflakeServer
) -> None:
    """The input's name is another one here, as after a template that renders anew: the token alone finds nothing."""
    server.set_history(delay=60)
    store = TaskStore()
    first = operator("SELECT SYSTEM$WAIT(77)", wait_for_completion=False)
    first.execute(with_store(work(first, try_number=1), store))
    edited = operator("SELECT 'edited meanwhile'")

    found = edited.execute(with_store(work(edited, try_number=2), store))

    assert found == [("edited meanwhile",)]
    assert statuses(server, "SYSTEM$WAIT(77)") == ["ABORTED"]


@pytest.mark.skipif(AIRFLOW_VERSION < (3, 3), reason="Airflow 3.3 brought the store")
def test_a_store_that_breaks_costs_nothing(operator: Make, work: MakeContext, server: SnowflakeServer) -> None:
    for number in (1, 2):
        task = operator("SELECT 'no store'")
        assert task.execute(with_store(work(task, try_number=number), BrokenStore())) == [("no store",)]

    assert len(statuses(server, "'no store'")) == 1
