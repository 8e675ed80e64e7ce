"""What a copy would do, told without doing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.progress import megabytes
from tradewind.operators.templates import templated

FILES_TOLD = 100


class Right(NamedTuple):
    """A right that a copy needs.

    :param what: the right, as the service calls it: ``INSERT``, ``s3:PutObject``
    :param on: what it is needed on
    :param held: whether it is there, None where only the work itself can tell
    """

    what: str
    on: str
    held: bool | None = None

    def __str__(self) -> str:
        return f"{self.what} on {self.on}"


@dataclass
class Plan:
    """What a copy would do.

    :param way: which way it goes, in a line
    :param statements: the SQL that would run, in order; values are left out
    :param files: the files that would be read, with their bytes where they are known
    :param columns: which column each field goes to, by file
    :param rights: the rights that it needs
    :param notes: what else there is to know
    :param loaded_before: when the ledger says this input was loaded (ISO 8601), None where it was not
    """

    way: str
    statements: list[str] = field(default_factory=list)
    files: list[tuple[str, int | None]] = field(default_factory=list)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    rights: list[Right] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    loaded_before: str | None = None

    @property
    def lacking(self) -> list[str]:
        """The rights that are not there."""
        return [str(right) for right in self.rights if right.held is False]

    @property
    def bytes(self) -> int | None:
        """How many bytes the files have together, None where one does not say."""
        sizes = [size for _, size in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def lines(self) -> Iterator[str]:
        """Yield the plan as a person reads it."""
        yield f"plan: {self.way}"
        for name, size in self.files[:FILES_TOLD]:
            yield f"  reads {name}{'' if size is None else f' ({megabytes(size)})'}"
        if len(self.files) > FILES_TOLD:
            yield f"  reads {len(self.files) - FILES_TOLD:,} files more"
        for name, pairs in self.columns.items():
            yield f"  columns of {name}: {', '.join(f'{a} -> {b}' if a != b else a for a, b in pairs.items())}"
        for statement in self.statements:
            yield f"  runs {statement}"
        for right in self.rights:
            state = {True: "held", False: "MISSING", None: "not known before the work"}[right.held]
            yield f"  needs {right}: {state}"
        for note in self.notes:
            yield f"  {note}"
        if self.loaded_before:
            yield f"  this input was loaded at {self.loaded_before}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values that every XCom backend takes, not too many of them."""
        return {
            "plan": self.way,
            "statements": self.statements,
            "files": [name for name, _ in self.files[:FILES_TOLD]],
            "file_count": len(self.files),
            "bytes": self.bytes,
            "columns": dict(list(self.columns.items())[:FILES_TOLD]),
            "rights": [str(right) for right in self.rights],
            "lacking": self.lacking,
            "notes": self.notes,
            "loaded_before": self.loaded_before,
        }


def truth(value: object, name: str) -> bool | None:
    """Read yes or no, which a template renders as a text; None for a template that is not rendered yet.

    :param value: a boolean, a number, None or a text
    :param name: the argument, for messages
    :raises InvalidArgument: where it is neither
    """
    text = str(value).strip().lower()
    if templated(text):
        return None
    if text in ("true", "yes", "on", "1"):
        return True
    if text in ("false", "no", "off", "0", "none", ""):
        return False
    raise InvalidArgument(f"{name} must be true or false, not {value!r}")
