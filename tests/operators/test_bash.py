"""BashOperator: what it runs, what it returns, how it fails."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tradewind.hooks.compat import AirflowException, AirflowSkipException, Context
from tradewind.hooks.errors import InvalidArgument, TradewindError
from tradewind.operators.bash import BashOperator
from tradewind.operators.processes import children

Run = Callable[..., Any]


@pytest.fixture
def run(context: Callable[..., Context]) -> Run:
    def execute(command: str, **kwargs: Any) -> Any:
        task = BashOperator(task_id="bash", bash_command=command, **kwargs)
        return task.execute(context(task, render=True))

    return execute


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect what the operator logs."""
    seen: list[str] = []

    class Log(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    logger = logging.getLogger("tradewind.test.bash")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [Log()]
    monkeypatch.setattr(BashOperator, "log", logger)
    return seen


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("echo one; echo two", "two"),
        ("printf 'no line end'", "no line end"),
        ("echo out; echo err >&2", "err"),
        ("true", ""),
        ("echo 'trailing  \t '", "trailing"),
        ("echo {{ ds }} {{ task.task_id }}", "2026-01-02 bash"),
        ("printf 'caf\\xe9\\n'", "caf\\xe9"),
        ("cat; echo end of input", "end of input"),
        ("echo a > >(sleep 0.2; cat)", "a"),
        ("echo $AIRFLOW_CTX_DAG_ID $AIRFLOW_CTX_TASK_ID", "test_dag bash"),
    ],
)
def test_last_line_is_returned(run: Run, command: str, expected: str) -> None:
    assert run(command) == expected


def test_output_encoding_and_processor(run: Run) -> None:
    assert run("printf 'caf\\xe9'", output_encoding="latin-1", output_processor=str.upper) == "CAFÉ"


def test_lines_are_logged_one_by_one(run: Run, lines: list[str]) -> None:
    run("echo one; echo; echo two")

    assert lines[-4:] == ["one", "", "two", "Command exited with return code 0"]


@pytest.mark.parametrize(
    ("env", "append", "expected"),
    [(None, False, "mine "), ({"B": "b"}, False, " b"), ({"B": "b"}, True, "mine b"), ({}, False, " ")],
)
def test_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch, env: dict[str, str] | None, append: bool, expected: str
) -> None:
    monkeypatch.setenv("TRADEWIND_A", "mine")

    assert run('printf "%s " "$TRADEWIND_A"; printf "$B|"', env=env, append_env=append) == expected + "|"


def test_env_is_templated_and_not_changed(context: Callable[..., Context]) -> None:
    task = BashOperator(task_id="bash", bash_command="echo $DAY", env={"DAY": "{{ ds }}"})

    assert task.execute(context(task, render=True)) == "2026-01-02"
    assert task.env == {"DAY": "2026-01-02"}


@pytest.mark.parametrize("code", [1, 2, 127, 255])
def test_exit_code_fails(run: Run, code: int) -> None:
    with pytest.raises(AirflowException, match=f"non-zero exit code {code}$"):
        run(f"exit {code}")


def test_signal_is_named(run: Run) -> None:
    with pytest.raises(AirflowException, match=r"non-zero exit code -9 \(SIGKILL\)$"):
        run("kill -9 $$")


@pytest.mark.parametrize(("code", "skip"), [(99, 99), (3, 3), (3, [3, 4]), (4, (3, 4)), (5, range(5, 9)), (7, {7})])
def test_exit_code_skips(run: Run, code: int, skip: Any) -> None:
    with pytest.raises(AirflowSkipException, match=f"exit code {code}"):
        run(f"exit {code}", skip_on_exit_code=skip)


def test_no_exit_code_skips(run: Run) -> None:
    with pytest.raises(TradewindError, match=r"exit code 99$"):
        run("exit 99", skip_on_exit_code=None)


def test_cwd(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert run("pwd", cwd=str(tmp_path)) == str(tmp_path)
    assert not Path(run("pwd")).exists()
    with pytest.raises(TradewindError, match="cannot find the cwd"):
        run("pwd", cwd=str(tmp_path / "none"))
    with pytest.raises(TradewindError, match="must be a directory"):
        run("pwd", cwd=str(tmp_path / "file"))


def test_script_that_is_no_template_runs_without_a_trailing_space(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text("echo '{{ ds }}' $1")

    assert run(f"bash {script} x.sh") == "{{ ds }} x.sh"


def test_script_in_the_search_path_is_rendered(context: Callable[..., Context], tmp_path: Path) -> None:
    from airflow import DAG

    (tmp_path / "job.sh").write_text("echo {{ ds }}\necho done {{ run_id }}\n")
    with DAG("scripts", schedule=None, template_searchpath=[str(tmp_path)]):
        task = BashOperator(task_id="bash", bash_command="job.sh")

    assert task.execute(context(task, run_id="r1", render=True)) == "done r1"


def test_long_command(run: Run) -> None:
    assert run("true " + "x" * 300_000 + "\necho end") == "end"


def test_huge_line_comes_in_pieces(run: Run, lines: list[str]) -> None:
    size = 2 * children.LINE_LIMIT + 10

    assert run(f"head -c {size} /dev/zero | tr '\\0' x") == "x" * 10
    assert [len(line) for line in lines if line.startswith("xx")] == [children.LINE_LIMIT] * 2 + [10]
    assert any("the XCom is only its end" in line for line in lines)


def test_background_process_with_the_output_open_does_not_hang(run: Run, lines: list[str]) -> None:
    started = time.monotonic()

    assert run("setsid sleep 60 & echo end") == "end"
    assert time.monotonic() - started < 20
    assert "ended 1 processes that the command left running" in lines


def test_only_standard_descriptors_reach_the_command(run: Run) -> None:
    held = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        assert run("ls /proc/self/fd | tr '\\n' ' '") == "0 1 2 3"  # 3 is what ls reads
    finally:
        os.close(held)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"bash_command": 3}, "bash_command must be text, not int"),
        ({"bash_command": "true", "env": ["A=1"]}, "env must be a mapping"),
        ({"bash_command": "true", "output_encoding": "utf-9"}, "unknown output_encoding 'utf-9'"),
        ({"bash_command": "true", "output_processor": 1}, "output_processor must be callable"),
    ],
)
def test_bad_arguments_are_refused_when_the_dag_is_parsed(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        BashOperator(task_id="bash", **kwargs)


def test_env_value_that_is_no_text(run: Run) -> None:
    with pytest.raises(InvalidArgument, match=r"env\['N'\] must be text, not int"):
        run("true", env={"N": 3})
