"""Templates in arguments, which are rendered when a task runs."""

from __future__ import annotations


def templated(text: object) -> bool:
    """Say whether a text is a template that is not rendered yet."""
    return isinstance(text, str) and ("{{" in text or "{%" in text)
