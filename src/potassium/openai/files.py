"""The files that clients upload, and those of the results of batches, in a folder."""

import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from potassium.openai.errors import Refused
from potassium.openai.whole_files import sync_folder, write_synced, write_whole

__all__ = ["Files", "StoredFile", "gone", "new_number"]

ID = re.compile(r"file-[0-9a-f]{40}(-output|-errors)?")
LEFT_OVER = 24 * 60 * 60.0  # seconds after which nobody writes a file any more


def new_number() -> str:
    """Return 40 hexadecimal digits: later ones are greater, and nobody can guess them."""
    return f"{time.time_ns():016x}{secrets.token_hex(12)}"


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """What is known of a file. Times are in seconds since the epoch.

    Attributes:
        id: names it.
        filename: the name that the client gave; it may contain anything.
        purpose: what it is for, such as ``batch``.
        owner: whose it is; empty if files belong to nobody.
        created_at: when it was stored.
        expires_at: when it is deleted; None for never.

    """

    id: str
    filename: str
    purpose: str
    owner: str
    created_at: int
    expires_at: int | None = None


class Files:
    """Files in a folder, each in a folder of its own with what is known of it.

    A file appears as a whole: it is written elsewhere, and then renamed. Several servers may share
    the folder. Everything here blocks, and raises OSError if the disk fails.

    Args:
        folder: where they are; it is created with the first one.
        clock: returns seconds since the epoch.

    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder / "files"
        self._arriving = folder / "arriving"
        self._clock = clock

    def add(  # noqa: PLR0913 - what is known of it
        self,
        content: Iterable[bytes],
        *,
        filename: str,
        purpose: str,
        owner: str,
        file_id: str = "",
        expires_after: int | None = None,
    ) -> StoredFile:
        """Store a file; if there is one with this id, leave it as it is."""
        now = int(self._clock())
        file = StoredFile(
            id=file_id or f"file-{new_number()}",
            filename=filename,
            purpose=purpose,
            owner=owner,
            created_at=now,
            expires_at=None if expires_after is None else now + expires_after,
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        self._arriving.mkdir(exist_ok=True)
        self._sweep()
        part = self._arriving / secrets.token_hex(8)
        part.mkdir()
        try:
            write_synced(part / "content", content)
            write_synced(part / "about.json", [orjson.dumps(asdict(file))])
            sync_folder(part)
            with suppress(FileExistsError):
                _rename(part, self._folder / file.id)
            sync_folder(self._folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return file

    def get(self, file_id: str, owner: str | None) -> StoredFile:
        """Return what is known of a file.

        Args:
            file_id: its id.
            owner: who asks; None if files belong to nobody.

        Raises:
            Refused: there is no such file, or it belongs to somebody else.

        """
        file = self._read(file_id)
        if file is None or owner not in (None, file.owner):
            raise gone(file_id)
        return file

    def has(self, file_id: str) -> bool:
        """Return whether there is a file."""
        return self._read(file_id) is not None

    def newest_first(self, owner: str | None) -> Iterator[StoredFile]:
        """Yield what is known of each file that whoever asks may see."""
        with suppress(FileNotFoundError):
            for name in sorted((one.name for one in self._folder.iterdir()), reverse=True):
                file = self._read(name)
                if file is not None and owner in (None, file.owner):
                    yield file

    def content(self, file: StoredFile) -> Path:
        """Return where the content of a file is."""
        return self._folder / file.id / "content"

    def keep_until(self, file_id: str, expires_at: int | None) -> None:
        """Let a file expire at another time, or never; if there is none, do nothing."""
        file = self._read(file_id)
        if file is not None and file.expires_at != expires_at:
            about = orjson.dumps(asdict(replace(file, expires_at=expires_at)))
            with suppress(FileNotFoundError):  # it was deleted meanwhile
                write_whole(self._folder / file.id / "about.json", about)

    def remove(self, file: StoredFile) -> None:
        """Delete a file; who reads it can go on."""
        self._arriving.mkdir(exist_ok=True)
        gone = self._arriving / secrets.token_hex(8)
        with suppress(FileNotFoundError):
            (self._folder / file.id).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def shown(self, file: StoredFile) -> dict[str, Any]:
        """Return OpenAI's file object.

        Raises:
            Refused: the file was deleted meanwhile.

        """
        try:
            size = self.content(file).stat().st_size
        except FileNotFoundError:
            raise gone(file.id) from None
        return {
            "id": file.id,
            "object": "file",
            "bytes": size,
            "created_at": file.created_at,
            "expires_at": file.expires_at,
            "filename": file.filename,
            "purpose": file.purpose,
            "status": "processed",
        }

    def _read(self, file_id: str) -> StoredFile | None:
        if not ID.fullmatch(file_id):
            return None
        try:
            about = (self._folder / file_id / "about.json").read_bytes()
        except FileNotFoundError:
            return None
        file = StoredFile(**orjson.loads(about))
        if file.expires_at is not None and file.expires_at <= self._clock():
            self.remove(file)
            return None
        return file

    def _sweep(self) -> None:
        """Delete what a server that died has left half written."""
        for part in self._arriving.iterdir():
            with suppress(FileNotFoundError):
                if part.stat().st_mtime < time.time() - LEFT_OVER:
                    shutil.rmtree(part, ignore_errors=True)


def gone(file_id: str) -> Refused:
    """Return what a client is told of a file that is not there, or not there any more."""
    return Refused(f"There is no file {file_id!r:.80}.", code="not_found", status=404)


def _rename(folder: Path, name: Path) -> None:
    """Rename a folder that has files in it, unless there is one of that name; raises OSError."""
    try:
        folder.rename(name)
    except OSError:
        if name.exists():  # "directory not empty"
            raise FileExistsError(name) from None
        raise
