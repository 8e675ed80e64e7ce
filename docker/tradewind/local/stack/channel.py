"""The machine's side of :mod:`tradewind.local.stack.control`."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Mapping
from typing import Any

from tradewind.local.errors import LocalError
from tradewind.local.stack import compose

TIMEOUT = 30.0
"""Seconds for one answer."""
THROUGH = ("scheduler", "hybrid")
"""The services in whose container the questions are answered."""


class Channel:
    """Asks inside, through one process that is kept.

    :param project: the Compose project
    """

    def __init__(self, project: str) -> None:
        self._project = project
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader: threading.Thread | None = None

    def ask(self, do: str, **arguments: Any) -> Any:
        """Return the answer to one question.

        :param do: one of the commands
        :param arguments: its arguments
        :raises LocalError: when there is none
        """
        for _ in range(2):  # once more where the container was replaced by another one
            answer = self._answer(do, arguments)
            if answer is not None:
                break
            self.close()
        else:
            raise LocalError(f"the scheduler's container ended while it was asked ({do})")
        if "error" in answer:
            raise LocalError(str(answer["error"]))
        return answer["answer"]

    def _answer(self, do: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return one answer, None when the other end is gone."""
        if self._process is None or self._process.poll() is not None:
            self._open()
        try:
            assert self._process is not None and self._process.stdin is not None  # noqa: S101, PT018
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            answer: dict[str, Any] | None = json.loads(self._lines.get(timeout=TIMEOUT) or "null")
        except (OSError, ValueError, queue.Empty) as error:
            self.close()
            raise LocalError(f"no answer from inside of the containers ({do})") from error
        return answer

    def close(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            assert process.stdin is not None  # noqa: S101
            process.stdin.close()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(5)

    def _open(self) -> None:
        self.close()
        found = [each for each in compose.containers(self._project) if each.service in THROUGH]
        running = [each for each in found if each.state == "running"]
        if not running:
            raise LocalError("the scheduler's container does not run")
        process = subprocess.Popen(
            ["docker", "exec", "--interactive", running[0].id, "/entrypoint", "control"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        lines: queue.Queue[str] = queue.Queue()

        def read() -> None:
            assert process.stdout is not None  # noqa: S101
            with contextlib.suppress(OSError, ValueError), process.stdout as stdout:
                for line in stdout:
                    lines.put(line)
            lines.put("")  # its end

        self._reader = threading.Thread(target=read, name="tradewind-channel", daemon=True)
        self._reader.start()
        self._process, self._lines = process, lines
