"""What was perhaps meant."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Return the one of some names that is most like a name, for an error's "did you mean"; nothing where none is.

    :param name: what was given
    :param names: what there is
    """
    import difflib  # costs every DAG file that imports us most of a millisecond, and is for errors alone

    return difflib.get_close_matches(name, list(names), n=1)
