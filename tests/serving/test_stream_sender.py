"""Sending a stream to the client: keep-alives, its end, and how a failure is reported."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support.operations import operation_on

from potassium.engine import Job, Stream
from potassium.engine.bridge import Bridge
from potassium.errors import ClientLeft, DeadlineExceeded, StreamBroken
from potassium.http.reply import Reply
from potassium.http.sse import ServerSentEvents
from potassium.http.stream_formats import RawChunks, StreamFormat
from potassium.serving.stream_sender import PIECE, StreamSender

KEEP_ALIVE = b": keep-alive\n\n"
PROBLEM = Reply(500, b'{"status":500}')


class Sent:
    """What a StreamSender sends; each message takes ``delay`` seconds to go out."""

    def __init__(self, wire: StreamFormat, *, delay: float = 0, stall_timeout: float = 10) -> None:
        self.messages: list[Any] = []
        self.delay = delay
        self.relay = StreamSender(wire, "r-1", self._send, stall_timeout)

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.messages if "body" in message]

    async def _send(self, message: Any) -> None:
        await asyncio.sleep(self.delay)
        self.messages.append(message)


def at_once(deliver: Callable[[], object]) -> None:
    deliver()


def stream_of(*chunks: bytes) -> Stream[Job]:
    """Return a stream that holds these chunks and then ends."""
    loop = asyncio.get_running_loop()
    job = Job(operation_on("work", lambda argument: argument), None, loop.create_future())
    stream = Stream(job, Bridge(at_once, Stream.wake))
    for chunk in chunks:
        stream.push(chunk)
    stream.end()
    return stream


async def test_what_has_piled_up_goes_out_in_one() -> None:
    """Chunks that have piled up are one message, and a last one marks the end."""
    sent = Sent(RawChunks())
    await sent.relay.send_all(stream_of(b"a", b"b", b"c"))
    assert sent.messages[1:] == [
        {"type": "http.response.body", "body": b"abc", "more_body": True},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]


async def test_a_long_chunk_goes_out_in_pieces() -> None:
    """No message is longer than a piece, and all of them together make up the chunk."""
    sent = Sent(RawChunks())
    chunk = bytes(range(256)) * (PIECE // 256 * 2) + b"rest"
    await sent.relay.send_all(stream_of(chunk))
    assert [len(body) for body in sent.bodies] == [PIECE, PIECE, 4, 0]
    assert b"".join(sent.bodies) == chunk
    assert [message["more_body"] for message in sent.messages[1:]] == [True, True, True, False]


async def test_a_client_that_takes_a_long_chunk_slowly_has_not_stalled() -> None:
    """Each piece that the client takes is progress, and restarts the stall timeout."""
    sent = Sent(RawChunks(), delay=0.04, stall_timeout=0.2)
    await sent.relay.send_all(stream_of(bytes(6 * PIECE)))
    assert sum(map(len, sent.bodies)) == 6 * PIECE


@pytest.mark.parametrize("wire", [RawChunks, ServerSentEvents])
async def test_a_client_that_takes_nothing_loses_its_stream(wire: type[StreamFormat]) -> None:
    """After the stall timeout the connection must be broken; the message says how long it was."""
    sent = Sent(wire(), stall_timeout=0.01)
    await sent.relay.begin()
    sent.delay = 60
    with pytest.raises(StreamBroken, match=r"nothing from its stream for 0\.01 s"):
        await sent.relay.send_all(stream_of(b"a"))


async def test_the_head_is_sent_once() -> None:
    """Whatever is sent first begins the response: status, headers and the request's id."""
    sent = Sent(ServerSentEvents())
    await sent.relay.keep_alive()
    await sent.relay.send_all(stream_of(b"a"))
    start, *bodies = sent.messages
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert {
        (b"content-type", b"text/event-stream"),
        (b"x-request-id", b"r-1"),
    } <= set(start["headers"])
    assert all(message["type"] == "http.response.body" for message in bodies)
    assert sent.bodies == [KEEP_ALIVE, b"a", ServerSentEvents.end]


async def test_a_stream_without_chunks_is_an_answer() -> None:
    """The response to an empty stream has a head and an end."""
    sent = Sent(RawChunks())
    await sent.relay.send_all(stream_of())
    assert [message["type"] for message in sent.messages] == [
        "http.response.start",
        "http.response.body",
    ]


async def test_a_failure_is_an_event_where_the_form_has_events() -> None:
    """The problem document, however long, is the data of the last event."""
    sent = Sent(ServerSentEvents())
    await sent.relay.fail(DeadlineExceeded(), Reply(500, b"x" * PIECE))
    assert b"".join(sent.bodies) == b"event: error\ndata: " + b"x" * PIECE + b"\n\n"
    assert [message["more_body"] for message in sent.messages] == [True, False]


async def test_a_failure_that_has_no_form_cannot_be_told() -> None:
    """The connection must be broken instead, without the end of the body."""
    sent = Sent(RawChunks())
    assert not await sent.relay.fail(DeadlineExceeded(), PROBLEM)
    assert sent.messages == []


async def test_a_client_that_takes_nothing_is_told_nothing() -> None:
    """Anything written to such a client would never arrive."""
    sent = Sent(ServerSentEvents(), stall_timeout=0.01)
    await sent.relay.begin()
    sent.delay = 60
    with pytest.raises(StreamBroken) as broken:
        await sent.relay.send_all(stream_of(b"a"))
    messages = list(sent.messages)
    assert not await sent.relay.fail(broken.value, PROBLEM)
    assert sent.messages == messages


@pytest.mark.parametrize("wire", [RawChunks, ServerSentEvents])
async def test_a_client_that_left_is_told_nothing(wire: type[StreamFormat]) -> None:
    """A client that leaves is not a failure of the stream."""
    sent = Sent(wire())
    await sent.relay.fail(ClientLeft(), PROBLEM)
    assert sent.messages == []


async def test_others_have_their_turn_while_much_is_sent() -> None:
    """A server that takes everything at once never waits."""
    turns = 0

    async def send(message: Any) -> None:
        pass

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    await StreamSender(RawChunks(), "r-1", send, 10).send_all(stream_of(b"x" * (100 * PIECE)))
    task.cancel()
    assert turns >= 99


async def test_a_call_that_is_called_off_twice_is_interrupted_once() -> None:
    """What has run out of time cannot be given less of it; whoever calls off must not fail."""
    sent = Sent(RawChunks(), delay=10)
    sending = asyncio.ensure_future(sent.relay.send_all(stream_of(b"x")))
    await asyncio.sleep(0)
    sent.relay._interrupt()
    while (limit := sent.relay._sending) is not None and not limit.expired():  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert sent.relay._sending is not None, "its time is over, but it does not know yet"
    sent.relay._interrupt()
    with pytest.raises(StreamBroken):
        await sending
