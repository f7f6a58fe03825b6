"""Restores a new snapshot, and compares it with what was written."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from potassium.building.needed import needed_files
from potassium.errors import UsageError
from potassium.fastboot.manifest import Chunk
from potassium.fastboot.restoring import Place, restored
from potassium.fastboot.settings import differing, put
from potassium.fastboot.unfit import Unfit
from potassium.fastboot.writing import examined

if TYPE_CHECKING:
    from potassium.app import Potassium
    from potassium.handlers.init import Init

__all__ = ["Verifier"]


class Verifier:
    """Stands in for the snapshot of an app: restores the new one, and looks at each tensor.

    Args:
        app: the app.
        place: where the new snapshot is.
        tensors: what was found of each tensor when it was written.
        wanted: the settings of torch once ``init`` had run.

    """

    def __init__(
        self, app: "Potassium", place: Place, tensors: Sequence[str], wanted: Mapping[str, Any]
    ) -> None:
        self._app = app
        self._place = place
        self._tensors = tensors
        self._wanted = wanted
        self._report: dict[str, Any] = {}

    def report(self) -> dict[str, Any]:
        """Return what a start has to do, as JSON: settings to change, and files that it reads."""
        return {**self._report, "needed": needed_files(self._place.snapshot)}

    def restore(self, init: "Init") -> dict[str, Any]:
        """Restore the snapshot.

        Raises:
            UsageError: it does not fit, or differs from what was written.

        """
        del init
        try:
            root, manifest = restored(self._place)
        except Unfit as error:
            raise UsageError(f"What was written cannot be restored: {error}.") from error
        began = time.monotonic()
        again = examined(root)
        _compare("tensors", Counter(self._tensors), Counter(again.tensors))
        _compare("bytes", _counted(manifest.chunks), _counted(again.chunks))
        missing = differing(self._wanted)
        put(missing)
        self._report = {"settings": missing, "besides": time.monotonic() - began}
        self._app.optimized[:] = root.optimized
        return root.contents

    def loaded(self, init: "Init") -> None:
        """Do nothing: the function has not run."""


def _counted(chunks: Sequence[Chunk]) -> Counter[Any]:
    """Count chunks of the same content: sets come back in another order."""
    return Counter(f"{one.size} bytes on {one.device}, {one.digest[:12]}" for one in chunks)


def _compare(what: str, before: Counter[Any], now: Counter[Any]) -> None:
    lost, more = before - now, now - before
    if lost or more:
        was, became = next(iter(lost), "nothing"), next(iter(more), "nothing")
        raise UsageError(f"The {what} differ once they are restored: {was} became {became}.")
