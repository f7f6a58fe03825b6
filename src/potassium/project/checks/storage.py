"""Where background jobs are kept."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from potassium.config import Jobs
from potassium.project.finding import Finding, note, problem

__all__ = ["findings", "nearest", "why_not_writable"]


def findings(jobs: Jobs | None) -> Iterable[Finding]:
    """Yield why the file of jobs cannot be opened, or is not what it seems."""
    if jobs is None or jobs.url is not None or jobs.store is not None:
        return
    if jobs.path is None:
        yield note("jobs", "Background jobs are kept in memory, and lost with the process.")
        return
    path = Path(jobs.path)
    fix = "Name a file in a folder that can be written: Jobs(path=...)."
    if path.is_dir():
        yield problem("jobs", f"{path} is a folder.", fix)
    elif path.exists() and not os.access(path, os.W_OK):
        yield problem("jobs", f"{path} cannot be written.", fix)
    elif error := why_not_writable(folder := nearest(path.parent)):
        yield problem("jobs", f"{path} cannot be written: {folder}: {error}.", fix)


def why_not_writable(folder: Path) -> str | None:
    """Return why no file can be made in ``folder``; None if one can. It has no name, and is gone.

    Permissions do not say everything: not to root, and not of a file system that is read-only.
    """
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)


def nearest(path: Path) -> Path:
    """Return ``path``, or whatever there is of the way to it."""
    path = path.absolute()
    return next(one for one in (path, *path.parents) if one.exists())
