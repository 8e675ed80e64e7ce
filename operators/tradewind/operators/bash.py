"""Run a Bash command that ends, with everything it started, when its task ends."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tradewind.hooks.compat import AirflowSkipException, BaseOperator, Context
from tradewind.hooks.errors import InvalidArgument, TradewindError, TransientError
from tradewind.operators.processes import children

INLINE_LIMIT = 100_000
"""Bytes above which a command goes into a file: Linux takes 131,072 bytes in one argument (execve(2))."""


class BashOperator(BaseOperator):
    """Run a Bash command, a series of them, or a script.

    The last line of its output, standard error included, is the task's XCom. The command runs below a guard process:
    when the task is told to end, or is killed by whatever means (SIGKILL included), the command and all its descendants
    get SIGTERM and soon after SIGKILL. What the command leaves in the background when it ends by itself has two seconds
    to end too, then it is ended: nothing outlives the task. Standard input is empty.

    :param bash_command: the command, or the name of a ``.sh`` or ``.bash`` file in the template search path, which is
        rendered (templated). A text with that ending that names no such file is a command: no trailing space is needed
    :param env: the command's environment, to which Airflow adds its ``AIRFLOW_CTX_*``; the worker's own by default
        (templated)
    :param append_env: add ``env`` to the worker's environment instead of replacing it
    :param output_encoding: the codec of the output; bytes that it cannot read are shown as ``\\xNN``
    :param skip_on_exit_code: the exit code, or several, that leave the task skipped; None for none
    :param cwd: the folder it runs in, a temporary one by default (templated)
    :param output_processor: makes the XCom out of the last line
    :raises InvalidArgument: where an argument cannot work
    """

    template_fields: Sequence[str] = ("bash_command", "env", "cwd")
    template_fields_renderers = {"bash_command": "bash", "env": "json"}
    template_ext: Sequence[str] = (".sh", ".bash")
    ui_color = "#f0ede4"

    _command: children.Command | None = None

    def __init__(
        self,
        *,
        bash_command: str,
        env: dict[str, str] | None = None,
        append_env: bool = False,
        output_encoding: str = "utf-8",
        skip_on_exit_code: int | Container[int] | None = 99,
        cwd: str | None = None,
        output_processor: Callable[[str], Any] = lambda result: result,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check(bash_command, env, output_encoding, output_processor)
        self.bash_command = bash_command
        self.env = env
        self.append_env = append_env
        self.output_encoding = output_encoding
        self.skip_on_exit_code: Container[int]
        if skip_on_exit_code is None:
            self.skip_on_exit_code = ()
        elif isinstance(skip_on_exit_code, int):
            self.skip_on_exit_code = (skip_on_exit_code,)
        else:
            self.skip_on_exit_code = skip_on_exit_code
        self.cwd = cwd
        self.output_processor = output_processor

    def render_template(self, content: Any, context: Any, jinja_env: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Render a value; a text that ends like a script but names no template is rendered as it stands."""
        if isinstance(content, str) and content.endswith(tuple(self.template_ext)):
            jinja_env = jinja_env or self.get_template_env()
            if not _is_template(content, jinja_env):
                # With a space at its end Airflow takes it for text.
                rendered = super().render_template(content + " ", context, jinja_env, *args, **kwargs)
                return rendered.removesuffix(" ") if isinstance(rendered, str) else rendered
        return super().render_template(content, context, jinja_env, *args, **kwargs)

    def get_env(self, context: Context) -> dict[str, str]:
        """Return the command's environment.

        :param context: the task's context
        """
        from tradewind.hooks.compat import context_to_airflow_vars

        own = self.env if self.env is not None else os.environ
        env = {**os.environ, **own} if self.append_env else dict(own)
        for name, value in env.items():
            if not isinstance(value, str):
                raise InvalidArgument(f"env[{name!r}] must be text, not {type(value).__name__}: quote it")
        return {**env, **context_to_airflow_vars(context, in_env_var_format=True)}

    def execute(self, context: Context) -> Any:
        """Run the command and stream its output into the log.

        :return: the last line, through ``output_processor``
        :raises TradewindError: where it fails
        """
        with _working_directory(self.cwd) as cwd, self._argv() as argv:
            self.log.info("Running command: %s", argv)
            last, code = self._run(argv, self.get_env(context), cwd)
        self.log.info("Command exited with return code %s", code)
        if code in self.skip_on_exit_code:
            raise AirflowSkipException(f"bash command returned exit code {code}: skipping")
        if code != 0:
            raise TransientError(f"bash command failed: it returned a non-zero exit code {_explain(code)}")
        return self.output_processor(last)

    def _run(self, argv: list[str], env: Mapping[str, str], cwd: str) -> tuple[str, int]:
        command = self._command = children.Command(argv, env=env, cwd=cwd)
        last = ""
        try:
            for raw in command.lines():
                last = raw.decode(self.output_encoding, errors="backslashreplace").rstrip()
                self.log.info("%s", last)
            code, ended = command.result()
        finally:
            command.stop()
            command.close()
            self._command = None
        if ended:
            self.log.warning("ended %s processes that the command left running", ended)
        if command.cut and self.do_xcom_push:
            self.log.warning("the last line is over %s bytes: the XCom is only its end", children.LINE_LIMIT)
        if code is None:
            raise TradewindError("bash command failed: it was ended before it could finish")
        return last, code

    @contextmanager
    def _argv(self) -> Iterator[list[str]]:
        bash = shutil.which("bash")
        if bash is None:
            raise TradewindError("there is no bash on PATH: install it on the worker")
        if len(os.fsencode(self.bash_command)) < INLINE_LIMIT:
            yield [bash, "-c", self.bash_command]
            return
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="tradewind-", suffix=".sh") as script:
            script.write(self.bash_command)
            script.flush()
            yield [bash, script.name]

    def on_kill(self) -> None:
        """End the command and all its descendants."""
        if self._command is not None:
            self.log.info("ended %s processes of the command", self._command.stop())


def _check(command: Any, env: Any, encoding: str, processor: Any) -> None:
    if not isinstance(command, str) and not hasattr(command, "resolve"):  # an XComArg resolves to text later
        raise InvalidArgument(f"bash_command must be text, not {type(command).__name__}")
    if env is not None and not isinstance(env, Mapping) and not hasattr(env, "resolve") and not isinstance(env, str):
        raise InvalidArgument(f"env must be a mapping of text to text, not {type(env).__name__}")
    if not callable(processor):
        raise InvalidArgument(f"output_processor must be callable, not {type(processor).__name__}")
    try:
        "".encode(encoding)
    except LookupError:
        raise InvalidArgument(f"unknown output_encoding {encoding!r}: use a Python codec's name, as utf-8") from None


def _is_template(name: str, jinja_env: Any) -> bool:
    from jinja2 import TemplateNotFound

    try:
        jinja_env.loader.get_source(jinja_env, name)
    except TemplateNotFound:
        return False
    return True


@contextmanager
def _working_directory(cwd: str | None) -> Iterator[str]:
    if cwd is None:
        with tempfile.TemporaryDirectory(prefix="tradewind-", ignore_cleanup_errors=True) as made:
            yield made
        return
    if not Path(cwd).exists():
        raise TradewindError(f"cannot find the cwd {cwd}: create it, or leave cwd out for a temporary folder")
    if not Path(cwd).is_dir():
        raise TradewindError(f"the cwd {cwd} must be a directory")
    yield cwd


def _explain(code: int) -> str:
    if code >= 0:
        return str(code)
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"{code} ({name})"
