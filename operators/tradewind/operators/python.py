"""Call a Python function whose child processes end when its task is killed."""

from __future__ import annotations

from typing import Any

from tradewind.hooks.compat import AirflowSkipException, Context, TaskDeferred
from tradewind.hooks.compat import PythonOperator as AirflowPythonOperator
from tradewind.operators.children import Watch


class PythonOperator(AirflowPythonOperator):
    """Call a Python function, in the task's own process.

    All arguments are those of Airflow's operator (``python_callable``, ``op_args``, ``op_kwargs``, ``templates_dict``,
    ``templates_exts``, ``show_return_value_in_logs``). A guard process watches the processes that the function starts:
    they end when the task is killed by whatever means (SIGKILL included), is told to end, or fails. When the function
    returns (or skips, or defers), what it left running is its own affair, as ever. The guard needs Linux; elsewhere
    nothing is watched.
    """

    _watch: Watch | None = None

    def execute(self, context: Context) -> Any:
        """Call the function.

        :return: what it returns
        """
        self._watch = Watch.start()
        try:
            result = super().execute(context)
        except (AirflowSkipException, TaskDeferred):
            self._goodbye()
            raise
        except BaseException:
            self._end()
            raise
        self._goodbye()
        return result

    def _goodbye(self) -> None:
        if self._watch:
            self._watch.goodbye()

    def _end(self) -> None:
        ended = self._watch.stop() if self._watch else 0
        if ended:
            self.log.info("ended %s processes that the function had started", ended)

    def on_kill(self) -> None:
        """End the processes that the function has started."""
        self._end()
