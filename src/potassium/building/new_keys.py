"""Finds out where a new snapshot fits: what must be the same at a start."""

import os
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING

from potassium.building.files import FilesRead
from potassium.building.variables import VariablesRead
from potassium.fastboot.keys import accelerator, digest_of, facts_of, software, value_of
from potassium.fastboot.manifest import Keys
from potassium.handlers.functions import file_of, name_of
from potassium.project.files import own_modules

if TYPE_CHECKING:
    from potassium.handlers.init import Init

__all__ = ["NewKeys"]

ALWAYS = ("torch", "transformers")  # if they are imported


class NewKeys:
    """What a snapshot depends on; made before ``init`` runs.

    Args:
        init: what is about to run.
        files: those that are read.
        variables: those that are read.

    Attributes:
        home: the folder of the function's file, where relative paths begin.

    """

    def __init__(self, init: "Init", files: FilesRead, variables: VariablesRead) -> None:
        assert init.function is not None  # noqa: S101 - the build has looked
        self._init = init
        self._function = init.function
        self.home = Path(file_of(init.function) or ".").resolve().parent
        self._files = files
        self._variables = variables
        self._environment = dict(os.environ.items())  # init may change it

    def found(self, owners: frozenset[str]) -> Keys:
        """Return them, now that ``init`` has run.

        Args:
            owners: the top-level modules of what was pickled.

        """
        self._files.stop()
        home = self.home
        own = {name: path for name, (_, path) in own_modules().items()}
        read = self._files.paths([home, Path.cwd()])
        return Keys(
            init=name_of(self._function),
            device=self._init.told(),
            software=software(_distributions(owners)),
            accelerator=accelerator(),
            sources={_below(home, path): digest_of(path) for path in own.values()},
            modules={name: _below(home, path) for name, path in own.items()},
            environment={
                name: value_of(name, self._environment) for name in sorted(self._variables.names)
            },
            files={_below(home, path): facts_of(path) for path in read},
        )


def _below(folder: Path, path: Path) -> str:
    """Return where a file is in the folder; if it is elsewhere, its whole path."""
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    return str(path)


def _distributions(owners: Iterable[str]) -> frozenset[str]:
    """Return the distributions that have these top-level modules, and those that always count."""
    known = packages_distributions()
    found = {name for owner in owners for name in known.get(owner, ())}
    return frozenset({"potassium", *found, *(name for name in ALWAYS if name in sys.modules)})
