"""Writes a snapshot of what ``init`` has loaded, as soon as it has."""

import os
import sys
import time
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potassium.building.files import FilesRead
from potassium.building.variables import VariablesRead
from potassium.errors import UsageError
from potassium.fastboot.keys import accelerator, digest_of, facts_of, software, value_of
from potassium.fastboot.manifest import MANIFEST, Keys, Manifest
from potassium.fastboot.restoring import Root
from potassium.fastboot.writing import Written, write
from potassium.handlers.functions import file_of, name_of
from potassium.project.files import own_modules
from potassium.serving.snapshot import place_of

if TYPE_CHECKING:
    from potassium.app import Potassium
    from potassium.handlers.init import Init

__all__ = ["Recorder"]

MODE = 0o755
ALWAYS = ("potassium", "torch", "transformers")  # if they are imported


class Recorder:
    """Stands in for a snapshot while one is made: it has nothing, and takes what is loaded.

    """

    def __init__(self, app: "Potassium", files: FilesRead, variables: VariablesRead) -> None:
        self._app = app
        self._files = files
        self._variables = variables
        self._modules: set[str] = set()
        self._environment: dict[str, str] = {}
        self._report: dict[str, Any] = {}

    def report(self) -> dict[str, Any]:
        """Return where the snapshot was written, and where it belongs, as JSON."""
        return self._report

    def restore(self, init: "Init") -> None:
        """Note how things are before the function runs."""
        del init
        self._modules = set(own_modules())
        self._environment = dict(os.environ.items())

    def loaded(self, init: "Init") -> None:
        """Write what there is now that it has run."""
        self._files.stop()
        began = time.monotonic()
        place = place_of(init.function)  # type: ignore[arg-type]  # it has just run
        if place is None:
            raise UsageError("init is in no file, so there is no place for a snapshot beside it.")
        folder = _new_folder(place)
        written = write(Root(self._app.get_cache(), list(self._app.optimized)), folder)
        manifest = self._manifest(init, written)
        (folder / MANIFEST).write_bytes(manifest.encoded())
        self._report = {
            "place": str(place),
            "folder": str(folder),
            "tensors": written.tensors,
            "besides": time.monotonic() - began,
        }

    def _manifest(self, init: "Init", written: Written) -> Manifest:
        home = Path(file_of(init.function) or ".").resolve().parent  # type: ignore[arg-type]
        own = {name: path for name, (_, path) in own_modules().items()}
        keys = Keys(
            init=name_of(init.function),  # type: ignore[arg-type]
            device=init.told(),
            software=software(_distributions(written.owners)),
            accelerator=accelerator(),
            sources={_below(home, path): digest_of(path) for path in own.values()},
            modules={name: _below(home, path) for name, path in own.items()},
            environment={
                name: value_of(name, self._environment) for name in sorted(self._variables.names)
            },
            files={
                _below(home, path): facts_of(path) for path in self._files.paths([home, Path.cwd()])
            },
        )
        return Manifest(
            keys=keys,
            command="",
            made=time.time(),
            objects_size=written.objects_size,
            objects_sha256=written.objects_sha256,
            tensors_size=written.tensors_size,
            chunks=written.chunks,
            imports=tuple(sorted(own.keys() - self._modules)),
            variables=_changed(self._environment, dict(os.environ.items())),
        )


def _new_folder(place: Path) -> Path:
    """Make a folder for what is to take its place, in the same file system."""
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = place.with_name(f".{place.name}.{os.getpid()}")
    folder.mkdir(MODE)
    return folder


def _below(folder: Path, path: Path) -> str:
    """Return where a file is in the folder; if it is elsewhere, its whole path."""
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    return str(path)


def _distributions(owners: frozenset[str]) -> frozenset[str]:
    """Return the distributions that have these top-level modules, and those that always count."""
    known = packages_distributions()
    modules = {*owners, *(name for name in ALWAYS if name in sys.modules)}
    return frozenset(name for module in modules for name in known.get(module, ()))


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, Any]:
    """Return the variables that were set, with their values, and those removed, with None."""
    return {
        name: now.get(name)
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    }
