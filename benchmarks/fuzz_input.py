"""Random requests as a server passes them on over ASGI, each derived from its number."""

import json
import random
import string
from dataclasses import dataclass
from typing import Any

from fuzz_app import BODY_SIZE, EXAMPLES, PATHS, SLOW_PATH

Header = tuple[bytes, bytes]
Message = dict[str, Any]

SERVER_PAGES = ("/healthz", "/readyz", "/_k/status", "/__status__", "/_k/warmup")
METHODS = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "post", "BREW")

PATH_CHARACTERS = "/.%?#{}é\x00\udcff" + string.ascii_letters
JSON_CHARACTERS = b'[]{}",:0123456789.eE+-truefalsn\\u \n'
TEXT_CHARACTERS = 'ab\x00\x7f"\\é\u2028\U0001f600\udc00'
KEYS = ("name", "count", "ratio", "tags", "more", "x", "", "é")

CONTENT_TYPES = (
    b"application/json",
    b"application/json; charset=utf-8",
    b"APPLICATION/JSON",
    b"application/vnd.api+json",
    b"text/plain",
    b"multipart/form-data; boundary=x",
    b"application/x-www-form-urlencoded",
    b"application/json;",
    b"json",
    b"+json",
    b";",
    b"",
    b"\xff\xfe",
    b"application/json" + b" " * 2000,
)

ODD_BODIES = (
    b"",
    b" ",
    b"\x00",
    b"NaN",
    b"Infinity",
    b'{"x": NaN}',
    b"null",
    b"true",
    b'"text"',
    b"[]",
    b"{}",
    b"1e999",
    b"-0",
    b"9" * 5000,
    b'{"x": ' + b"9" * 5000 + b"}",
    b'{"x": 18446744073709551616}',
    b'{"x": -9223372036854775809}',
    b'{"x": 0.' + b"1" * 5000 + b"}",
    b'{"x": 1, "x": 2}',
    b'{"x": "\\ud800"}',
    b'{"\\ud800": 1}',
    b'{"x": "\\u0000"}',
    b'\xef\xbb\xbf{"x": 1}',
    '{"x": 1}'.encode("utf-16"),
    '{"x": "é"}'.encode("latin-1"),
    b'{"x": 1}{"x": 1}',
    b'{"x": 1}\x00',
    b"{'x': 1}",
    b'{"x": 1,}',
    b"[" * 8000,
    b'{"x":' * 2000 + b"1" + b"}" * 2000,
    b"[" * 1024 + b"]" * 1024,
    b'{"x": ' + b"[" * 300 + b"]" * 300 + b"}",
    b'{"name": "a", "more": ' + b'{"b": {"name": "c", "more": ' * 200 + b"{}" + b"}}" * 200 + b"}",
    b'{"name": "' + b"a" * 8000 + b'"}',
    b"x" * (BODY_SIZE + 1),
    b'"' + b"a" * (BODY_SIZE - 2) + b'"',
)

SECONDS = (b"0", b"-1", b"0.001", b"1", b"1e400", b"nan", b"inf", b"", b"x", b"9" * 5000, b"\xb2")

ODD_VALUES: dict[bytes, tuple[bytes, ...]] = {
    b"content-length": (
        b"0",
        b"-1",
        b"+5",
        b"1e3",
        b"",
        b" 5 ",
        b"5, 5",
        b"0x10",
        b"\xb2",
        b"1_000",
        b"99999999999999999999",
        b"9" * 5000,
    ),
    b"prefer": (
        b"respond-async",
        b"respond-async, wait=1",
        b'wait="5"',
        b"WAIT=5; foo, return=minimal",
        b"wait",
        b",,;;==",
        b"\xff",
        *(b"wait=" + seconds for seconds in SECONDS),
    ),
    b"x-request-id": (b"", b"abc", b"a b", b"\xff", b"\x00", b"a" * 128, b"a" * 129, b"\r\nx: y"),
    b"x-banana-request-id": (b"", b"abc", b"\xff", b"a" * 129),
    b"x-priority": (b"low", b"normal", b"high", b"HIGH", b"", b"1", b"\xff", b"low, high"),
    b"traceparent": (
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"00-0-0-0",
        b"",
        b"\xff",
    ),
    b"authorization": (b"Bearer", b"Bearer ", b"Bearer \xff", b"Basic !!", b""),
    b"x-api-key": (b"", b"key", b"\xff"),
    b"idempotency-key": (b"", b"a", b"\xff", b"a" * 5000),
    b"host": (b"", b"[", b"[::1]:x", b"a:99999", b"\xff", b"evil/..", b"a@b"),
    b"transfer-encoding": (b"chunked", b"gzip, chunked", b"\xff"),
    b"accept": (b"*/*", b"text/event-stream", b"\xff"),
    b"expect": (b"100-continue",),
    b"connection": (b"close", b"upgrade"),
    b"upgrade": (b"websocket", b"h2c"),
    b"x-forwarded-for": (b"\xff", b"::1"),
}


@dataclass(frozen=True, kw_only=True)
class Input:
    """One request.

    Attributes:
        scope: the ASGI scope.
        messages: what ``receive`` returns, in order; a number is a pause in seconds. A client that
            does not disconnect at the end stays connected and silent.
        body: the whole body, even if the messages carry only a part of it.
        leaves: the client disconnects; before its answer, if that takes a while.
        complete: the messages carry the whole body.

    """

    scope: dict[str, Any]
    messages: list[Message | float]
    body: bytes
    leaves: bool
    complete: bool


def make(seed: int, number: int) -> Input:
    """Return input ``number`` of the run ``seed``, which is always the same."""
    chance = Chance(f"{seed}:{number}")  # for repeatability, not for secrecy
    path = _path(chance)
    body = _body(chance, path)
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": chance.choice(("1.0", "1.1", "2")),
        "method": chance.choice(METHODS) if chance.of(7) else "POST",
        "scheme": chance.choice(("http", "https")),
        "path": path,
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "query_string": chance.randbytes(chance.randrange(20)) if chance.of(20) else b"",
        "headers": _headers(chance, body),
    }
    if chance.of(70):
        scope.update(root_path="", client=("127.0.0.1", 1), server=("127.0.0.1", 8000))
    elif chance.of(30):
        scope.update(root_path="/model", path="/model" + path, client=None, server=None)
    return _deliver(chance, scope, body)


class Chance(random.Random):
    """A random generator that can decide by percentages."""

    def of(self, percent: float) -> bool:
        """Return True in ``percent`` of 100 cases."""
        return self.random() * 100 < percent


def _path(chance: Chance) -> str:
    other = "/" + "".join(chance.choices(PATH_CHARACTERS, k=chance.choice((3, 12))))
    kinds = (chance.choice(PATHS), chance.choice(SERVER_PAGES), other, SLOW_PATH)
    return chance.choices(kinds, weights=(90, 3, 6.5, 0.5))[0]


def _body(chance: Chance, path: str) -> bytes:
    example = EXAMPLES.get(path, b"{}")
    match chance.choices(range(6), weights=(20, 30, 20, 10, 5, 15))[0]:
        case 0:
            return example
        case 1:
            return _mutated(chance, example)
        case 2:
            value = _value(chance, 4)
            whole = {"name": value, "x": value} if chance.of(50) else value
            return json.dumps(whole, ensure_ascii=chance.of(50)).encode("utf-8", "replace")
        case 3:
            return chance.randbytes(chance.randrange(64))
        case 4:
            return bytes(chance.choices(JSON_CHARACTERS, k=chance.randrange(64)))
        case _:
            return chance.choice(ODD_BODIES)


def _mutated(chance: Chance, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0:
                changed[place : place + 1] = chance.randbytes(1)
            case 1:
                del changed[place : place + chance.randint(1, 8)]
            case 2:
                changed[place:place] = chance.choice(
                    (b'"', b"{", b"[", b"\\", b"null", b"1e9", b"\xc3")
                )
            case 3:
                changed[place:place] = changed[place : place + chance.randint(1, 16)]
            case _:
                del changed[place:]
    return bytes(changed)


def _value(chance: Chance, depth: int) -> Any:
    """Return a random JSON value."""
    scalar = chance.choice(
        (
            chance.choice((None, True, False)),
            chance.randint(-3, 3),
            chance.randint(-(2 ** chance.randrange(1, 80)), 2 ** chance.randrange(1, 80)),
            chance.uniform(-1, 1) * 10.0 ** chance.randint(-320, 308),
            "".join(chance.choices(TEXT_CHARACTERS, k=chance.randrange(8))),
        )
    )
    if not depth or chance.of(60):
        return scalar
    inner = [_value(chance, depth - 1) for _ in range(chance.randrange(4))]
    return {chance.choice(KEYS): value for value in inner} if chance.of(50) else inner


def _headers(chance: Chance, body: bytes) -> list[Header]:
    headers = []
    if chance.of(75):
        headers.append((b"content-type", b"application/json"))
    elif chance.of(80):
        headers.append((b"content-type", chance.choice(CONTENT_TYPES)))
    if chance.of(60):
        length = chance.choice((0, 1, 2 * len(body), 10**9)) if chance.of(10) else len(body)
        headers.append((b"content-length", b"%d" % length))
    while chance.of(30):
        name = chance.choice(list(ODD_VALUES))
        headers.append((name, chance.choice(ODD_VALUES[name])))
    while chance.of(5):
        name = bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz-", k=chance.randint(1, 12)))
        headers.append((name, chance.randbytes(chance.randrange(20))))
    chance.shuffle(headers)
    return headers


def _deliver(chance: Chance, scope: dict[str, Any], body: bytes) -> Input:
    """Split the body into messages from a client that may leave halfway or afterwards."""
    cuts = sorted(chance.choices(range(len(body) + 1), k=chance.choice((0, 0, 0, 1, 3))))
    messages: list[Message | float] = []
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        message: Message = {"type": "http.request", "body": body[start:end], "more_body": True}
        if start == end and chance.of(50):
            del message["body"]  # ASGI lets a server omit an empty body
        messages.append(message)
    if chance.of(50):
        message["more_body"] = False
    else:
        del message["more_body"]
    complete = not chance.of(10)
    if not complete:
        messages = messages[: chance.randrange(len(messages))]
    # Half a body followed by silence lasts until the server's body timeout, so it is rare.
    leaves = chance.of(95) if not complete else chance.of(30 if scope["path"] != SLOW_PATH else 60)
    if leaves:
        if chance.of(10):
            messages.append(chance.choice((0.0, 0.001, 0.01)))
        messages.append({"type": "http.disconnect"})
    return Input(scope=scope, messages=messages, body=body, leaves=leaves, complete=complete)
