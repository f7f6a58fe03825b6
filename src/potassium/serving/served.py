"""What a server has to know of the app that it serves."""

from typing import Protocol

from starlette.types import Scope

from potassium.errors import PotassiumError

__all__ = ["Served"]


class Served(Protocol):
    """An app, as far as its server is concerned."""

    @property
    def has_failed(self) -> bool:
        """Whether the server must end, because the app cannot go on."""

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for a result."""

    @property
    def was_cut_off(self) -> bool:
        """Whether the grace period ended with callers still waiting for their calls."""

    def drain(self) -> None:
        """Stop admitting calls; may be called again."""

    def refused(self, error: PotassiumError, scope: Scope) -> None:
        """Note what a connection has answered by itself, without the app."""
