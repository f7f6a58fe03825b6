"""Finding the parts of a multipart form, however it is cut."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potassium.errors import BodyTooLarge, MalformedForm
from potassium.http.multipart import MOST_PARTS, Part, boundary_of, parts_of

BOUNDARY = b"----WebKitFormBoundaryx"
DELIMITER = b"--" + BOUNDARY
FORM = b"multipart/form-data; boundary=" + BOUNDARY


def part(head: bytes, content: bytes = b"") -> bytes:
    return DELIMITER + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


def named(name: bytes, content: bytes = b"") -> bytes:
    return part(b'Content-Disposition: form-data; name="' + name + b'"', content)


def parts(*sent: bytes) -> list[Part]:
    return parts_of([b"".join(sent) + DELIMITER + b"--\r\n"], FORM)


# Pieces of which a parser may take one for a boundary.
PIECES = [b"\r", b"\n", b"\r\n", b"--", b"\r\n--", DELIMITER[:-1], b"\r\n" + DELIMITER[:-1]]
PIECES += [b"\r\n" + DELIMITER[:9], BOUNDARY, b"a", b"\0\xff"]
contents = st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join) | st.binary(max_size=60)


@given(sent=st.lists(contents, max_size=5), cuts=st.lists(st.integers(0, 600), max_size=12))
def test_contents_are_found_wherever_the_body_is_cut(sent: list[bytes], cuts: list[int]) -> None:
    """Byte for byte, even if they look like boundaries."""
    sent = [one for one in sent if b"\r\n" + DELIMITER not in b"\r\n" + one]
    body = b"".join(named(b"%d" % n, one) for n, one in enumerate(sent)) + DELIMITER + b"--\r\n"

    def chunks() -> Iterator[bytes]:
        begin = 0
        for cut in [*sorted(cuts), len(body)]:
            if body[begin:cut]:
                yield body[begin:cut]
            begin = max(cut, begin)

    found = parts_of(chunks(), FORM)
    assert [body[one.offset : one.offset + one.size] if one.size else b"" for one in found] == sent
    assert [one.name for one in found] == [str(n) for n in range(len(sent))]


@pytest.mark.parametrize("content", [b"", b"\r", b"\r\n", b"a\r\n-", b"\r\n" + DELIMITER[:-1]])
def test_contents_are_found_at_every_cut(content: bytes) -> None:
    """Also where what looks like a boundary ends a piece, and the content."""
    body = named(b"a", content) + named(b"b", b"x" + content) + DELIMITER + b"--\r\n"
    for cut in range(1, len(body)):
        for chunks in (
            [body[:cut], body[cut:]],
            [body[n : n + cut] for n in range(0, len(body), cut)],
        ):
            found = parts_of(chunks, FORM)
            contents = [body[one.offset :][: one.size] for one in found]
            assert contents == [content, b"x" + content]


@pytest.mark.parametrize(
    ("disposition", "name", "filename"),
    [
        (b'form-data; name="a"', "a", None),
        (b"form-data; name=a", "a", None),
        (b'form-data; name="a"; filename="cat.png"', "a", "cat.png"),
        (b'form-data; name="a"; filename=""', "a", ""),
        ('form-data; name="été"; filename="猫.png"'.encode(), "été", "猫.png"),
        (b'form-data; name="a"; filename="my %22cat%22.png"', "a", 'my "cat".png'),
        (b'form-data; name="a"; filename="my \\"cat\\".png"', "a", 'my "cat".png'),
        (b'form-data; name="a;b=c"; filename="x;y"', "a;b=c", "x;y"),
        (b"form-data; name=\"a\"; filename*=UTF-8''%E7%8C%AB.png", "a", "猫.png"),
        (b"form-data; name=\"a\"; filename*=iso-8859-1'en'%E9.png", "a", "é.png"),
        (b'form-data; name="a"; filename="b"; filename*=utf-8\'\'c', "a", "b"),
        (b"form-data; name=\"a; filename*=utf-8''c\"", "a; filename*=utf-8''c", None),
        (b"form-data; name=a; x=\"; filename*=utf-8''c", "a", None),
        (b'form-data; name="a"; filename="../../etc/passwd"', "a", "../../etc/passwd"),
        (b'form-data; name="a"; filename="C:\\Pictures\\cat.png"', "a", "cat.png"),
    ],
)
def test_names_are_read_as_clients_send_them(
    disposition: bytes, name: str, filename: str | None
) -> None:
    """As browsers, curl, httpx and requests do, now or in the past."""
    (found,) = parts(part(b"content-disposition: " + disposition))
    assert (found.name, found.filename) == (name, filename)


def test_a_part_has_its_own_content_type() -> None:
    """As it was sent."""
    head = b'Content-Disposition: form-data; name="a"\r\nContent-Type: image/PNG; q=1'
    assert parts(part(head))[0].content_type == "image/PNG; q=1"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "cut off"),
        (named(b"a"), "cut off"),
        (named(b"a", b"123")[:-4], "cut off"),
        (b"a=1&b=2", "boundary"),
        (named(b"a").replace(b": ", b""), "invalid character"),
        (part(b"Content-Type: text/plain") + DELIMITER + b"--", "no name"),
        (part(b"Content-Disposition: form-data") + DELIMITER + b"--", "no name"),
        (part(b'Content-Disposition: attachment; name="a"') + DELIMITER + b"--", "no name"),
        (named(b"\xe9") + DELIMITER + b"--", "not UTF-8"),
        (named(b"a\"; filename*=utf-8''%E9;x=\"") + DELIMITER + b"--", "not UTF-8"),
        (
            part(b'Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64')
            + DELIMITER
            + b"--",
            "Content-Transfer-Encoding",
        ),
        (named(b"a" * 5000) + DELIMITER + b"--", "header size"),
        (part(b"\r\n".join(b"X-%d: a" % n for n in range(9))) + DELIMITER + b"--", "header count"),
    ],
)
def test_a_malformed_form_is_refused_with_the_reason(
    body: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And not logged: it is the client's mistake."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(MalformedForm, match=reason):
        parts_of([body] if body else [], FORM)
    assert caplog.records == []


def test_a_form_may_not_have_any_number_of_parts() -> None:
    """Each of them takes time and memory, however small it is."""
    assert len(parts(named(b"a") * MOST_PARTS)) == MOST_PARTS
    with pytest.raises(BodyTooLarge, match=str(MOST_PARTS)):
        parts(named(b"a") * (MOST_PARTS + 1))
    lines = (b"\r\n" + DELIMITER + b"-x") * (MOST_PARTS + 1)  # almost boundaries
    with pytest.raises(BodyTooLarge, match=str(MOST_PARTS)):
        parts(named(b"a", lines))


def test_no_number_of_quotes_keeps_a_thread_busy() -> None:
    """Where the last of them is missing, each would be looked for from all those before it."""
    head = b'Content-Disposition: form-data; name=a; x="' + b'\\"' * 2000
    assert len(parts(part(head) * MOST_PARTS)) == MOST_PARTS


def test_a_form_says_what_separates_its_parts() -> None:
    """In its content type, quoted or not."""
    assert boundary_of(b'multipart/form-data; boundary="a b"') == b"a b"
    assert boundary_of(b"multipart/form-data; charset=utf-8; Boundary=----x") == b"----x"
    too_long = b"multipart/form-data; boundary=a" + b";" * 5000
    for without in (b"multipart/form-data", b"multipart/form-data; boundary=", too_long):
        with pytest.raises(MalformedForm, match="no boundary"):
            parts_of([], without)
    with pytest.raises(MalformedForm, match="length 257"):
        parts_of([], b"multipart/form-data; boundary=" + b"a" * 257)
