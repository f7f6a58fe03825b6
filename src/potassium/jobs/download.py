"""The output of a job as a file that clients fetch, whole or in part."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from potassium.errors import RangeNotSatisfiable
from potassium.jobs.document import content_type_of
from potassium.jobs.model import StoredJob
from potassium.jobs.outputs import Output

__all__ = ["Download", "Part"]

OK, PARTIAL, NOT_MODIFIED = 200, 206, 304
PIECE = 256 * 1024  # bytes sent at a time
ONE_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


class Part(NamedTuple):
    """What a request is answered with: a part of the output, all of it, or nothing.

    Attributes:
        status: 200, 206 or 304.
        first: the number of the first byte, from 0.
        end: the number of the byte after the last one.
        is_sent: whether the bytes are sent, and not only their description.

    """

    status: int
    first: int
    end: int
    is_sent: bool

    @classmethod
    def asked_by(cls, request: Request, job: StoredJob) -> "Part":
        """Return what a request asks for (RFC 9110, sections 13 and 14).

        Several ranges, or one that is malformed, are ignored: all of the output is sent.

        Raises:
            RangeNotSatisfiable: the range contains no byte of the output.

        """
        size, tag = job.output_size or 0, _tag_of(job)
        known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
        if "*" in known or tag in (one.removeprefix("W/") for one in known):
            return cls(NOT_MODIFIED, 0, size, is_sent=False)
        if request.method != "GET":
            return cls(OK, 0, size, is_sent=False)
        bounds = None
        if request.headers.get("if-range", tag) == tag:
            bounds = _bounds(request.headers.get("range", ""), size)
        if bounds is None:
            return cls(OK, 0, size, is_sent=True)
        if bounds[0] >= bounds[1]:
            raise RangeNotSatisfiable(size)
        return cls(PARTIAL, *bounds, is_sent=True)


class Download(Response):
    """Sends a part of an output, piece by piece; none of it is copied as a whole."""

    def __init__(self, part: Part, job: StoredJob, output: Output | None) -> None:
        super().__init__(status_code=part.status)
        self._output = output  # held until it is sent
        self._part = part
        self.raw_headers = [
            (b"etag", _tag_of(job).encode()),
            (b"accept-ranges", b"bytes"),
        ]
        if part.status == NOT_MODIFIED:
            return
        self.raw_headers += [
            content_type_of(job),
            (b"content-length", b"%d" % (part.end - part.first)),
        ]
        if part.status == PARTIAL:
            bounds = (part.first, part.end - 1, job.output_size or 0)
            self.raw_headers.append((b"content-range", b"bytes %d-%d/%d" % bounds))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        del scope, receive
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        for piece in self._pieces():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _pieces(self) -> Iterator[bytes]:
        if self._output is not None:
            for first in range(self._part.first, self._part.end, PIECE):
                yield self._output.data[first : min(first + PIECE, self._part.end)]


def _bounds(asked: str, size: int) -> tuple[int, int] | None:
    """Return the first byte of a range and the one after its last; None if it is not one range."""
    match = ONE_RANGE.fullmatch(asked.strip())
    first, last = match.groups() if match else ("", "")
    if first:
        is_range = not last or int(last) >= int(first)
        return (int(first), min(int(last) + 1, size) if last else size) if is_range else None
    return (max(size - int(last), 0), size) if last else None


def _tag_of(job: StoredJob) -> str:
    """Return the entity tag of an output, which never changes (RFC 9110, section 8.8.3)."""
    return f'"{job.attempts}-{job.output_size}"'
