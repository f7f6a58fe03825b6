"""Opens a snapshot, if nobody else can have written it.

A snapshot is code: whoever writes it decides what runs. It is trusted like ``app.py``.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from potassium.fastboot.unfit import Unfit

__all__ = ["MODE", "OTHERS_WRITE", "Folder", "opened", "write_own"]

MODE = 0o644  # of files at most, whatever the umask is

ROOT = 0
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Folder:
    """A folder that is open, and that nobody else may change.

    All checks are made on what is open, so nothing can be exchanged between check and use.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def open(self, name: str, size: int | None = None) -> int:
        """Return a descriptor of the file ``name``, which the caller must close.

        Raises:
            Unfit: it is not there, is not a file of ours, or has another ``size`` in bytes.

        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
        except OSError as error:
            raise Unfit(_why_not(self.path / name, error)) from error
        try:
            _check_file(self.path / name, os.fstat(descriptor), size)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def read(self, name: str, size: int | None = None) -> bytes:
        """Return the content of a file.

        Raises:
            Unfit: as for ``open``.

        """
        with os.fdopen(self.open(name, size), "rb") as file:
            return file.read()

    def check_below(self, name: str) -> None:
        """Check the folder ``name``, and all that is in it.

        Raises:
            Unfit: some of it is a link, or not ours.

        """
        for where, folders, files, descriptor in os.fwalk(name, dir_fd=self._descriptor):
            path = self.path / where
            _check_owner(path, os.fstat(descriptor))
            for one in [*files, *folders]:
                facts = os.stat(one, dir_fd=descriptor, follow_symlinks=False)
                if not (one in folders and stat.S_ISDIR(facts.st_mode)):
                    _check_file(path / one, facts)


@contextmanager
def opened(path: Path) -> Iterator[Folder]:
    """Open a folder, and close it in the end.

    Raises:
        Unfit: it is not a folder of ours.

    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise Unfit(_why_not(path, error)) from error
    try:
        _check_owner(path, os.fstat(descriptor))
        yield Folder(path, descriptor)
    finally:
        os.close(descriptor)


def write_own(path: Path, content: bytes) -> None:
    """Write a file so that only this user may change it, as ``opened`` wants it."""
    path.touch(MODE)
    path.write_bytes(content)


def _check_file(path: Path, facts: os.stat_result, size: int | None = None) -> None:
    """Check that ``facts`` are of a file of ours, and of this size.

    Raises:
        Unfit: they are not.

    """
    if not stat.S_ISREG(facts.st_mode):
        raise Unfit(f"{path} is {'a link' if stat.S_ISLNK(facts.st_mode) else 'not a file'}")
    _check_owner(path, facts)
    if size is not None and facts.st_size != size:
        raise Unfit(f"{path.name} has {facts.st_size} bytes, and not {size}: it is damaged")


def _check_owner(path: Path, facts: os.stat_result) -> None:
    """Check that nobody else can have written what ``facts`` are of.

    Raises:
        Unfit: it belongs to somebody else than this user or root, or others may write to it.

    """
    if facts.st_uid not in {os.geteuid(), ROOT}:
        raise Unfit(f"{path} belongs to user {facts.st_uid}, neither to this one nor to root")
    if facts.st_mode & OTHERS_WRITE:
        mode = stat.S_IMODE(facts.st_mode)
        raise Unfit(f"others may write to {path}, whose mode is {mode:o}: type chmod go-w {path}")


def _why_not(path: Path, error: OSError) -> str:
    try:
        if path.is_symlink():
            return f"{path} is a link"
    except OSError:
        pass
    return f"{path} cannot be opened: {error.strerror}"
