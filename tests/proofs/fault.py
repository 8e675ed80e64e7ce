"""Copies through a network that drops, delays and refuses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.fix_proxy import Faults, Proxy, behind
from tests.proofs.job import Running, Try
from tests.proofs.scenes import Load, Unload
from tests.stage import Stage

TRIES = 6
"""How many tries Airflow would make in all."""

S3_FAULTS = Faults(drop_request=0.12, drop_answer=0.12, slow_down=0.12, delay=0.2)
S3_LOAD_FAULTS = Faults(drop_request=0.1, drop_answer=0.4, slow_down=0.2, delay=0.3)
"""A load makes few requests, and one of them is long."""

POSTGRES_FAULTS = Faults(drop_request=0.2, drop_answer=0.2, delay=0.3, within=24 << 20)


@dataclass(frozen=True)
class Faulty:
    """One copy through the faults of one seed.

    :param where: which end lies behind the proxy
    :param made: the faults that happened, by kind
    :param tries: how many tries it took
    """

    seed: int
    where: str
    made: str
    tries: int
    seconds: float
    problems: list[str] = field(default_factory=list)

    def row(self) -> str:
        """Return it as a row of a Markdown table."""
        outcome = "; ".join(self.problems) or "right, nothing left"
        return f"| {self.seed} | {self.where} | {self.made} | {self.tries} | {self.seconds:.1f} | {outcome} |"


HEAD = """\
| seed | faulty end | what happened | tries | seconds | afterwards |
|--:|---|---|--:|--:|---|"""


class Breaker:
    """Runs one scene through proxies.

    :param scene: what is copied
    :param folder: where logs go
    :param seed: makes the seeds of the single runs
    """

    def __init__(self, scene: Load | Unload, folder: Path, seed: int) -> None:
        self.scene = scene
        self.folder = folder
        self.random = random.Random(seed)
        self.scene.reset()
        running = self._try("calm", 1, scene.stage)
        assert running.wait() == 0, f"the undisturbed run failed:\n{running.tail()}"
        scene.learn()

    def _try(self, run: str, number: int, stage: Stage) -> Running:
        return Running(Try(self.scene.name, f"fault-{run}", number, stage, self.folder))

    def run(self, number: int) -> Faulty:
        """Copy with one end behind the faults, in as many tries as Airflow would make, and look.

        :param number: the number of this run: every third one has PostgreSQL behind the proxy, the others S3
        """
        seed = self.random.randrange(10**6)
        end, make = (_postgres if number % 3 == 0 else _s3)(self.scene)
        self.scene.reset()
        started = time.monotonic()
        pids = []
        problems = []
        with make(seed) as proxy:
            stage = _through(self.scene.stage, end, proxy)
            for tries in range(1, TRIES + 1):
                running = self._try(str(seed), tries, stage)
                pids.append(running.pid)
                code = running.wait()
                if code == 0:
                    break
                problems += _verdict(running)
        if code:
            problems.append(f"no success in {TRIES} tries: {running.tail(300)!r}")
        seconds = time.monotonic() - started
        if wrong := self.scene.wrong():
            problems.append(wrong)
        problems += [f"left {thing}" for thing in self.scene.leftovers(pids)]
        made = ", ".join(f"{count} {what}" for what, count in sorted(proxy.made.items()) if count)
        return Faulty(seed, end, made, tries, seconds, problems)


def _s3(scene: Load | Unload) -> tuple[str, Callable[[int], Proxy]]:
    faults = S3_FAULTS if isinstance(scene, Unload) else S3_LOAD_FAULTS
    return "S3", lambda seed: Proxy(behind(scene.stage.endpoint), faults, seed)


def _postgres(scene: Load | Unload) -> tuple[str, Callable[[int], Proxy]]:
    return "PostgreSQL", lambda seed: Proxy(behind(scene.stage.dsn), POSTGRES_FAULTS, seed, http=False)


def _through(stage: Stage, end: str, proxy: Proxy) -> Stage:
    """Return the servers as they are seen through the proxy."""
    if end == "S3":
        return replace(stage, endpoint=proxy.url)
    url = urlsplit(stage.dsn)
    place = url.netloc.rpartition("@")[0] + f"@127.0.0.1:{proxy.port}"
    return replace(stage, dsn=urlunsplit(url._replace(netloc=place)))


def _verdict(running: Running) -> list[str]:
    """Say what is wrong with how a try failed: nothing, where Airflow would retry it."""
    return [] if running.failed_with("TransientError") else [f"a try failed for good: {running.tail(300)!r}"]
