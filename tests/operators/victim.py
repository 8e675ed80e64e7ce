"""A worker to be killed: it loads Airflow once, then forks a task process for each line it reads.

A line is JSON: ``{"tree": NAME, "mark": TEXT, "pids": PATH}``; the answer is the pid of the task process.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from typing import Any

from tests.fix_airflow import make_context
from tradewind.hooks.compat import AIRFLOW_3, AirflowException, BaseOperator
from tradewind.operators.bash import BashOperator
from tradewind.operators.processes.kernel import PR_SET_PDEATHSIG, prctl
from tradewind.operators.python import PythonOperator

DAEMON = """
import os, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
open(os.environ["PIDS"], "a").write("%d\\n" % os.getpid())
time.sleep(300)
"""

BATON = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    if os.fork(): os._exit(0)
    os.setsid()
    time.sleep(0.002)
"""

BASH = {
    "sessions": "setsid sleep 300 & nohup sleep 300 >/dev/null 2>&1 & echo $$ >> $PIDS; sleep 300",
    "deaf": "trap '' TERM HUP INT; (trap '' TERM; echo $BASHPID >> $PIDS; sleep 300; sleep 300) & wait",
    "pipeline": "yes | cat | while read x; do sleep 0.05; done",
    "daemon": f"{sys.executable} -S -c '{DAEMON}'; sleep 300",
    "baton": f"{sys.executable} -S -c '{BATON}' & sleep 300",
    "nested": 'bash -c \'bash -c "setsid bash -c \\"sleep 300; :\\" & sleep 300" & sleep 300; :\' & wait',
}


def note_pid() -> None:
    with open(os.environ["PIDS"], "a") as file:
        file.write(f"{os.getpid()}\n")


def nap(_: object = None) -> None:
    time.sleep(300)


def pool() -> None:
    with multiprocessing.get_context("fork").Pool(2, initializer=note_pid) as workers:
        workers.map(nap, range(2))


def spawned_pool() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        workers.map(time.sleep, [300])


def programs() -> None:
    subprocess.Popen(["sleep", "300"], start_new_session=True)
    subprocess.Popen(["setsid", "nohup", "sleep", "300"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(["bash", "-c", "trap '' TERM; sleep 300; sleep 300"], check=False)


def daemon() -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            note_pid()
            time.sleep(300)
        os._exit(0)
    time.sleep(300)


PYTHON = {"pool": pool, "spawned_pool": spawned_pool, "programs": programs, "py_daemon": daemon}
TREES = [*BASH, *PYTHON]


def operator(tree: str) -> BaseOperator:
    if tree in BASH:
        return BashOperator(task_id="killed", bash_command=BASH[tree])
    return PythonOperator(task_id="killed", python_callable=PYTHON[tree])


def heed_sigterm(task: BaseOperator) -> None:
    """Take SIGTERM as Airflow's task process: 3 calls on_kill and goes on, 2 raises; a forked child does neither."""
    owner = os.getpid()

    def terminate(*_: object) -> None:
        if os.getpid() == owner:
            task.on_kill()
            if not AIRFLOW_3:
                raise AirflowException("Task received SIGTERM signal")
        elif not AIRFLOW_3:
            os._exit(1)

    signal.signal(signal.SIGTERM, terminate)


def work(order: dict[str, Any]) -> None:
    os.setpgid(0, 0)  # as Airflow does with a task's process
    os.environ.update(MARK=order["mark"], PIDS=order["pids"])
    task = operator(order["tree"])
    context = make_context(task)
    heed_sigterm(task)
    note_pid()
    task.execute(context)


def warm_up() -> None:
    """Import once what each task would import for itself."""
    task = BashOperator(task_id="warm", bash_command="true")
    context = make_context(task)
    task.get_env(context)
    PythonOperator(task_id="warm", python_callable=nap).determine_kwargs(context)


def die_with_parent() -> None:
    """Let no task outlive a test run that is killed."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    die_with_parent()
    logging.disable(logging.CRITICAL)
    warm_up()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            die_with_parent()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(2, 1)  # the answers alone go to standard output, no log line
            try:
                work(json.loads(line))
            finally:
                os._exit(1)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
