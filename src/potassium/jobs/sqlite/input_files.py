"""The files beside the database that hold large inputs."""

import asyncio
import logging
import os
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

from potassium.errors import InputLost, StoreFailed
from potassium.http.spooled import SpooledBody
from potassium.jobs.inputs import is_large
from potassium.jobs.model import NewJob

__all__ = ["InputFile", "InputFiles"]

PRIVATE = 0o600  # mode of the files: they hold what clients have sent
PRIVATE_FOLDER = 0o700
COPIED = 1024 * 1024  # bytes at a time
LOG_EVERY = 60.0  # seconds; on a full disk everything fails

logger = logging.getLogger("potassium.jobs")


@dataclass(frozen=True, slots=True)
class InputFile:
    """A large input, in a file of its own.

    Attributes:
        path: the file.
        size: how many bytes it has.

    """

    path: Path
    size: int

    def share(self) -> SpooledBody:
        """Return the input for reading; the caller must close it. Blocks.

        Raises:
            InputLost: the file is missing, incomplete or cannot be read.

        """
        try:
            body = SpooledBody.at(self.path)
        except OSError as error:
            raise InputLost from error
        if body.size != self.size:
            body.close()
            raise InputLost
        return body


class InputFiles:
    """Writes and removes the files in ``folder``.

    A file is complete on the disk before a row of the database names it. One that no row names, as
    the process died in between or the job ended, is doubtful until it has been removed.

    Attributes:
        doubtful: the names of files to remove, unless a row names them.

    """

    def __init__(self, folder: Path) -> None:
        self.doubtful: set[str] = set()
        self._folder = folder
        self._logged_at = -inf

    def at(self, name: str, size: int) -> InputFile:
        """Return the file of this name."""
        return InputFile(self._folder / name, size)

    def find(self) -> None:
        """Doubt all files that there are: those of a process that died may be among them."""
        with suppress(OSError):
            self.doubtful.update(path.name for path in self._folder.iterdir())

    async def moved(self, job: NewJob) -> NewJob:
        """Return a job whose input is in a file if it is large.

        If this is cancelled, the file is removed.

        Raises:
            StoreFailed: the file cannot be written.

        """
        if not is_large(job.body):
            return job
        name = secrets.token_hex(16)
        file = self.at(name, len(job.body) if isinstance(job.body, bytes) else job.body.size)
        body = job.body if isinstance(job.body, bytes) else job.body.share()
        writing = asyncio.ensure_future(asyncio.to_thread(self._write, file.path, body))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            writing.add_done_callback(lambda done: self._abandon(name, done))
            raise
        except OSError as error:
            self._log(error)
            raise StoreFailed("Background jobs with large inputs cannot be stored now.") from error
        return replace(job, body=file)

    def doubt(self, job: NewJob) -> None:
        """Have the file of a job removed unless a row names it."""
        if isinstance(job.body, InputFile):
            self.doubtful.add(job.body.path.name)

    async def settle(self, unnamed: Callable[[Sequence[str]], Awaitable[Collection[str]]]) -> None:
        """Remove the doubtful files that no row names; ``unnamed`` returns which these are.

        Raises:
            StoreFailed: the rows cannot be read; the files stay doubtful.

        """
        names = list(self.doubtful)
        if not names:
            return
        self.doubtful.difference_update(names)  # before the look: a job may end meanwhile
        try:
            await asyncio.to_thread(self._remove, await unnamed(names))
        except BaseException:
            self.doubtful.update(names)
            raise

    def _remove(self, names: Collection[str]) -> None:
        for name in names:
            with suppress(OSError):
                (self._folder / name).unlink()

    def _abandon(self, name: str, writing: "asyncio.Future[None]") -> None:
        self.doubtful.add(name)
        if not writing.cancelled():
            writing.exception()  # nobody else looks at it

    def _write(self, path: Path, body: bytes | SpooledBody) -> None:
        """Write a file and its name to the disk; on another thread."""
        try:
            self._make_folder()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    if isinstance(body, bytes):
                        file.write(body)
                    else:
                        with body.open() as reader:
                            shutil.copyfileobj(reader, file, COPIED)
                    file.flush()
                    os.fsync(file.fileno())
                _sync(self._folder)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        finally:
            if not isinstance(body, bytes):
                body.close()

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(mode=PRIVATE_FOLDER, parents=True)
        except FileExistsError:
            if self._folder.stat().st_mode & 0o077:
                self._folder.chmod(PRIVATE_FOLDER)
        else:
            _sync(self._folder.parent)

    def _log(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._logged_at >= LOG_EVERY:
            self._logged_at = now
            logger.error("inputs of background jobs cannot be stored: %s", error)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
