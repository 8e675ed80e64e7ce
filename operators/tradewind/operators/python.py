"""Call a Python function whose child processes end when its task is killed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from tradewind.hooks.compat import AirflowSkipException, BaseOperator, Context, TaskDeferred, unpack_context
from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.processes.children import Watch


class PythonOperator(BaseOperator):
    """Call a Python function, in the task's own process.

    The function gets ``op_args`` and ``op_kwargs``, and of the task's context whatever its signature names (``ti``,
    ``ds``, ``params`` ...), or all of it where it takes ``**kwargs``. A generator function may yield ``Metadata`` for
    the task's outlets; a coroutine function runs in an event loop of its own, on every version of Airflow.

    A guard process watches the processes that the function starts: they end when the task is killed by whatever means
    (SIGKILL included), is told to end, or fails. When the function returns (or skips, or defers), what it left running
    is its own affair, as ever. The guard needs Linux; elsewhere nothing is watched.

    :param python_callable: the function, or anything else that can be called
    :param op_args: its positional arguments (templated)
    :param op_kwargs: its keyword arguments (templated)
    :param templates_dict: texts that reach the function as ``templates_dict`` once they are rendered (templated)
    :param templates_exts: the endings of files that are read and rendered, as ``[".sql"]``
    :param show_return_value_in_logs: log what the function returns; False where that is huge
    :raises InvalidArgument: where ``python_callable`` cannot be called
    """

    template_fields: Sequence[str] = ("templates_dict", "op_args", "op_kwargs")
    template_fields_renderers = {"templates_dict": "json", "op_args": "py", "op_kwargs": "py"}
    ui_color = "#ffefeb"
    # Not every argument can be copied deeply.
    shallow_copy_attrs: Sequence[str] = ("python_callable", "op_kwargs")

    _context: Context | None = None
    _watch: Watch | None = None

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        templates_dict: dict[str, Any] | None = None,
        templates_exts: Sequence[str] | None = None,
        show_return_value_in_logs: bool = True,
        **kwargs: Any,
    ) -> None:
        if kwargs.pop("provide_context", None) is not None:
            warnings.warn(
                "provide_context does nothing: leave it out, the function gets what its signature names",
                DeprecationWarning,
                stacklevel=2,
            )
        super().__init__(**kwargs)
        if not callable(python_callable):
            raise InvalidArgument(f"python_callable must be callable, not {type(python_callable).__name__}")
        self.python_callable = python_callable
        self.op_args = op_args or ()
        self.op_kwargs = op_kwargs or {}
        self.templates_dict = templates_dict
        if templates_exts:
            self.template_ext = templates_exts
        self.show_return_value_in_logs = show_return_value_in_logs

    def execute(self, context: Context) -> Any:
        """Call the function.

        :return: what it returns
        """
        self._watch = Watch.start()
        try:
            result = self._call(context)
        except (AirflowSkipException, TaskDeferred):
            self._goodbye()
            raise
        except BaseException:
            self._end()
            raise
        self._goodbye()
        return result

    def _call(self, context: Context) -> Any:
        # The context takes them in, so that get_current_context() shows them too.
        context.update({**self.op_kwargs, "templates_dict": self.templates_dict})  # type: ignore[typeddict-item]
        self.op_kwargs = self.determine_kwargs(context)
        self._context = context
        result = self.execute_callable()
        if self.show_return_value_in_logs:
            self.log.info("Done. Returned value was: %s", result)
        else:
            self.log.info("Done. Returned value not shown")
        return result

    def determine_kwargs(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """Pick what the function takes of the context and of ``op_kwargs``, which are part of it by now.

        :param context: the task's context
        :raises ValueError: where an argument would be given by position and by name
        """
        import inspect

        parameters = inspect.signature(self.python_callable).parameters
        kinds = {parameter.kind for parameter in parameters.values()}
        for name, parameter in list(parameters.items())[: len(self.op_args)]:
            by_position = parameter.kind not in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD)
            if by_position and name in context:
                raise ValueError(f"op_args would set {name!r}, which the context or op_kwargs set too: rename it")
        if inspect.Parameter.VAR_KEYWORD in kinds:
            return unpack_context(context)
        return {name: context[name] for name in parameters if name in context}

    def execute_callable(self) -> Any:
        """Call the function with its arguments.

        :return: what it returns
        """
        if _is_coroutine_function(self.python_callable):
            import asyncio

            return asyncio.run(self.python_callable(*self.op_args, **self.op_kwargs))
        from tradewind.hooks.compat import context_get_outlet_events, create_executable_runner

        assert self._context is not None  # noqa: S101 (execute has set it)
        runner = create_executable_runner(
            self.python_callable, context_get_outlet_events(self._context), logger=self.log
        )
        return runner.run(*self.op_args, **self.op_kwargs)

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


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    import functools
    import inspect

    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    called = function if inspect.isroutine(function) else type(function).__call__
    return inspect.iscoroutinefunction(called)
