"""What the stores have in common that only one process uses."""

from potassium.jobs.model import StoredJob
from potassium.jobs.store import StoreListener

__all__ = ["Unshared"]


class Unshared:
    """The part of a ``JobStore`` that is about other servers, where there are none."""

    is_shared = False

    def follow(self, listener: StoreListener) -> None:
        """Do nothing: nobody else changes the store."""

    def hurry(self) -> None:
        """Do nothing: what is in this process or on its disk keeps nobody waiting."""

    async def ask_to_end(self, job: StoredJob) -> bool:  # noqa: ARG002 - as in the interface
        """Return False: only this server runs jobs."""
        return False
