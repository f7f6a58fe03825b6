"""What a request's ``Accept`` header prefers (RFC 9110, section 12.5.1)."""

from collections.abc import Iterable, Sequence

__all__ = ["coding_is_accepted", "preferred", "quality"]

EXACT, SUBTYPES, ANY = 2, 1, 0  # how specific a media range is


def preferred(headers: Iterable[tuple[bytes, bytes]], offers: Sequence[str]) -> str | None:
    """Return which of the media types in ``offers`` the request prefers; None if it takes none.

    Of equally good ones, the one that it names more specifically, then the first. Without
    ``Accept``, that is the first one.
    """
    ranges = [
        _media_range(media_range)
        for name, value in headers
        if name == b"accept"
        for media_range in value.decode("latin-1").lower().split(",")
        if media_range.strip()
    ]
    if not ranges:
        return offers[0]
    best: str | None = None
    best_rating = (0.0, ANY)
    for offer in offers:
        rating = _rating(offer, ranges)
        if rating[0] > 0 and (best is None or rating > best_rating):
            best, best_rating = offer, rating
    return best


def coding_is_accepted(headers: Iterable[tuple[bytes, bytes]], coding: str) -> bool:
    """Return whether a request's ``Accept-Encoding`` names it (RFC 9110, section 12.5.3)."""
    ranges = [
        _media_range(one)
        for name, value in headers
        if name == b"accept-encoding"
        for one in value.decode("latin-1").lower().split(",")
    ]
    return any(name == coding and weight > 0 for name, weight in ranges)


def quality(parameters: Iterable[str]) -> float:
    """Return the weight among the parameters of a media range: 1 without one, 0 if it is invalid.

    See RFC 9110, section 12.4.2.
    """
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0
            return weight if 0 <= weight <= 1 else 0
    return 1


def _media_range(text: str) -> tuple[str, float]:
    media_type, *parameters = text.split(";")
    return media_type.strip(), quality(parameters)


def _rating(offer: str, ranges: Iterable[tuple[str, float]]) -> tuple[float, int]:
    """Return the weight of the most specific range that includes ``offer``, and how specific."""
    subtypes = offer.partition("/")[0] + "/*"
    best = (0.0, -1)
    for media_range, weight in ranges:
        specific = {offer: EXACT, subtypes: SUBTYPES, "*/*": ANY}.get(media_range, -1)
        if specific > best[1]:
            best = (weight, specific)
    return best
