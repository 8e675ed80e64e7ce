"""Names in messages."""

from __future__ import annotations

from collections.abc import Sequence


def shown(names: Sequence[str], limit: int = 30) -> str:
    """List names for a message, not too many.

    :param names: the names
    :param limit: how many are shown
    """
    more = f", ... ({len(names)} in all)" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
