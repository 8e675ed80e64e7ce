"""PythonOperator: calls as Airflow's own, and lets no process outlive a failure; real DAG runs of both operators."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tradewind.hooks.compat import AIRFLOW_3, AirflowSkipException, Asset, Context
from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.processes.guard import MARK
from tradewind.operators.processes.kernel import LINUX, look
from tradewind.operators.python import PythonOperator

if TYPE_CHECKING or AIRFLOW_3:
    from airflow.sdk import Metadata
else:
    from airflow.datasets.metadata import Metadata


def call(context: Callable[..., Context], function: Callable[..., Any], **kwargs: Any) -> Any:
    task = PythonOperator(task_id="python", python_callable=function, **kwargs)
    return task.execute(context(task, render=True))


def test_arguments_and_context(context: Callable[..., Context]) -> None:
    def function(a: int, day: str, ti: Any, templates_dict: dict[str, str], **rest: Any) -> list[Any]:
        return [a, day, ti.task_id, templates_dict, "run_id" in rest]

    result = call(
        context,
        function,
        op_args=[1],
        op_kwargs={"day": "{{ ds }}"},
        templates_dict={"run": "{{ run_id }}"},
        show_return_value_in_logs=False,
    )

    assert result[:3] == [1, "2026-01-02", "python"]
    assert result[3] == {"run": "manual__2026-01-02T03:00:00+00:00"}
    assert result[4] is True


def test_positional_argument_that_the_context_sets_too(context: Callable[..., Context]) -> None:
    with pytest.raises(ValueError, match="op_args would set 'ds'"):
        call(context, lambda ds: ds, op_args=["2026-01-01"])


def test_template_files_are_read(context: Callable[..., Context], tmp_path: Path) -> None:
    from airflow import DAG

    (tmp_path / "query.sql").write_text("select '{{ ds }}'")
    with DAG("files", schedule=None, template_searchpath=[str(tmp_path)]):
        task = PythonOperator(
            task_id="python",
            python_callable=lambda templates_dict: templates_dict["query"],
            templates_dict={"query": "query.sql"},
            templates_exts=[".sql"],
        )

    assert task.execute(context(task, render=True)) == "select '2026-01-02'"


def test_current_context_holds_the_arguments(context: Callable[..., Context]) -> None:
    seen = call(context, lambda **everything: everything, op_kwargs={"mine": 1}, templates_dict={"a": "{{ ds }}"})

    assert seen["mine"] == 1
    assert seen["templates_dict"] == {"a": "2026-01-02"}
    assert seen["ti"].task_id == "python"


async def answer(number: int) -> int:
    await asyncio.sleep(0)
    return number + 1


class Answer:
    async def __call__(self, number: int) -> int:
        return await answer(number)


@pytest.mark.parametrize("function", [answer, functools.partial(answer), Answer()], ids=["def", "partial", "object"])
def test_coroutine_function(context: Callable[..., Context], function: Callable[..., Any]) -> None:
    assert call(context, function, op_args=[41]) == 42


def test_generator_tells_what_it_did_to_its_outlets(context: Callable[..., Context]) -> None:
    asset = Asset("rows")

    def function() -> Generator[Any, None, str]:
        yield Metadata(asset, {"rows": 3})
        return "done"

    task = PythonOperator(task_id="python", python_callable=function, outlets=[asset])
    made = context(task)

    assert task.execute(made) == "done"
    assert made["outlet_events"][asset].extra == {"rows": 3}


@pytest.mark.parametrize(("show", "line"), [(True, "Returned value was: 7"), (False, "Returned value not shown")])
def test_returned_value_in_the_log(
    context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch, show: bool, line: str
) -> None:
    seen: list[str] = []

    class Log(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    logger = logging.Logger("tradewind.test.python")
    logger.addHandler(Log())
    monkeypatch.setattr(PythonOperator, "log", logger)
    call(context, lambda: 7, show_return_value_in_logs=show)

    assert seen[-1:] == [f"Done. {line}"]


def test_what_cannot_be_called_is_refused_when_the_dag_is_parsed() -> None:
    with pytest.raises(InvalidArgument, match="python_callable must be callable, not str"):
        PythonOperator(task_id="python", python_callable="print")  # type: ignore[arg-type]


def test_provide_context_of_old_dags_is_taken() -> None:
    with pytest.warns(DeprecationWarning, match="leave it out"):
        PythonOperator(task_id="python", python_callable=print, provide_context=True)


def test_environment_is_as_before(context: Callable[..., Context]) -> None:
    before = dict(os.environ)
    inside = call(context, lambda: MARK in os.environ)

    assert inside is LINUX
    assert dict(os.environ) == before


@pytest.mark.skipif(not LINUX, reason="needs Linux's prctl and /proc")
@pytest.mark.parametrize(
    ("error", "lives"), [(None, True), (AirflowSkipException("no"), True), (ValueError("x"), False)]
)
def test_children_after_the_function(context: Callable[..., Context], error: Exception | None, lives: bool) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def function() -> None:
        started.append(subprocess.Popen(["sleep", "60"], start_new_session=True, env={}))
        if error:
            raise error

    try:
        if error:
            with pytest.raises(type(error)):
                call(context, function)
        else:
            call(context, function)

        assert (look(started[0].pid) is not None) is lives
    finally:
        started[0].kill()
        started[0].wait()


DAG_FILE = """
import json, sys
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
from tradewind.operators.bash import BashOperator
from tradewind.operators.python import PythonOperator

def join(ti, said):
    return said + "/" + ti.task_id

with DAG("operators", schedule=None) as dag:
    bash = BashOperator(task_id="bash", bash_command="echo hello {{ dag_run.run_type }}; setsid sleep 60 & echo $WHO",
                        env={"WHO": "wind"})
    python = PythonOperator(task_id="python", python_callable=join,
                            op_kwargs={"said": "{{ ti.xcom_pull(task_ids='bash') }}"})
    skipped = BashOperator(task_id="skipped", bash_command="exit 99")
    show = BashOperator(task_id="show", bash_command="echo {{ ti.xcom_pull(task_ids='python') }} > {{ params.out }}",
                        params={"out": "?"})
    bash >> python >> show
    bash >> skipped

if __name__ == "__main__":
    show.params = {"out": sys.argv[1]}
    run = dag.test()
    states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    open(sys.argv[2], "w").write(json.dumps(states))
"""


@pytest.mark.slow
def test_a_real_dag_run(migrated_airflow: Path, tmp_path: Path) -> None:
    file = migrated_airflow / "dags" / "operators_dag.py"
    file.write_text(DAG_FILE)
    out, states = tmp_path / "out", tmp_path / "states"
    done = subprocess.run(
        [sys.executable, str(file), str(out), str(states)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-4000:]
    assert json.loads(states.read_text()) == {
        "bash": "success", "python": "success", "skipped": "skipped", "show": "success",
    }  # fmt: skip
    assert out.read_text() == "wind/python\n"


def test_what_ran_before_the_task_is_not_its_own(context: Callable[..., Context]) -> None:
    started: list[subprocess.Popen[bytes]] = []
    with subprocess.Popen(["bash", "-c", "sleep 100 & wait"]) as before:

        def fail() -> None:
            started.append(subprocess.Popen(["sleep", "100"]))
            raise ValueError("no")

        task = PythonOperator(task_id="python", python_callable=fail)
        try:
            with pytest.raises(ValueError, match="no"):
                task.execute(context(task))

            assert started[0].wait(5) < 0
            assert before.poll() is None
            assert [process.status() for process in psutil.Process(before.pid).children()] == ["sleeping"]
        finally:
            for process in [*psutil.Process(before.pid).children(), before]:
                process.kill()
