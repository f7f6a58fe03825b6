"""Random bytes for a socket, each input derived from its number: requests, most of them damaged."""

from dataclasses import dataclass, field
from itertools import pairwise

from fuzz_app import EXAMPLES, PATHS
from fuzz_input import ODD_BODIES, SERVER_PAGES, Chance

DAMAGED = 60  # percent
BYTES = 60  # that may be sent one by one

TARGETS = (b"*", b"//a//b", b"/%ff%00%2f?%", b"http://a:1/b?c", b"/a#b", b"/" + b"x" * 300)
METHODS = (b"GET", b"PUT", b"OPTIONS", b"DELETE", b"QUERY", b"TRACE")
FIELDS = (
    b"Host: a",
    b"Accept: text/event-stream",
    b"Accept: */*;q=0",
    b"Content-Type: application/json",
    b"Content-Type: text/plain",
    b"Prefer: wait=0.01",
    b"X-Priority: high",
    b"X-Request-Id: \xe9",
    b"X-Request-Id: abc",
    b"X: " + b"y" * 1500,
    b"Z:",
    b"Keep-Alive: timeout=5",
    b"Connection: keep-alive",
    b"Connection: Upgrade\r\nUpgrade: h2c",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a",
)
TOKENS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"0",
    b"-",
    b"\xff",
    b"\r\n\r\n",
    b" HTTP/1.0\r\n",
    b" HTTP/2.0\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Upgrade: h2c\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01",
    b"A: " + b"b" * 9000 + b"\r\n",
    b"c:d\r\n" * 300,
    b"ffffffff\r\n",
)


@dataclass
class WireInput:
    """What one client sends on one connection.

    Attributes:
        segments: what it sends, a segment at a time.
        end: what it does then: "close", "reset", "half-close", or "wait" for the server to close.
        methods: the methods of its requests, as far as these are not damaged.
        responses: how many responses it must get; None if it is not known.

    """

    segments: list[bytes]
    end: str
    methods: list[str] = field(default_factory=list)
    responses: int | None = None


def make_wire(seed: int, number: int) -> WireInput:
    """Return input ``number`` of the run ``seed``, which is always the same."""
    chance = Chance(f"wire {seed}:{number}")  # for repeatability, not for secrecy
    is_damaged = chance.of(DAMAGED)
    count = chance.choices((1, 2, 3, 6, 40), weights=(50, 20, 20, 9, 1))[0]
    requests = [_Request(chance, may_be_head=not is_damaged) for _ in range(count)]
    stream = b"".join(one.data for one in requests)
    if is_damaged:
        for _ in range(chance.choice((1, 1, 2, 5))):
            stream = _damaged(chance, stream)
        end = chance.choices(("close", "reset", "half-close", "wait"), weights=(25, 5, 60, 10))[0]
        return WireInput(_segments(chance, stream), end)
    last = next((n for n, one in enumerate(requests) if one.closes), len(requests) - 1)
    given = WireInput(_segments(chance, stream), "half-close", responses=last + 1)
    given.methods = [one.method.decode() for one in requests]
    if requests[last].closes:
        given.end = "wait"  # HTTP/1.0 clients that close have left
    elif chance.of(20):
        given.end, given.responses = chance.choice(("close", "reset")), None
    return given


class _Request:
    """A request that is as it should be.

    Attributes:
        data: what is sent.
        closes: whether the connection is closed after the response.

    """

    def __init__(self, chance: Chance, *, may_be_head: bool) -> None:
        path = chance.choice(PATHS)
        self.method = b"POST"
        target = path.encode()
        if chance.of(25):
            self.method = b"HEAD" if may_be_head and chance.of(30) else chance.choice(METHODS)
            target = chance.choice((*TARGETS, *(page.encode() for page in SERVER_PAGES)))
        elif chance.of(10):
            target = b"/chunks"
        version = b"1.0" if chance.of(5) else b"1.1"
        fields = [chance.choice(FIELDS) for _ in range(chance.choice((0, 1, 1, 2, 5)))]
        self.closes = version == b"1.0"
        if chance.of(60):
            fields.append(b"Content-Type: application/json")
        if chance.of(5):
            fields.append(b"Connection: close")
            self.closes = True
        body = EXAMPLES.get(path, b"{}")
        if chance.of(30):
            body = chance.choice(ODD_BODIES)
        elif chance.of(20):
            body = chance.randbytes(chance.choice((1, 100, 3000, 20_000)))
        kind = chance.choices(("length", "chunks", "none"), weights=(60, 25, 15))[0]
        content = b""
        if kind == "length":
            fields.append(b"Content-Length: %d" % len(body))
            content = body
        elif kind == "chunks":
            fields.append(b"Transfer-Encoding: chunked")
            content = _chunked(chance, body)
        chance.shuffle(fields)
        lines = [b"%b %b HTTP/%b" % (self.method, target, version), *fields, b"", b""]
        self.data = b"\r\n".join(lines) + content


def _chunked(chance: Chance, body: bytes) -> bytes:
    pieces, start = [], 0
    while start < len(body):
        size = chance.choice((1, 7, 1000, len(body)))
        piece = body[start : start + size]
        extension = chance.choice((b"", b"", b";a", b';a="b"', b";" + b"e" * 500))
        pieces.append(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece))
        start += size
        if len(pieces) > 50:  # noqa: PLR2004 - the rest in one piece
            size = len(body)
    trailers = chance.choice((b"", b"", b"X: y\r\n", b"Host: evil\r\n" * 5))
    return b"".join(pieces) + b"0\r\n" + trailers + b"\r\n"


def _damaged(chance: Chance, stream: bytes) -> bytes:
    changed = bytearray(stream)
    place = chance.randrange(len(changed) + 1)
    match chance.randrange(6):
        case 0:
            changed[place : place + 1] = chance.randbytes(1)
        case 1:
            del changed[place : place + chance.choice((1, 2, 8, 50))]
        case 2 | 3:
            changed[place:place] = chance.choice(TOKENS)
        case 4:
            changed[place:place] = changed[place : place + chance.randint(1, 60)]
        case _:
            del changed[place:]
    return bytes(changed)


def _segments(chance: Chance, stream: bytes) -> list[bytes]:
    if chance.of(2) and len(stream) > BYTES:
        return [*(stream[at : at + 1] for at in range(BYTES)), stream[BYTES:]]
    cuts = sorted(chance.randrange(len(stream) + 1) for _ in range(chance.choice((0, 0, 1, 2, 6))))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(edges)]
    return [piece for piece in pieces if piece]
