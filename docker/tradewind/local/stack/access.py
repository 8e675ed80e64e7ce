"""Who reaches an environment, and what it reaches: MWAA's web server access modes, and its routing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tradewind.local.errors import InvalidInput

MODES = ("PUBLIC_ONLY", "PRIVATE_ONLY", "PUBLIC_AND_PRIVATE")
"""MWAA's web server access modes."""
ROUTING = ("public", "private")
"""MWAA's words for a network with a way out and for one without."""


@dataclass(frozen=True)
class Access:
    """Both for one environment.

    :param web_private: whether the web server is published to nobody, and reaches no index
    :param private: whether scheduler and workers have no way out
    """

    web_private: bool
    private: bool

    @classmethod
    def of(cls, mode: str, routing: str | None) -> Self:
        """Return what an access mode and a routing mean.

        :param mode: one of :data:`MODES`
        :param routing: one of :data:`ROUTING`; private where the web server is when None
        :raises InvalidInput: for any other word
        """
        if mode not in MODES:
            raise InvalidInput(f"there is no web server access mode {mode!r}: choose one of {', '.join(MODES)}")
        if routing not in (None, *ROUTING):
            raise InvalidInput(f"there is no routing {routing!r}: choose one of {', '.join(ROUTING)}")
        web = mode == "PRIVATE_ONLY"
        return cls(web, web if routing is None else routing == "private")

    def variables(self) -> dict[str, str]:
        """Return what the Compose file asks for."""
        return {"TRADEWIND_WEB_PRIVATE": str(self.web_private).lower(), "TRADEWIND_PRIVATE": str(self.private).lower()}
