"""What the command says: data on stdout, talk on stderr, colour where the terminal and NO_COLOR allow it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.status import Status


class Terminal:
    """The two streams of the command, and one line that lives while something starts."""

    def __init__(self) -> None:
        from rich.console import Console

        self._talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self._status: Status | None = None
        self._began = time.monotonic()

    def data(self, text: str) -> None:
        """Print what was asked for, on stdout."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def tell(self, text: str) -> None:
        """Say something about what goes on."""
        self._talk.print(text)

    def warn(self, text: str) -> None:
        """Say something that a person should look at."""
        self._talk.print(text, style="yellow")

    def error(self, text: str) -> None:
        """Say why the command failed."""
        self._talk.print(f"error: {text}", style="red")

    @contextmanager
    def busy(self, text: str) -> Iterator[Terminal]:
        """Show a line that lives while the block runs, on a terminal only."""
        self._began = time.monotonic()
        with self._talk.status(text) as status:
            self._status = status
            try:
                yield self
            finally:
                self._status = None

    def update(self, text: str) -> None:
        """Change the line that lives, with the seconds since it began."""
        if self._status is not None:
            self._status.update(f"{text} ({time.monotonic() - self._began:.0f} s)")
