"""Which stream format a request asks for."""

from collections.abc import Iterable, Mapping

from potassium.http.sse import EVENTS, ServerSentEvents
from potassium.http.stream_formats import JSON_LINES, JsonLines, RawChunks, StreamFormat

__all__ = ["stream_format"]

FORMS: Mapping[bytes, type[StreamFormat]] = {EVENTS: ServerSentEvents, JSON_LINES: JsonLines}


def stream_format(headers: Iterable[tuple[bytes, bytes]]) -> StreamFormat:
    """Return the format that a request's ``Accept`` asks for (RFC 9110, section 12.5.1).

    Of server-sent events and JSON lines, the preferred one; raw chunks if it names neither.
    """
    best: tuple[float, type[StreamFormat]] = (0.0, RawChunks)
    for name, value in headers:
        if name == b"accept":
            for media_range in value.lower().split(b","):
                media_type, *parameters = media_range.split(b";")
                kind = FORMS.get(media_type.strip())
                quality = _quality(parameters)
                if kind is not None and quality > best[0]:
                    best = (quality, kind)
    return best[1]()


def _quality(parameters: Iterable[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                return float(value)
            except ValueError:
                return 0
    return 1
