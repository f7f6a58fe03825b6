"""How the outcome of a call crosses from a worker to the front."""

import struct
from math import nan
from typing import Any

import orjson

from potassium.engine import Failure, Job
from potassium.http.reply import JSON, DescribedReply, OwnReply, Reply
from potassium.workers.failures import decode_failure, encode_failure

__all__ = [
    "decode_answer",
    "decode_outcome",
    "decode_times",
    "encode_answer",
    "encode_outcome",
    "set_times",
    "times_of",
]

# The call's id, what it is, its status, how many ran together, and when it began and ended to run,
# to be prepared and to be finished.
HEAD = struct.Struct("<IBHI6d")
SIZE = struct.Struct("<I")
ANSWER = struct.Struct("<IBH")  # the question's number, what it is, its status
TIMES = struct.Struct("<I6d")

NOTHING = 0  # nobody wants it any more
IN_JSON = 1  # a reply with no other headers than a JSON document has
REPLY = 2
OWN_REPLY = 3
DESCRIBED_REPLY = 4
FAILURE = 5

KINDS: dict[int, type[Reply]] = {
    REPLY: Reply,
    DESCRIBED_REPLY: DescribedReply,
    OWN_REPLY: OwnReply,
}


def encode_outcome(call: int, job: Job) -> list[bytes]:
    """Return the payload that tells the outcome of ``job``, which has the number ``call``."""
    kind, status, parts = _encoded(job.outcome)
    return [HEAD.pack(call, kind, status, job.batch_size, *_times(job)), *parts]


def decode_outcome(payload: bytes) -> tuple[int, Any, "tuple[int, tuple[float, ...]]"]:
    """Return the number of a call, its outcome, and its times, see ``set_times``."""
    call, kind, status, size, *times = HEAD.unpack_from(payload)
    return call, _decoded(kind, status, payload, HEAD.size), (size, tuple(times))


def encode_answer(question: int, outcome: Reply | Failure) -> list[bytes]:
    """Return the payload that answers a question."""
    kind, status, parts = _encoded(outcome)
    return [ANSWER.pack(question, kind, status), *parts]


def decode_answer(payload: bytes) -> tuple[int, Any]:
    """Return the number of a question, and a ``Reply`` or a ``Failure``."""
    question, kind, status = ANSWER.unpack_from(payload)
    return question, _decoded(kind, status, payload, ANSWER.size)


def times_of(job: Job) -> bytes:
    """Return the times of ``job``, and how many ran together."""
    return TIMES.pack(job.batch_size, *_times(job))


def decode_times(payload: bytes, at: int) -> tuple[int, tuple[float, ...], int]:
    """Return what ``times_of`` has encoded, for ``set_times``, and where it ends."""
    size, *times = TIMES.unpack_from(payload, at)
    return size, tuple(times), at + TIMES.size


def set_times(job: Job, size: int, times: tuple[float, ...]) -> None:
    """Give ``job`` the times that a worker has measured; NaN stands for none."""
    job.batch_size = size
    began, ended, prepared, ready, finishing, finished = times
    job.began_at = None if began != began else began  # noqa: PLR0124 - NaN
    job.ended_at = None if ended != ended else ended  # noqa: PLR0124
    if prepared == prepared:  # noqa: PLR0124
        job.preparation = prepared, ready
    if finishing == finishing:  # noqa: PLR0124
        job.finishing = finishing, finished


def _times(job: Job) -> tuple[float, ...]:
    none = (nan, nan)
    return (
        nan if job.began_at is None else job.began_at,
        nan if job.ended_at is None else job.ended_at,
        *(job.preparation or none),
        *(job.finishing or none),
    )


def _encoded(outcome: Any) -> tuple[int, int, list[bytes]]:
    """Return what an outcome is, its status, and the rest."""
    if outcome is None:
        return NOTHING, 0, []
    if type(outcome) is Failure:
        return FAILURE, 0, [encode_failure(outcome.error)]
    status, headers, body = outcome.status, outcome.headers, outcome.body
    if type(outcome) is Reply and len(headers) == 2 and headers[0] == JSON:  # noqa: PLR2004
        return IN_JSON, status, [body]
    kind = next(kind for kind in reversed(KINDS) if isinstance(outcome, KINDS[kind]))
    told = orjson.dumps(
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    )
    return kind, status, [SIZE.pack(len(told)), told, body]


def _decoded(kind: int, status: int, payload: bytes, at: int) -> Any:
    if kind == NOTHING:
        return None
    if kind == FAILURE:
        return Failure(decode_failure(payload[at:]))
    if kind == IN_JSON:
        return Reply(status, payload[at:], JSON)
    begin = at + SIZE.size
    end = begin + SIZE.unpack_from(payload, at)[0]
    reply = KINDS[kind](status, payload[end:])
    reply.headers = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in orjson.loads(payload[begin:end])
    ]
    return reply
