"""What a running environment does now, seen from another process."""

from __future__ import annotations

import time
from typing import Any

from tradewind.local.errors import LocalError
from tradewind.local.load import Meter
from tradewind.local.postgres import USER
from tradewind.local.state import State

MOMENT = 0.5
"""Seconds over which the use of a core is measured at the first look."""


class Look:
    """Looks at one environment, as often as it is asked to.

    :param state: its state folder
    :param running: what it announced, see :meth:`tradewind.local.state.State.running`
    """

    def __init__(self, state: State, running: dict[str, Any]) -> None:
        self._docker = running.get("engine") == "docker"
        self._state = state
        self.running = running
        self._meter: Meter | None = None
        self._seconds: dict[str, float] = {}
        self._at = 0.0
        if self._docker:
            from tradewind.local.stack.channel import Channel

            self._channel = Channel(running["project"])

    def load(self, ends: int = 0) -> dict[str, Any] | None:
        """Return how many tasks run and wait, on which hosts, and the last tries that ended.

        :param ends: how many of the last
        :return: None when it is not known: the environment is just starting
        """
        try:
            if self._docker:
                found: dict[str, Any] = self._channel.ask("load", ends=ends)
                return found
            return self._open_meter().facts(ends)
        except (LocalError, OSError, KeyError):
            return None

    def components(self, *, cores: bool = False) -> list[dict[str, Any]]:
        """Return name, process or container id, number of processes and bytes of memory of each component.

        What has no processes is gone.

        :param cores: whether to say how much of a core each takes, in percent
        """
        if self._docker:
            from tradewind.local.stack.compose import usage

            return usage(self.running["project"])
        from tradewind.local.environment import measure

        running = self.running
        pids = {name: pid for name, pid in running["components"].items() if pid is not None}
        used = self._cores(pids) if cores else {}
        measured = measure(pids, running["pid"])
        rows = []
        for name, pid in {"tradewind": running["pid"], **pids}.items():
            found = measured.get(name)
            row = {"name": name, "pid": pid, "processes": found.count if found else 0}
            row["bytes"] = found.bytes if found else 0
            rows.append({**row, "cpu": used.get(name, 0.0)} if cores else row)
        return rows

    def facts(self, *, cores: bool = False, ends: int = 0) -> dict[str, Any]:
        """Return all of it: what was announced, the components, the workers, their slots and the tasks."""
        rows, load = self.components(cores=cores), self.load(ends)
        facts = {**self.running, "components": rows}
        working = [row for row in rows if row["name"] in ("worker", "hybrid")] if self._docker else []
        hosts = load["hosts"] if load else {}
        for row in working:
            row["tasks"] = hosts.get(row["id"], 0)
            row["draining"] = row["id"] in self.running.get("draining", [])
        if self._docker:
            facts["workers"] = len(working)
            facts["slots"] = len(working) * self.running.get("tasks_per_worker", 0)
        facts["tasks"] = load and {name: load[name] for name in ("running", "queued")}
        if ends:
            facts["ends"] = load["ends"] if load else []
        return facts

    def again(self) -> dict[str, Any] | None:
        """Read what the environment announced anew.

        :return: None when it ended
        """
        found = self._state.running()
        if found is None or found["pid"] != self.running["pid"]:
            return None
        self.running = found
        return found

    def close(self) -> None:
        """Close what was opened."""
        if self._docker:
            self._channel.close()
        if self._meter is not None:
            self._meter.close()

    def _open_meter(self) -> Meter:
        if self._meter is None:
            database = self.running["database"]
            password = (self._state.postgres / "password").read_text()
            self._meter = Meter(f"postgresql://{USER}:{password}@127.0.0.1:{database['port']}/{database['name']}")
        return self._meter

    def _cores(self, pids: dict[str, int]) -> dict[str, float]:
        """Return how many percent of a core each took since the last look."""
        if not self._seconds:
            self._seconds, self._at = self._cpu(pids), time.monotonic()
            time.sleep(MOMENT)
        before, began = self._seconds, self._at
        self._seconds, self._at = self._cpu(pids), time.monotonic()
        passed = self._at - began
        return {
            name: round(max(0.0, seconds - before.get(name, seconds)) / passed * 100, 1)
            for name, seconds in self._seconds.items()
        }

    def _cpu(self, pids: dict[str, int]) -> dict[str, float]:
        from tradewind.local.memory import cpu_seconds

        found = {name: cpu_seconds(pid, alone=name == "guard") for name, pid in pids.items()}
        return {**found, "tradewind": cpu_seconds(self.running["pid"], alone=True)}
