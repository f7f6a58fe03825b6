"""Content codings of bodies: what is undone, and what is refused."""

import gzip
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence

import brotli
import pytest
import zstandard

from potassium.errors import BodyTooLarge, MalformedEncoding, UnsupportedEncoding
from potassium.http import decoders
from potassium.http.codings import Decoding, codings_of

MIB = 2**20
NOISE = os.urandom(300_000)
CONTENTS = [b"", b"a", bytes(decoders.STEP), bytes(5 * decoders.STEP), NOISE, b"abc" * 100_000]


def raw_deflate(content: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-15)
    return compress.compress(content) + compress.flush()


CODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw deflate": raw_deflate,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


def decoded(
    names: Sequence[str], body: bytes, *, most: int = 100 * MIB, step: int = 1000
) -> tuple[bytes, int]:
    """Return the content, and how much of it came at a time at most."""
    pieces: list[bytes] = [b""]
    decoding = Decoding(names, most, lambda: BodyTooLarge("too large"))
    for start in range(0, len(body), step):
        decoding.feed(body[start : start + step], pieces.append)
    decoding.end()
    return b"".join(pieces), max(map(len, pieces))


def name_of(coder: str) -> str:
    return coder.rsplit(maxsplit=1)[-1]


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_what_was_encoded_comes_out(coder: str, content: bytes) -> None:
    """However the body is cut into parts."""
    body = CODERS[coder](content)
    steps = (1000, len(body)) if len(body) > 5000 else (1, 1000)
    for step in steps:
        assert decoded([name_of(coder)], body, step=step)[0] == content


@pytest.mark.parametrize("coder", CODERS)
def test_no_more_than_a_step_comes_at_a_time(coder: str) -> None:
    """A few kilobytes may stand for many megabytes."""
    body = CODERS[coder](bytes(20 * MIB))
    content, largest = decoded([name_of(coder)], body, step=MIB)
    assert len(content) == 20 * MIB
    assert largest <= 4 * decoders.STEP


def test_content_that_follows_a_full_step_comes_without_more_data() -> None:
    """A decoder may have it already, although all data has been taken."""
    for size in range(decoders.STEP, decoders.STEP + 1000, 7):
        assert decoded(["deflate"], raw_deflate(bytes(size)))[0] == bytes(size)


@pytest.mark.parametrize(("log", "is_accepted"), [(23, True), (24, False)])
def test_a_window_has_8_mib_at_most(log: int, *, is_accepted: bool) -> None:
    """As RFC 9659 says; more would be memory that is not counted."""
    parameters = zstandard.ZstdCompressionParameters(window_log=log)
    coder = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = coder.compress(bytes(MIB)) + coder.flush()
    if is_accepted:
        assert decoded(["zstd"], body)[0] == bytes(MIB)
    else:
        with pytest.raises(MalformedEncoding):
            decoded(["zstd"], body)


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("content", [b"", b"a", b"abc" * 500, NOISE[:300]], ids=len)
def test_a_body_that_ends_too_early_is_refused(coder: str, content: bytes) -> None:
    """Wherever it was cut."""
    body = CODERS[coder](content)
    for length in range(1, len(body)):
        with pytest.raises(MalformedEncoding):
            decoded([name_of(coder)], body[:length])


@pytest.mark.parametrize("coder", CODERS)
def test_damaged_data_is_refused(coder: str) -> None:
    """And so is what comes after the end."""
    for body in (NOISE[:1000], CODERS[coder](b"abc") + b"junk"):
        with pytest.raises(MalformedEncoding):
            decoded([name_of(coder)], body)


@pytest.mark.parametrize("coder", ["gzip", "zstd"])
def test_several_members_are_one_body(coder: str) -> None:
    """RFC 1952, section 2.2, and RFC 8878, section 3."""
    body = CODERS[coder](b"abc") + CODERS[coder](b"def")
    assert decoded([coder], body)[0] == b"abcdef"


def test_no_number_of_empty_members_keeps_a_thread_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes microseconds and has no content that would count."""
    monkeypatch.setattr(decoders, "MOST_MEMBERS", 10)
    assert decoded(["gzip"], gzip.compress(b"a") * 10)[0] == b"a" * 10
    with pytest.raises(MalformedEncoding):
        decoded(["gzip"], gzip.compress(b"") * 11)


@pytest.mark.parametrize("coder", CODERS)
def test_a_bomb_is_refused_before_it_unfolds(coder: str) -> None:
    """Nothing beyond the limit comes out."""
    body = CODERS[coder](bytes(50 * MIB))
    pieces: list[int] = []
    decoding = Decoding([name_of(coder)], MIB, lambda: BodyTooLarge("too large"))
    with pytest.raises(BodyTooLarge):
        decoding.feed(body, lambda piece: pieces.append(len(piece)))
    assert sum(pieces) <= MIB


def test_codings_are_undone_from_the_last_to_the_first() -> None:
    """RFC 9110, section 8.4: they are listed in the order in which they were applied."""
    body = zstandard.compress(brotli.compress(gzip.compress(b"abc" * 1000)))
    assert decoded(codings_of([b"gzip, br", b"ZSTD"]), body)[0] == b"abc" * 1000


def test_what_comes_between_two_codings_counts_too() -> None:
    """A bomb of nothing, such as gigabytes of empty members, is small again at the end."""
    body = gzip.compress(gzip.compress(b"") * 100_000)
    with pytest.raises(BodyTooLarge):
        decoded(["gzip", "gzip"], body, most=MIB)


def test_names_are_read_as_http_defines_them() -> None:
    """RFC 9110, sections 8.4.1 and 12.5.3."""
    assert codings_of([b" GZip ,, identity", b"x-gzip"]) == ["gzip", "gzip"]
    assert codings_of([b"identity"]) == []


@pytest.mark.parametrize("value", [b"snappy", b"gzip, compress", b"gzip, gzip, gzip, gzip"])
def test_what_cannot_be_undone_is_refused_with_what_can(value: bytes) -> None:
    """RFC 7694: Accept-Encoding in a response names the codings of requests."""
    with pytest.raises(UnsupportedEncoding) as refused:
        codings_of([value])
    assert refused.value.status == 415
    assert refused.value.headers["Accept-Encoding"] == "gzip, deflate, br, zstd"


@pytest.fixture
def _nothing_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("brotli", "compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    decoders.decoders.cache_clear()
    yield
    decoders.decoders.cache_clear()


@pytest.mark.usefixtures("_nothing_installed")
@pytest.mark.parametrize("value", [b"br", b"zstd"])
def test_a_coding_that_is_not_installed_names_the_package(value: bytes) -> None:
    """Those of the standard library work without it."""
    with pytest.raises(
        UnsupportedEncoding, match=r"pip install .*potassium\[compression\]"
    ) as told:
        codings_of([value])
    assert told.value.headers["Accept-Encoding"] == "gzip, deflate"
    assert codings_of([b"gzip"]) == ["gzip"]
