"""Which media type a request prefers (RFC 9110, section 12.5.1)."""

import pytest

from potassium.http.accept import preferred

OFFERS = ("image/png", "image/jpeg", "image/webp")


def asked(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"accept", value.encode("latin-1")) for value in values]


@pytest.mark.parametrize(
    ("accept", "right"),
    [
        ((), "image/png"),
        (("",), "image/png"),
        (("*/*",), "image/png"),
        (("image/*",), "image/png"),
        (("image/jpeg",), "image/jpeg"),
        (("IMAGE/JPEG",), "image/jpeg"),
        (("text/html, image/webp",), "image/webp"),
        (("text/html", "image/webp"), "image/webp"),
        (("image/jpeg;q=0.5, image/webp;q=0.6",), "image/webp"),
        (("image/jpeg ; q=0.5 , image/*;q=0.6",), "image/png"),
        (("image/png;q=0, */*",), "image/jpeg"),
        (("image/png;q=0.1, image/*;q=0.2",), "image/jpeg"),
        (("image/jpeg;q=often, image/webp",), "image/webp"),
        (("image/jpeg;q=2, image/webp;q=0.1",), "image/webp"),
        (("image/jpeg;q=nan, image/webp;q=0.1",), "image/webp"),
        (("image/webp, */*",), "image/webp"),
        (("image/avif,image/webp,image/apng,image/*,*/*;q=0.8",), "image/webp"),
        (("image/jpeg, image/png",), "image/png"),
        (("text/html",), None),
        (("*/*;q=0",), None),
        (("image",), None),
        (("text/é",), None),
    ],
)
def test_the_preferred_type_is_chosen(accept: tuple[str, ...], right: str | None) -> None:
    """By weight, of equal ones the one that is named, then the server's own order."""
    assert preferred([(b"host", b"a"), *asked(*accept)], OFFERS) == right
