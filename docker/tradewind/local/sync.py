"""The way of a file: the user's folder -> the bucket -> Airflow's folder.

The first leg takes what the user saves, the second what is in the bucket, whoever put it there. With the embedded
engine both run here; in the container stack each Airflow container pulls for itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tradewind.local.pull import Pull, listing
from tradewind.local.push import Push

INTERVAL = 1.0
"""Seconds between two looks at the folder and at the bucket."""
SHARE = 4
"""How many times as long as a look took the next one is waited for: it takes a fifth of a core at most."""

RESTART = {"plugins.zip": "plugins", "requirements.txt": "requirements.txt", "startup.sh": "startup.sh"}
"""Keys that Airflow reads at its start alone, and what people call them."""


class Sync:
    """Keep a project, its bucket and, where it is here, Airflow's folder the same.

    :param push: the first leg
    :param pull: the second leg; None where others take it
    :param tell: called with one line for each thing worth telling
    :param update: called in a thread of its own, one at a time, when what Airflow reads at its start alone has changed,
        with what people call it and the ETags of all objects by key; says whether it took them; None where somebody
        else sees to it
    """

    def __init__(
        self,
        push: Push,
        pull: Pull | None,
        tell: Callable[[str], None],
        update: Callable[[str, dict[str, str]], bool] | None = None,
    ) -> None:
        self.tell = tell
        self._push = push
        self._pull = pull
        self._update = update
        self._changing: dict[str, str | None] = {}
        self._refused: dict[str, str | None] = {}
        self._restart: dict[str, str | None] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._updating: threading.Thread | None = None
        self._trouble = ""

    def prepare(self) -> None:
        """Bring both legs up to date, and lay out what is read at the start."""
        self._push.prepare()
        found = self._listing()
        self._restart = {key: found.get(key) for key in RESTART}
        if self._pull is not None:
            self._pull.prepare(found)

    def start(self) -> None:
        """Look again and again, in a thread."""
        self._thread = threading.Thread(target=self._loop, name="tradewind-sync", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        for thread in (self._thread, self._updating):
            if thread is not None:
                thread.join(30)

    def _loop(self) -> None:
        took = 0.0
        while not self._stopping.wait(max(INTERVAL, SHARE * took)):
            began = time.monotonic()
            try:
                self.look()
                self._trouble = ""
            except Exception as error:  # the loop outlives a full disk or a server that is just ending
                if not self._stopping.is_set() and str(error) != self._trouble:
                    self._trouble = str(error)
                    self.tell(f"sync: {error}")
            took = time.monotonic() - began

    def look(self) -> None:
        """Take both legs once."""
        self._push.push()
        found = self._listing()
        if self._pull is not None:
            self._pull.pull(found)
        self._notice(found)

    def _notice(self, found: dict[str, str]) -> None:
        """Have the environment updated once a change has stayed for a look: somebody may be saving several files."""
        now = {key: found.get(key) for key in RESTART}
        before, self._changing = self._changing, now
        if self._update is None or (self._updating is not None and self._updating.is_alive()):
            return
        if now == before and now not in (self._restart, self._refused):
            # It may take minutes, in which the DAGs follow the folder as ever.
            self._updating = threading.Thread(
                target=self._have_updated, args=(self._update, now, found), name="tradewind-update", daemon=True
            )
            self._updating.start()

    def _have_updated(
        self, update: Callable[[str, dict[str, str]], bool], now: dict[str, str | None], found: dict[str, str]
    ) -> None:
        what = " and ".join(name for key, name in RESTART.items() if now[key] != self._restart[key])
        try:
            taken = update(what, found)
        except Exception as error:  # a full disk: said once, not at each look
            self.tell(f"the update of {what} failed: {error}")
            taken = False
        if taken:
            self._restart = now
        else:
            self._refused = now

    def _listing(self) -> dict[str, str]:
        return listing(self._push.client, self._push.bucket)
