"""Hostile names and values in every place that SQL is made of, and what the servers themselves say they were told.

Each payload holds a word of its own. The servers log every statement; what a statement holds outside quotes, comments
included, must hold none of those words. A table that many payloads try to drop must stay, and what was written under
hostile names must be read back as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.proofs.hostile_connections import ConnectionRound
from tests.proofs.hostile_tables import TableRound
from tests.proofs.listeners import Service
from tests.proofs.payloads import Payloads

EVERY = 2
"""Rounds of tables for each round of connections."""


@dataclass
class Injected:
    """What was tried.

    :param payloads: how many names and values
    :param told: how many of them the servers saw in statements; the others went as data
    """

    payloads: int = 0
    rounds: int = 0
    told: int = 0
    problems: list[str] = field(default_factory=list)


def inject(services: list[Service], seed: int, count: int) -> Injected:
    """Try hostile names and values on each database in turn.

    :param count: how many payloads, at least
    """
    payloads, done, number = Payloads(seed), Injected(), 0
    while payloads.count < count:
        for service in services:
            _try(TableRound(service, payloads, number), done)
            if number % EVERY == 0:
                _try(ConnectionRound(service, payloads, number // EVERY), done)
        number += 1
    done.payloads = payloads.count
    return done


def _try(hostile: TableRound | ConnectionRound, done: Injected) -> None:
    try:
        found = hostile.problems()
    except Exception as error:  # what cannot be copied is a problem too
        found = [f"{type(error).__name__}: {error}"]
    what = f"{hostile.service.kind}, {type(hostile).__name__} {done.rounds}"
    done.problems += [f"{what}: {text}" for text in found]
    done.told += len(hostile.told)
    done.rounds += 1
