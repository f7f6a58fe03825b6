"""Finds the snapshot of what ``init`` has loaded, if there is one."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potassium.config import fastboot
from potassium.errors import UsageError
from potassium.handlers.functions import file_of, name_of
from potassium.handlers.init import Init
from potassium.serving.snapshot_places import place_of

if TYPE_CHECKING:
    from potassium.fastboot.restoring import Place

__all__ = ["SnapshotBeside", "asked"]

MANIFEST = "manifest.json"


class SnapshotBeside:
    """The snapshot beside the file of ``init``, or where ``POTASSIUM_FASTBOOT`` says.

    An app without one pays for looking into a folder.

    Args:
        app: returns the app, whose ``optimized`` modules are restored as well.

    """

    def __init__(self, app: Callable[[], Any]) -> None:
        self._app = app

    def restore(self, init: Init) -> dict[str, Any] | None:
        """Return the cache as the snapshot has it; None if there is none, or it does not fit.

        Raises:
            UsageError: there is none, or it does not fit, and ``POTASSIUM_FASTBOOT=require``.

        """
        how = fastboot()
        if how == "off" or init.function is None:
            return None
        folder = place_of(init.function)
        if folder is None or not (isinstance(how, Path) or (folder / MANIFEST).exists()):
            if how == "require":
                raise UsageError(
                    f"POTASSIUM_FASTBOOT=require, but there is no snapshot in {folder}. Make it: "
                    "potassium build"
                )
            return None
        from potassium.fastboot.restoring import restored_or_not  # noqa: PLC0415 - where used

        root = restored_or_not(asked(init, folder), required=how == "require")
        if root is None:
            return None
        self._app().optimized[:] = root.optimized
        return root.contents

    def loaded(self, init: Init) -> None:
        """Do nothing: snapshots are made by ``potassium build`` alone."""


def asked(init: Init, snapshot: Path) -> "Place":
    """Return what is asked for in a snapshot in place of running ``init``."""
    from potassium.fastboot.restoring import Place  # noqa: PLC0415 - where there is a snapshot

    assert init.function is not None  # noqa: S101 - otherwise there is nothing to restore
    file = Path(file_of(init.function) or ".")
    return Place(snapshot, file, name_of(init.function), init.told())
