"""Hostile names and values, each of which can be told from all others by a word of its own."""

from __future__ import annotations

import random

ATTACKS = [
    "'; DROP TABLE canary; --",
    '"; DROP TABLE canary; --',
    "`; DROP TABLE canary; -- ",
    "'); DELETE FROM canary; #",
    "\\'; DROP TABLE canary; -- ",
    "\\",
    "\\\\'",
    "' OR '1'='1",
    '" OR ""="',
    "/*",
    "*/ DROP TABLE canary /*",
    "/*! DROP TABLE canary */",
    "--",
    "#",
    "%s",
    "%(a)s",
    "%%",
    "$1",
    "$$; DROP TABLE canary; $$",
    ":a",
    "?",
    "{}",
    "E'\\'",
    'U&"\\0022"',
    "\u02bc\u2019\uff07",
    "\u00bf'",
    "@@version",
    "\x1f",
    "\t",
    "\n; DROP TABLE canary;\n",
    "\r",
    "x",
    "select",
]


class Payloads:
    """Makes payloads, each of which can be told from all others.

    :param seed: makes the choices
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0

    def value(self) -> str:
        """Make a text."""
        self.count += 1
        some = [self.random.choice(ATTACKS) for _ in range(self.random.randint(1, 3))]
        some.insert(self.random.randint(0, len(some)), f"zq{self.count}x")
        return "".join(some)

    def name(self, most: int = 59) -> str:
        """Make an identifier, as short as the servers want it, that ends in no blank.

        :param most: bytes that it has at most
        """
        while True:
            made = f"{self.random.choice(ATTACKS)}zq{self.count + 1}x{self.random.choice(ATTACKS)}"
            if len(made.encode()) <= most and made == made.strip():
                self.count += 1
                return made
