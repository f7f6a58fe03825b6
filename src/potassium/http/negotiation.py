"""Which stream format a request asks for."""

from collections.abc import Callable, Mapping, Sequence

from potassium.http.accept import quality
from potassium.http.sse import EVENTS, ServerSentEvents
from potassium.http.stream_formats import (
    JSON_LINES,
    JsonLines,
    MixedReplace,
    RawChunks,
    StreamFormat,
)

__all__ = ["STREAM_FORMAT", "stream_format"]

# In an ASGI scope: the format of the stream, whatever the request accepts.
STREAM_FORMAT = "potassium.stream_format"

Headers = Sequence[tuple[bytes, bytes]]

FORMS: Mapping[bytes, Callable[[Headers], StreamFormat]] = {
    EVENTS: lambda _: ServerSentEvents(),
    JSON_LINES: lambda _: JsonLines(),
    b"multipart/x-mixed-replace": MixedReplace,
}


def stream_format(headers: Headers) -> StreamFormat:
    """Return the format that a request's ``Accept`` asks for (RFC 9110, section 12.5.1).

    Of server-sent events, JSON lines and parts that replace one another, the preferred one; raw
    chunks if it names none of them.
    """
    best: tuple[float, Callable[[Headers], StreamFormat]] = (0.0, RawChunks)
    for name, value in headers:
        if name == b"accept":
            for media_range in value.decode("latin-1").lower().split(","):
                media_type, *parameters = media_range.split(";")
                kind = FORMS.get(media_type.strip().encode("latin-1"))
                weight = quality(parameters)
                if kind is not None and weight > best[0]:
                    best = (weight, kind)
    return best[1](headers)
