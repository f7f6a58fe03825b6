"""How a call crosses from the front to a worker."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import orjson

from potassium.handlers.in_process import InProcess
from potassium.http.message import BackgroundRun, Message
from potassium.http.spooled import SpooledBody
from potassium.http.stream_formats import JsonChunks
from potassium.workers.frames import LARGE
from potassium.workers.plain_data import packed, unpacked

__all__ = ["Arrived", "Call", "decode_calls", "encode_call", "encode_group"]

GROUP = struct.Struct("<II")  # the number of the group, and the size of its trace
# The call's id, slot, operation, flags, deadline and cost, and the sizes of description and body.
CALL = struct.Struct("<IHHBddII")

NOTHING: dict[str, Any] = {}

HELD = 1  # the worker has prepared it already, and nothing else follows
JSON_CHUNKS = 2  # its chunks are wanted as JSON, whatever its request accepts
UNBOUND = 8  # to bind its argument takes a while
APART = 4  # its body is large, or in a file, and has come before it


@dataclass(slots=True)
class Call:
    """A call as the front sends it.

    Attributes:
        id: its number, for this worker.
        slot: its byte in the shared page.
        operation: the number of its operation.
        deadline: as the job has it.
        cost: what it adds to the cost of a batch.
        message: what it was admitted for; None if the worker has it.
        context: what the handler sees of context variables.
        is_unbound: whether it takes a while to bind its argument.
        trace: the headers that continue its trace.

    """

    id: int
    slot: int
    operation: int
    deadline: float | None
    cost: float
    message: Message | None
    context: Mapping[str, Any]
    trace: Mapping[str, str]
    is_unbound: bool = False


@dataclass(slots=True)
class Arrived:
    """A call as a worker receives it.

    Attributes:
        id: its number.
        slot: its byte in the shared page.
        operation: the number of its operation.
        deadline: monotonic seconds; the clock is the same in all processes of a machine.
        cost: what it adds to the cost of a batch.
        is_held: whether the worker has prepared it before; then, nothing else is known here.
        description: what is known of the request, see ``message_of``.
        body: the content, unless it comes apart.
        is_json_chunks: whether its chunks are wanted as JSON.
        is_apart: whether the body has come apart.
        is_unbound: whether it takes a while to bind its argument.

    """

    id: int
    slot: int
    operation: int
    deadline: float | None
    cost: float
    is_held: bool
    description: list[Any]
    body: bytes
    is_json_chunks: bool
    is_apart: bool
    is_unbound: bool

    @property
    def context(self) -> Mapping[str, Any]:
        """What the handler sees of context variables."""
        context: Mapping[str, Any] = self.description[8]
        return context

    @property
    def trace(self) -> Mapping[str, str]:
        """The headers that continue its trace."""
        trace: Mapping[str, str] = self.description[9]
        return trace

    @property
    def background(self) -> str | None:
        """The id of the background job of which the call is an attempt; None for a direct call."""
        job: str | None = self.description[7]
        return job

    def message(self, content: bytes | SpooledBody, background: BackgroundRun | None) -> Message:
        """Return the message that the call was admitted for."""
        request_id, method, path, query, client, headers, json_values, *_, state = self.description
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode("latin-1"),
            "client": client,
            "state": {name: unpacked(value) for name, value in state.items()},
        }
        return Message(
            request_id,
            [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            content,
            scope,
            background=background,
            form=JsonChunks() if self.is_json_chunks else None,
            json_values=json_values,
        )


def encode_group(
    number: int, calls: Sequence[list[bytes]], trace: Mapping[str, str] = NOTHING
) -> list[bytes]:
    """Return the payload for a group of encoded calls; a batch goes on with ``trace``."""
    told = orjson.dumps(trace) if trace else b""
    return [GROUP.pack(number, len(told)), told, *(part for call in calls for part in call)]


def encode_call(call: Call) -> list[bytes]:
    """Return what a worker needs to run a call."""
    deadline = inf if call.deadline is None else call.deadline
    message = call.message
    if message is None:
        return [CALL.pack(call.id, call.slot, call.operation, HELD, deadline, call.cost, 0, 0)]
    content, flags = message.content, 0
    if isinstance(content, SpooledBody) or len(content) > LARGE:
        content, flags = b"", APART
    if call.is_unbound:
        flags |= UNBOUND
    if message.background is not None or isinstance(message, InProcess):
        flags |= JSON_CHUNKS
    description = _described(message, call)
    sizes = len(description), len(content)
    head = CALL.pack(call.id, call.slot, call.operation, flags, deadline, call.cost, *sizes)
    return [head, description, content]


def decode_calls(payload: bytes) -> tuple[int, Iterator[Arrived], Mapping[str, str]]:
    """Return the number of a group, its calls, and its trace."""
    number, size = GROUP.unpack_from(payload)
    begin = GROUP.size + size
    trace = orjson.loads(payload[GROUP.size : begin]) if size else NOTHING
    return number, _calls(payload, begin), trace


def _calls(payload: bytes, at: int) -> Iterator[Arrived]:
    while at < len(payload):
        number, slot, operation, flags, deadline, cost, described, size = CALL.unpack_from(
            payload, at
        )
        at += CALL.size
        description = orjson.loads(payload[at : at + described]) if described else []
        at += described
        yield Arrived(
            number,
            slot,
            operation,
            None if deadline == inf else deadline,
            cost,
            bool(flags & HELD),
            description,
            payload[at : at + size],
            bool(flags & JSON_CHUNKS),
            bool(flags & APART),
            bool(flags & UNBOUND),
        )
        at += size


def _described(message: Message, call: Call) -> bytes:
    scope = message.scope
    state = scope.get("state")
    return orjson.dumps(
        [
            message.id,
            scope.get("method", "POST"),
            scope.get("path", "/"),
            scope.get("query_string", b"").decode("latin-1"),
            scope.get("client"),
            [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in message.raw_headers
            ],
            message.json_values,
            None if message.background is None else message.background.id,
            call.context,
            call.trace,
            packed(state) if state else NOTHING,
        ]
    )
