"""Tells calls that kill workers from workers that are bad."""

import hashlib
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from potassium.http.content_hash import content_hash
from potassium.http.multipart import boundary_of, can_parse
from potassium.http.spooled import SpooledBody

__all__ = ["REFUSED_FOR", "PoisonRegister", "call_fingerprint", "refusal_line"]

REFUSED_FOR = 600.0  # seconds; suspicion, too, ends that long after the last death

# Points for a death. Three deaths in a row of which it was the only call refuse it, or six among
# others: one of a batch has killed the worker, and to be there once says little of each.
ALONE = 2
AMONG_OTHERS = 1
REFUSED_AT = 6

MOST_SUSPECTS = 4096
MOST_REFUSED = 1024

MULTIPART = b"multipart/form-data"


def call_fingerprint(
    path: str, content: bytes | SpooledBody, content_type: bytes = b"", query: bytes = b""
) -> bytes:
    """Return a hash of what a handler sees of its input, by which the same call is known again.

    That is the handler's path, the content, its media type and the query. A request id, the
    boundary of a form and other headers differ each time that the same call is made. Blocks while
    it reads content on disk; a megabyte takes a few milliseconds.
    """
    media_type = content_type.partition(b";")[0].strip().lower()
    boundary = boundary_of(content_type) if media_type == MULTIPART and can_parse() else b""
    digest = hashlib.blake2b(content_hash(content, without=boundary), digest_size=16)
    for part in (path.encode("utf-8", "surrogatepass"), media_type, query):
        digest.update(len(part).to_bytes(4))
        digest.update(part)
    return digest.digest()


def refusal_line(path: str, fingerprint: bytes) -> str:
    """Return what the log says once of a call that is refused from now on."""
    return (
        f"{path}: a call is refused for {REFUSED_FOR / 60:g} minutes, as each worker that ran it "
        f"died. Calls with another content are served. (content {fingerprint.hex()[:12]})"
    )


class _Suspect(NamedTuple):
    points: int
    until: float


class PoisonRegister:
    """Remembers which calls workers had begun when they died, and refuses those that kill.

    ::

        unknown ──died──▶ suspect ──died, 6 points──▶ refused
           ▲                 │                           │
           └── ended well, or ten minutes without a death┘

    A worker that dies without having begun a call, or its preparation, makes no call suspect. A
    suspect should run alone, as its death is then proof and its end clears it: see ``is_suspect``.

    While nothing is suspect, the register is false, and nobody has to compute a fingerprint. It
    holds at most 4096 suspects and 1024 refused calls; beyond that, it forgets the oldest.

    Belongs to one thread.

    Args:
        clock: returns monotonic seconds.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._suspects: dict[bytes, _Suspect] = {}  # those that expire first come first
        self._refused: dict[bytes, float] = {}  # likewise, until when

    def __bool__(self) -> bool:
        """Return whether any call is suspect or refused."""
        if self._suspects or self._refused:
            self._expire()
        return bool(self._suspects or self._refused)

    def __len__(self) -> int:
        """Return how many calls are suspect or refused."""
        self._expire()
        return len(self._suspects) + len(self._refused)

    def died(self, begun: Collection[bytes]) -> frozenset[bytes]:
        """Note that a worker died; return the calls that explain it: those refused by now.

        If there are any, the death does not count against the worker's device.

        Args:
            begun: the fingerprints of the calls that it had begun and not ended: of one call, of
                all calls of a batch, or of streams that took turns.

        """
        self._expire()
        calls = dict.fromkeys(begun)  # a batch may hold the same content twice
        points = ALONE if len(calls) == 1 else AMONG_OTHERS
        until = self._clock() + REFUSED_FOR
        known = {call for call in calls if call in self._refused}
        if known:  # they were queued before they were refused; the others happened to be there
            return self._refuse(known, until)
        for call in calls:
            before = self._suspects.pop(call, None)
            total = points + (0 if before is None else before.points)
            if total >= REFUSED_AT:
                known.add(call)
            else:
                self._suspects[call] = _Suspect(total, until)
        _drop_oldest(self._suspects, MOST_SUSPECTS)
        return self._refuse(known, until)

    def ended_well(self, call: bytes) -> None:
        """Note that a call had its result, or an error, and its worker goes on: it is cleared."""
        self._suspects.pop(call, None)
        self._refused.pop(call, None)

    def is_suspect(self, call: bytes) -> bool:
        """Return whether a worker died that had begun the same call; it should run alone."""
        self._expire()
        return call in self._suspects

    def is_refused(self, call: bytes) -> bool:
        """Return whether the same call has killed so many workers that it must not run."""
        self._expire()
        return call in self._refused

    def _refuse(self, calls: set[bytes], until: float) -> frozenset[bytes]:
        for call in calls:
            self._refused.pop(call, None)
            self._refused[call] = until
        _drop_oldest(self._refused, MOST_REFUSED)
        return frozenset(calls)

    def _expire(self) -> None:
        now = self._clock()
        while self._suspects and next(iter(self._suspects.values())).until <= now:
            del self._suspects[next(iter(self._suspects))]
        while self._refused and next(iter(self._refused.values())) <= now:
            del self._refused[next(iter(self._refused))]


def _drop_oldest(calls: dict[bytes, _Suspect] | dict[bytes, float], most: int) -> None:
    for call in list(calls)[: max(0, len(calls) - most)]:
        del calls[call]
