"""Writes a snapshot of what ``init`` has loaded, as soon as it has."""

import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potassium.building.files import FilesRead
from potassium.building.new_keys import NewKeys
from potassium.building.own_globals import OwnGlobals
from potassium.building.variables import VariablesRead
from potassium.errors import UsageError
from potassium.fastboot.compiled_code import begin
from potassium.fastboot.culprit import culprit
from potassium.fastboot.manifest import MANIFEST, Manifest
from potassium.fastboot.random_states import states
from potassium.fastboot.root import Root
from potassium.fastboot.settings import settings
from potassium.fastboot.trusted import write_own
from potassium.fastboot.writing import Written, write
from potassium.project.files import own_modules
from potassium.serving.snapshot_places import place_of

if TYPE_CHECKING:
    from potassium.app import Potassium
    from potassium.handlers.init import Init

__all__ = ["Recorder"]

MODE = 0o755

# Names of variables whose values must not be in a file that others may read.
SECRET = re.compile("TOKEN|SECRET|PASSW|CREDENTIAL|_KEY", re.IGNORECASE)


class Recorder:
    """Stands in for a snapshot while one is made: it has nothing, and takes what is loaded."""

    def __init__(self, app: "Potassium", files: FilesRead, variables: VariablesRead) -> None:
        self._app = app
        self._files = files
        self._variables = variables
        self._folder: Path | None = None
        self._report: dict[str, Any] = {}

    def report(self) -> dict[str, Any]:
        """Return where the snapshot was written, where it belongs, and what is in it, as JSON."""
        return self._report

    def discard(self) -> None:
        """Remove what was written."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def restore(self, init: "Init") -> None:
        """Note how things are before the function runs.

        Raises:
            UsageError: there is no place for a snapshot.

        """
        assert init.function is not None  # noqa: S101 - the build has looked
        place = place_of(init.function)
        if place is None:
            raise UsageError("init is in no file, so there is no place for a snapshot beside it.")
        self._place = place
        self._folder = _new_folder(place)
        begin(self._folder)
        self._modules = set(own_modules())
        self._globals = OwnGlobals()
        self._environment = dict(os.environ.items())
        self._keys = NewKeys(init, self._files, self._variables)
        self._ran_at = time.monotonic()

    def loaded(self, init: "Init") -> None:
        """Write what there is now that it has run.

        Raises:
            UsageError: some of it cannot be kept.

        """
        del init
        assert self._folder is not None  # noqa: S101 - see restore
        began = time.monotonic()
        changed = _changed(self._environment, dict(os.environ.items()))
        contents, optimized = self._app.get_cache(), list(self._app.optimized)
        written = _written(
            Root(contents, optimized, self._globals.changed(), states()), self._folder
        )
        manifest = Manifest(
            keys=self._keys.found(written.owners),
            made=time.time(),
            objects_size=written.objects_size,
            objects_sha256=written.objects_sha256,
            tensors_size=written.tensors_size,
            chunks=written.chunks,
            imports=tuple(sorted(own_modules().keys() - self._modules)),
            variables=changed,
            init_seconds=round(began - self._ran_at, 3),
        )
        write_own(self._folder / MANIFEST, manifest.encoded())
        self._report = {
            "place": str(self._place),
            "folder": str(self._folder),
            "home": str(self._keys.home),
            "tensors": written.tensors,
            "settings": settings(),
            "besides": time.monotonic() - began,
        }


def _written(root: Root, folder: Path) -> Written:
    """Write ``root``, or say what in it cannot be written.

    Raises:
        UsageError: something cannot.

    """
    try:
        return write(root, folder)
    except Exception as error:
        parts = {"cache": root.contents, "app.optimized": root.optimized}
        parts |= {f"{one.module}.{one.name}": one.value for one in root.globals}
        what = culprit(parts)
        if what is None:
            raise
        raise UsageError(
            f"A snapshot cannot keep {what}. Load this part in a function below @app.restored, "
            "which gets the cache and runs at every start; or leave it as it is, and do without a "
            "snapshot."
        ) from error


def _new_folder(place: Path) -> Path:
    """Make a folder for what is to take its place, in the same file system.

    Those of builds that were cut short are removed.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    for left in place.parent.glob(f".{place.name}.*"):
        pid = left.name.rpartition(".")[2]
        if not (pid.isdecimal() and _is_running(int(pid))):
            shutil.rmtree(left, ignore_errors=True)
    folder = place.with_name(f".{place.name}.{os.getpid()}")
    folder.mkdir(MODE)
    return folder


def _is_running(pid: int) -> bool:
    """Return whether a process runs; one that has ended counts as such before it is waited for."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # not Linux: it runs
    except OSError:
        return False
    return state not in (b"Z", b"X")


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables that were set, with their values, and those removed, with None.

    Raises:
        UsageError: one of them is a secret, by its name.

    """
    changed = {
        name: now.get(name)
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    }
    for name, value in changed.items():
        if value is not None and SECRET.search(name):
            raise UsageError(
                f"init sets the environment variable {name}, and its value would be in the "
                "snapshot for all to read. Set it outside of init."
            )
    return changed
