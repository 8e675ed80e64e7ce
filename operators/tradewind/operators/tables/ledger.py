"""What every ledger shares: the names of a copy, and its result kept as JSON.

A ledger is a table in the target's database. A load writes its row there in the transaction that holds its rows, under
the copy's token: whoever comes second with the same token finds it, waits for it, and loads nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Protocol

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.ends import CopyRequest, CopyResult, Reading

LEDGER = "tradewind_ledger"
LEDGER_DAYS = 90
LEDGER_COLUMNS = (
    "token",
    "dag_id",
    "run_id",
    "task_id",
    "map_index",
    "try",
    "target",
    "source",
    "mode",
    "rows",
    "bytes",
    "files",
    "loaded_at",
    "result",
)
PRUNED_AT_ONCE = 1000


class Ledger(Protocol):
    """The ledger of one load, in the load's transaction."""

    @property
    def name(self) -> object:
        """Its table, whose text is for messages."""

    @property
    def ddl(self) -> str:
        """The statement that creates the table."""

    def is_there(self) -> bool:
        """Say whether the table is there."""

    def check_shape(self) -> None:
        """Refuse a table that is no ledger.

        :raises InvalidArgument: with the columns that it lacks
        """

    def holds(self, right: str) -> bool | None:
        """Say whether this role has a right to the table, None where only the work itself can tell."""

    def loaded_at(self, token: str) -> str | None:
        """Return when a piece of work was done (ISO 8601), None where it was not."""

    def ensure(self) -> None:
        """Create the table where it is not there."""

    def claim(self, token: str, request: CopyRequest, target: str, source: str) -> CopyResult | None:
        """Claim a piece of work; None where it is ours, else what the try that did it recorded."""

    def overwrite(self, token: str, request: CopyRequest, target: str, source: str) -> None:
        """Take over the entry of a work that is done anew."""

    def finish(self, tokens: list[str], result: CopyResult) -> None:
        """Record what was done."""


def copy_token(request: CopyRequest, reading: Reading, target: str) -> str:
    """Name this copy of this input into this target.

    :param request: what is to be done
    :param reading: the input
    :param target: the target's full name
    :return: 64 hexadecimal digits
    """
    return request.token(_identity(request, reading, target))


def reload_token(request: CopyRequest, reading: Reading, target: str) -> str:
    """Name the forced copy of an input: a retry of it is the same work, a person's clear is new work.

    :param request: what is to be done
    :param reading: the input
    :param target: the target's full name
    :return: 64 hexadecimal digits
    """
    return request.work.token(_identity(request, reading, target) + " reload")


def _identity(request: CopyRequest, reading: Reading, target: str) -> str:
    how: list[object] = [reading.fingerprint, target, request.mode, list(request.key)]
    if request.duplicates != "error":
        how.append(request.duplicates)
    return json.dumps(how)


def recorded(result: CopyResult) -> str:
    """Write a result as the ledger keeps it.

    :param result: what a load did
    :return: JSON
    """
    return json.dumps(result.as_dict())


def recalled(kept: Mapping[str, Any] | str | None, loaded_at: str) -> CopyResult:
    """Read a result that a ledger kept.

    :param kept: what :func:`recorded` wrote, parsed or not
    :param loaded_at: when it was loaded, ISO 8601
    """
    values = json.loads(kept) if isinstance(kept, str) else dict(kept or {})
    known = {item.name for item in fields(CopyResult)}
    return CopyResult(
        **{**{name: value for name, value in values.items() if name in known}, "loaded_before": loaded_at}
    )


def is_pruner(token: str) -> bool:
    """Say whether the load of a token deletes old entries: one in sixteen does.

    :param token: the work's name
    """
    return int(token[:2], 16) % 16 == 0


def refuse_shape(name: object, columns: Iterable[str], unique: bool, ddl: str) -> None:
    """Refuse a table that is no ledger, as an older or a foreign one of its name.

    :param name: the table, for messages
    :param columns: the columns that it has
    :param unique: whether an index keeps tokens unique, which alone keeps a load from happening twice
    :param ddl: the statement that makes a ledger
    :raises InvalidArgument: with what it lacks
    """
    have = {column.lower() for column in columns}
    missing = [column for column in LEDGER_COLUMNS if column not in have]
    wrong = f"has no column {missing[0]!r}" if missing else "does not keep token unique"
    if missing or not unique:
        raise InvalidArgument(
            f"{name} is no ledger: it {wrong}; move it away, or name another one by ledger=: {' '.join(ddl.split())}"
        )
