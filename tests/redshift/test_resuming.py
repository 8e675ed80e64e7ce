"""Each statement is executed once, whenever a try dies, and none runs on after a kill."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from inspect import unwrap
from typing import Any

import pytest

from tests.fix_postgres import Database
from tests.redshift.data_api import DataApi
from tradewind.amazon.redshift.operators import RedshiftDataOperator
from tradewind.amazon.redshift.triggers import RedshiftDataTrigger
from tradewind.hooks.compat import TaskDeferred
from tradewind.hooks.errors import PermanentError
from tradewind.operators.jobs.resuming import JobName

Make = Callable[..., RedshiftDataOperator]
MakeContext = Callable[..., Any]


class Died(BaseException):
    """A worker that is gone."""


def run(task: RedshiftDataOperator, context: Any) -> Any:
    return unwrap(type(task).execute)(task, context)


def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def dying(api: DataApi, operation: str, *, after: bool) -> None:
    """Let the try die in its first call of an operation: before it is heard of, or after its work is done."""
    left = [operation]

    def before(asked: str, request: Any) -> None:
        if asked in left:
            left.remove(asked)
            if after:
                api.submit(request, [request["Sql"]])
            raise ConnectionResetError

    api.before = before


def test_a_retry_finds_what_an_earlier_try_submitted(operator: Make, context: MakeContext, api: DataApi) -> None:
    sql = "SELECT pg_sleep(1)"
    first = operator(sql, wait_for_completion=False)
    ids = first.execute(context(first, try_number=1))
    again = operator(sql)

    assert again.execute(context(again, try_number=2)) == ids
    done = operator(sql)
    assert done.execute(context(done, try_number=3)) == ids
    assert len(api.journal()) == 1


def test_an_answer_that_is_lost_submits_nothing_twice(operator: Make, context: MakeContext, api: DataApi) -> None:
    dying(api, "ExecuteStatement", after=True)
    task = operator("SELECT 1", return_sql_result=True)

    assert task.execute(context(task)) == [[1]]
    assert api.calls["ExecuteStatement"] == 2
    assert len(api.journal()) == 1


def test_a_statement_that_failed_runs_again(
    operator: Make, context: MakeContext, api: DataApi, database: Database
) -> None:
    sql = "INSERT INTO t VALUES (1)"
    for number in (1, 2):
        task = operator(sql)
        with pytest.raises(PermanentError):
            task.execute(context(task, try_number=number))
    database.query("CREATE TABLE t (id int)")
    task = operator(sql)
    task.execute(context(task, try_number=3))

    assert [JobName.parse(each["name"].split()[0]).attempt for each in api.journal()] == [1, 2, 3]  # type: ignore[union-attr]
    assert database.query("SELECT * FROM t") == [(1,)]


def test_two_tries_at_the_same_time_run_it_once(operator: Make, context: MakeContext, api: DataApi) -> None:
    tasks = [operator("SELECT pg_sleep(0.5)") for _ in range(4)]
    made = [context(task, try_number=number) for number, task in enumerate(tasks, 1)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, tasks, made))

    assert len({str(result) for result in results}) == 1
    assert len(api.journal()) == 1


def test_a_cleared_task_is_new_work_and_stops_the_old(operator: Make, context: MakeContext, api: DataApi) -> None:
    slow = operator("SELECT pg_sleep(60)", wait_for_completion=False)
    slow.execute(context(slow, try_number=1, max_tries=0))
    until(lambda: api.journal()[0]["status"] == "STARTED")
    edited = operator("SELECT 2", return_sql_result=True)

    assert edited.execute(context(edited, try_number=2, max_tries=1)) == [[2]]
    assert [each["status"] for each in api.journal()] == ["ABORTED", "FINISHED"]


def test_the_same_sql_runs_again_after_a_clear(operator: Make, context: MakeContext, api: DataApi) -> None:
    for clears in (0, 1):
        task = operator("SELECT 1")
        task.execute(context(task, try_number=1 + clears, max_tries=clears))

    assert len(api.journal()) == 2


def test_other_tasks_are_left_alone(operator: Make, context: MakeContext, api: DataApi) -> None:
    slow = operator("SELECT pg_sleep(60)", wait_for_completion=False)
    slow.execute(context(slow, map_index=0))
    other = operator("SELECT 1")
    other.execute(context(other, map_index=1))

    assert [each["status"] for each in api.journal()][1] == "FINISHED"
    assert not api.statements[api.journal()[0]["id"]].ended
    api.cancel({"Id": api.journal()[0]["id"]})


def test_a_kill_on_the_worker_stops_the_statement(operator: Make, context: MakeContext, api: DataApi) -> None:
    task = operator("SELECT pg_sleep(60)")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, task, context(task))
        until(lambda: task._job is not None and api.journal()[0]["status"] == "STARTED")
        task.on_kill()

        assert api.journal()[0]["status"] == "ABORTED"
        with pytest.raises(Exception, match="was cancelled"):
            running.result()


def test_a_kill_while_the_answer_is_awaited_stops_the_statement(
    operator: Make, context: MakeContext, api: DataApi
) -> None:
    task = operator("SELECT pg_sleep(60)")

    def before(operation: str, request: Any) -> None:
        if operation == "ExecuteStatement":
            api.before = lambda operation, request: None
            api.submit(request, [request["Sql"]])
            task.on_kill()  # as a signal's handler would, in the middle of the call
            raise ConnectionResetError

    api.before = before
    with pytest.raises(Exception, match="was cancelled"):
        task.execute(context(task))
    assert [each["status"] for each in api.journal()] == ["ABORTED"]


def test_a_kill_may_leave_it_running(operator: Make, context: MakeContext, api: DataApi) -> None:
    task = operator("SELECT pg_sleep(2)", cancel_on_kill=False)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, task, context(task))
        until(lambda: task._job is not None)
        task.on_kill()

        assert running.result() == [api.journal()[0]["id"]]


def deferred(task: RedshiftDataOperator, context: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        task.execute(context)
    return caught.value


async def first_event(trigger: RedshiftDataTrigger) -> Any:
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger ended without an event")


def test_a_deferred_statement_ends_on_another_worker(operator: Make, context: MakeContext, api: DataApi) -> None:
    asked: dict[str, Any] = {"deferrable": True, "defer_after": 0, "return_sql_result": True}
    task = operator("SELECT 1 FROM pg_sleep(0.5)", **asked)
    handed = deferred(task, context(task))
    path, kwargs = handed.trigger.serialize()
    event = asyncio.run(first_event(RedshiftDataTrigger(**kwargs)))
    other = operator("SELECT 1 FROM pg_sleep(0.5)", **asked)

    assert path == "tradewind.amazon.redshift.triggers.RedshiftDataTrigger"
    result = other.resume_execution(handed.method_name, {**(handed.kwargs or {}), "event": event}, context(other))
    assert result == [[1]]
    assert len(api.journal()) == 1


def test_a_short_statement_is_not_deferred(operator: Make, context: MakeContext) -> None:
    task = operator("SELECT 1", deferrable=True, return_sql_result=True)

    assert task.execute(context(task)) == [[1]]


def test_a_trigger_outlives_faults(operator: Make, context: MakeContext, api: DataApi) -> None:
    task = operator("SELECT 1 FROM pg_sleep(2)", deferrable=True, defer_after=0)
    handed = deferred(task, context(task))
    api.faults = 0.5
    event = asyncio.run(first_event(RedshiftDataTrigger(**handed.trigger.serialize()[1])))

    assert event["state"] == "done"
    assert event["found"]["state"] == "succeeded"


def test_without_a_triggerer_the_worker_waits(operator: Make, context: MakeContext, api: DataApi) -> None:
    task = operator("SELECT 1 FROM pg_sleep(1)", deferrable=True, defer_after=0, return_sql_result=True)
    deferred(task, context(task))
    again = operator("SELECT 1 FROM pg_sleep(1)", deferrable=True, defer_after=0, return_sql_result=True)

    assert again.resume_execution("__fail__", {"error": "Trigger failure", "traceback": None}, context(again)) == [[1]]
    assert len(api.journal()) == 1


def test_a_person_s_kill_reaches_the_service_from_the_trigger(
    operator: Make, context: MakeContext, api: DataApi
) -> None:
    task = operator("SELECT pg_sleep(60)", deferrable=True, defer_after=0)
    handed = deferred(task, context(task))
    trigger = RedshiftDataTrigger(**handed.trigger.serialize()[1])
    asyncio.run(trigger.on_kill())

    assert [each["status"] for each in api.journal()] == ["ABORTED"]
