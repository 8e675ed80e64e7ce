"""Progress of the demo in the terminal: a table that lives, or plain lines where stderr is no terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from tradewind.mwaa.demo.summary import COLUMNS, Line

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

STYLES = {"success": "green", "running": "cyan", "deferred": "yellow", "failed": "bold red", "upstream_failed": "red"}


class Board:
    """Shows what the tasks do.

    :param began: when the command began, by the monotonic clock
    """

    def __init__(self, began: float) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._began = began
        self._live: Live | None = None
        self._told: dict[str, str] = {}

    def __enter__(self) -> Board:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            from rich.live import Live

            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, lines: Sequence[Line], arrived: int, months: int) -> None:
        """Show the present state.

        :param lines: the tasks
        :param arrived: how many months are in the bucket
        :param months: how many there will be
        """
        if self._live is not None:
            self._live.update(self._table(lines, arrived, months))
            return
        for line in lines:
            if line.state in ("not started", "scheduled", "queued") or self._told.get(line.task_id) == line.state:
                continue
            self._told[line.task_id] = line.state
            task, *cells = line.cells()
            self._say(f"{task}: {', '.join(cell for cell in cells if cell)}")

    def arrived(self, name: str) -> None:
        """Tell that a file is in the bucket; the table shows it by itself."""
        if self._live is None:
            self._say(f"{name} arrived in the bucket")

    def _say(self, text: str) -> None:
        self._console.print(f"{time.monotonic() - self._began:6.1f} s  {text}", markup=False, soft_wrap=True)

    def _table(self, lines: Sequence[Line], arrived: int, months: int) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for place, name in enumerate(COLUMNS):
            table.add_column(name, justify="left" if place < 2 else "right", min_width=(16, 26, 8, 8, 12)[place])
        for line in lines:
            task, state, *cells = line.cells()
            table.add_row(task, Text(state, style=_style(line)), *cells)
        bar = "#" * arrived + "." * (months - arrived)
        table.caption = Text(f"months in the bucket [{bar}]   {time.monotonic() - self._began:.0f} s", style="dim")
        table.caption_justify = "left"
        return table


def _style(line: Line) -> str:
    if line.state in STYLES:
        return STYLES[line.state]
    through, of, total = line.state.split(",")[0].partition(" of ")
    if of:
        return "green" if through == total else "cyan"
    return "dim"
