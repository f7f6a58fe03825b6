"""A store of jobs as a third party might write it: on top of something that it already has."""

from collections.abc import Sequence
from typing import Any

from potassium.jobs import StoredJob
from potassium.jobs.memory_store import MemoryStore

__all__ = ["OwnStore"]


class OwnStore:
    """Is no subclass of anything of Potassium's; all that it has is that of a ``JobStore``.

    Attributes:
        gives_jobs: whether queued jobs can be claimed.

    """

    def __init__(self) -> None:
        self.gives_jobs = True
        self._inner = MemoryStore()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def claim(self, **options: Any) -> Sequence[StoredJob]:
        return await self._inner.claim(**options) if self.gives_jobs else ()
