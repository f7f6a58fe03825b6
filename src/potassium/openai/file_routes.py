"""``/v1/files``: clients upload, list, download and delete files."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from potassium.errors import UnsupportedMediaType
from potassium.http.form import Form, form_of
from potassium.http.message import MULTIPART, Message
from potassium.http.multipart import Part
from potassium.http.owner import owner_of
from potassium.openai.errors import Refused, answering
from potassium.openai.files import Files, StoredFile, gone
from potassium.openai.received import limit_of, page, read_body
from potassium.serving.assembly import Assembly

__all__ = ["FileRoutes", "seconds_of"]

LARGEST_PAGE = 10_000
PIECE = 256 * 1024  # bytes that are read at a time
LONGEST_NAME = 255  # characters of a file name or a purpose
FORM_OVERHEAD = 64 * 1024  # bytes of a form besides the file
SHORTEST, LONGEST = 60 * 60, 30 * 24 * 60 * 60  # seconds that a file may be kept


class FileRoutes:
    """Answers requests about files. Where jobs have owners, a file of another one is not found.

    Args:
        parts: those of the app.
        files: keeps the files.
        largest: maximum bytes of a file.
        is_needed: whether the file of this id must stay, as a batch goes on.

    """

    def __init__(
        self,
        parts: Assembly,
        files: Files,
        largest: int,
        is_needed: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._parts = parts
        self._files = files
        self._largest = largest
        self._is_needed = is_needed

    def routes(self, prefix: str) -> list[Route]:
        """Return a route for each endpoint."""
        one = f"{prefix}/files/{{id}}"
        return [
            Route(f"{prefix}/files", answering(self._create), methods=["POST"]),
            Route(f"{prefix}/files", answering(self._list), methods=["GET"]),
            Route(one, answering(self._get), methods=["GET"]),
            Route(one, answering(self._delete), methods=["DELETE"]),
            Route(f"{one}/content", answering(self._content), methods=["GET"]),
        ]

    async def _create(self, request: Request) -> Response:
        async with read_body(self._parts, request, self._largest + FORM_OVERHEAD) as message:
            shown = await asyncio.to_thread(self._store, message, owner_of(request.scope) or "")
        return JSONResponse(shown)

    def _store(self, message: Message, owner: str) -> dict[str, Any]:
        """Copy the file out of a form; return its file object. Blocks.

        Raises:
            UnsupportedMediaType: it is no form with files.
            Refused: a field is missing or invalid.

        """
        if message.media_type != MULTIPART:
            wanted = MULTIPART.decode()
            raise UnsupportedMediaType(
                f"Send a form, as {wanted}, with file and purpose.", [wanted]
            )
        form = form_of(message)
        part = next(iter(form.fields.get("file", ())), None)
        if not isinstance(part, Part) or part.filename is None:
            raise Refused("The form needs a file.", param="file")
        purpose = _text(form, "purpose")
        if not purpose or len(purpose) > LONGEST_NAME:
            raise Refused('The form needs a purpose, such as "batch".', param="purpose")
        file = self._files.add(
            _pieces(form.file(part)),  # type: ignore[arg-type] # it reads like one
            filename=part.filename[:LONGEST_NAME],
            purpose=purpose,
            owner=owner,
            expires_after=_expiry(form),
        )
        return self._files.shown(file)

    async def _list(self, request: Request) -> Response:
        limit = limit_of(request, most=LARGEST_PAGE, default=LARGEST_PAGE)
        query, owner = request.query_params, owner_of(request.scope)
        if query.get("order", "desc") != "desc":
            raise Refused("Files are listed newest first: order=desc.", param="order")
        purpose = query.get("purpose")

        def found() -> tuple[list[dict[str, Any]], bool]:
            files = self._files.newest_first(owner)
            wanted = (one for one in files if purpose in (None, one.purpose))
            some, has_more = page(wanted, query.get("after"), limit)
            data: list[dict[str, Any]] = []
            for one in some:
                with suppress(Refused):  # it was deleted meanwhile
                    data.append(self._files.shown(one))
            return data, has_more

        data, has_more = await asyncio.to_thread(found)
        return JSONResponse({"object": "list", "data": data, "has_more": has_more})

    async def _get(self, request: Request) -> Response:
        file = await self._found(request)
        return JSONResponse(await asyncio.to_thread(self._files.shown, file))

    async def _delete(self, request: Request) -> Response:
        file = await self._found(request)
        if await self._is_needed(file.id):
            detail = "The file belongs to a batch that has not ended: cancel the batch first."
            raise Refused(detail, code="file_in_use", status=409)
        await asyncio.to_thread(self._files.remove, file)
        return JSONResponse({"id": file.id, "object": "file", "deleted": True})

    async def _content(self, request: Request) -> Response:
        found = await self._found(request)
        try:
            file = await anyio.open_file(self._files.content(found), "rb")
        except FileNotFoundError:
            raise gone(found.id) from None
        size = os.fstat(file.wrapped.fileno()).st_size
        headers = {"content-length": str(size)}  # results of a batch may be added meanwhile
        return StreamingResponse(
            _sent(file, size), media_type="application/octet-stream", headers=headers
        )

    async def _found(self, request: Request) -> StoredFile:
        owner = owner_of(request.scope)
        return await asyncio.to_thread(self._files.get, request.path_params["id"], owner)


async def _sent(file: anyio.AsyncFile[bytes], size: int) -> AsyncIterator[bytes]:
    async with file:
        while size > 0 and (piece := await file.read(min(PIECE, size))):
            size -= len(piece)
            yield piece


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(PIECE), b"")


def _text(form: Form, name: str) -> str:
    value = next(iter(form.fields.get(name, ())), "")
    return form.text(value)


def _expiry(form: Form) -> int | None:
    anchor, seconds = _text(form, "expires_after[anchor]"), _text(form, "expires_after[seconds]")
    if not anchor and not seconds:
        return None
    return seconds_of({"anchor": anchor, "seconds": seconds}, "expires_after")


def seconds_of(given: dict[str, Any], name: str) -> int:
    """Return for how many seconds a file is to be kept from its creation on.

    Raises:
        Refused: ``given``, the option ``name``, is invalid.

    """
    try:
        seconds = int(given.get("seconds", ""))
    except (TypeError, ValueError):
        seconds = 0
    if given.get("anchor") != "created_at" or not SHORTEST <= seconds <= LONGEST:
        raise Refused(
            f'{name} takes the anchor "created_at", and {SHORTEST} to {LONGEST} seconds.',
            param=name,
        )
    return seconds
