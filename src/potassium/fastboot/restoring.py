"""Restores a snapshot at a start, if it fits."""

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from potassium.errors import UsageError
from potassium.fastboot.compiled_code import use
from potassium.fastboot.keys import check, check_accelerator
from potassium.fastboot.manifest import MANIFEST, Manifest
from potassium.fastboot.random_states import put_states
from potassium.fastboot.read_ahead import read_ahead
from potassium.fastboot.reading import read
from potassium.fastboot.root import Root
from potassium.fastboot.settings import put, put_back, settings
from potassium.fastboot.trusted import Folder, opened
from potassium.fastboot.unfit import Unfit

__all__ = ["Place", "restored", "restored_or_not"]

logger = logging.getLogger("potassium")


@dataclass(frozen=True)
class Place:
    """What is asked for a snapshot.

    Attributes:
        snapshot: its folder.
        file: the file of the function that would run otherwise.
        init: the name of that function.
        device: what that would be told; None if nothing.

    """

    snapshot: Path
    file: Path
    init: str
    device: str | None

    @property
    def app(self) -> Path:
        """The folder in which relative paths begin."""
        return self.file.resolve().parent


def restored_or_not(place: Place, *, required: bool) -> Root | None:
    """Return what the snapshot has, or None if it does not fit; say which on the log.

    Raises:
        UsageError: it does not fit, and is required.

    """
    began = time.monotonic()
    try:
        root, manifest = restored(place)
    except Unfit as error:
        if required:
            raise UsageError(
                f"POTASSIUM_FASTBOOT=require, but the snapshot in {place.snapshot} is not used: "
                f"{error}."
            ) from error.__cause__
        logger.warning(
            "init runs: the snapshot in %s is not used, because %s. To make it anew: "
            "potassium build %s",
            place.snapshot,
            error,
            place.file.name,
        )
        return None
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(manifest.made))
    logger.info(
        "init does not run: what it loaded on %s in %.1f s was restored from %s in %.1f s",
        made,
        manifest.init_seconds,
        place.snapshot,
        time.monotonic() - began,
    )
    return root


def restored(place: Place) -> tuple[Root, Manifest]:
    """Return what the snapshot has, and what it says of itself.

    Raises:
        Unfit: it does not fit, or cannot be trusted.

    """
    with opened(place.snapshot) as folder:
        manifest = Manifest.decoded(folder.read(MANIFEST))
        check(manifest.keys, place.app, place.init, place.device)
        read_ahead(place.snapshot)
        with _variables_put_back_if_it_fails():
            _set_variables(manifest.variables)
            use(folder)
            check_accelerator(manifest.keys)
            try:
                root = _built(folder, manifest, place.app)
            except Unfit:
                raise
            except Exception as error:
                raise Unfit(f"it cannot be read: {type(error).__name__}: {error}") from error
    return root, manifest


def _built(folder: Folder, manifest: Manifest, app: Path) -> Root:
    """Return what was pickled, once all else is as ``init`` left it."""
    for name in manifest.imports:
        import_module(name)
    renamed = _renamed(manifest, app)
    root = read(folder, manifest, renamed)
    if not isinstance(root, Root):
        raise Unfit("it contains something else than a cache")
    before = settings()
    try:
        put(manifest.settings)
        put_states(root.random)
        root.put(lambda name: renamed.get(name) or import_module(name))
    except BaseException:
        put_back(before)
        raise
    return root


@contextmanager
def _variables_put_back_if_it_fails() -> Iterator[None]:
    """Let ``init`` find the environment variables that there were, if it runs after all."""
    before = dict(os.environ)
    try:
        yield
    except BaseException:
        _set_variables({name: before.get(name) for name in {*os.environ, *before}})
        raise


def _set_variables(variables: Mapping[str, str | None]) -> None:
    """Set environment variables as ``init`` has; remove those that are None."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _renamed(manifest: Manifest, app: Path) -> dict[str, ModuleType]:
    """Return the module that runs as ``__main__`` now, by the name that it was imported by."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if file is None:
        return {}
    path = Path(file).resolve()
    return {name: main for name, source in manifest.keys.modules.items() if (app / source) == path}
