"""The small payloads of frames."""

import struct
from collections.abc import Sequence

__all__ = [
    "CEILING",
    "COST",
    "END",
    "NUMBER",
    "OVERRUN",
    "SHARE",
    "SLOTS",
    "TAKEN",
    "chunks_in",
    "decode_chunks",
    "encode_chunks",
]

NUMBER = struct.Struct("<I")  # a call, or a group
TAKEN = struct.Struct("<IQ")  # a call, and how many bytes
COST = struct.Struct("<Id")  # a call, and its cost
END = struct.Struct("<IBdI")  # a call, flags, the seconds that its steps took, how often it stalled
SLOTS = struct.Struct("<HIII")  # an operation; how many are open, stalled and parked
SHARE = struct.Struct("<Id")  # a call, and its progress; NaN for none
CEILING = struct.Struct("<Hd")  # an operation, and the weight
CHUNKS = struct.Struct("<II")  # a call, and how many chunks

OVERRUN = 1  # of END: the handler was too far ahead of its reader for too long


def encode_chunks(call: int, chunks: Sequence[bytes]) -> list[bytes]:
    """Return the payload that carries some chunks of a stream."""
    count = len(chunks)
    sizes = struct.pack(f"<{count}I", *map(len, chunks))
    return [CHUNKS.pack(call, count), sizes, b"".join(chunks)]


def chunks_in(payload: bytes) -> tuple[int, int, int]:
    """Return the number of a call, how many chunks follow, and where the first one begins."""
    call, count = CHUNKS.unpack_from(payload)
    return call, count, CHUNKS.size + 4 * count


def decode_chunks(payload: bytes) -> list[bytes]:
    """Return the chunks one by one."""
    _, count, at = chunks_in(payload)
    chunks = []
    for size in struct.unpack_from(f"<{count}I", payload, CHUNKS.size):
        chunks.append(payload[at : at + size])
        at += size
    return chunks
