"""Makes the calls that a build was given, and compares their answers."""

import hashlib
import math
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potassium.errors import MalformedJSON, PotassiumError, UsageError
from potassium.http.codec import decode
from potassium.http.results import reply_to

if TYPE_CHECKING:
    from potassium.app import Potassium

__all__ = ["Answer", "BuildCall", "answers_of", "are_alike"]

# How much numbers may differ: the order of additions depends on where in memory tensors begin.
RELATIVE, ABSOLUTE = 1e-3, 1e-5


@dataclass(frozen=True)
class BuildCall:
    """A call to make.

    Attributes:
        path: the path of the handler.
        body: the file with its input: JSON, or bytes if its name does not end in ``.json``.

    """

    path: str
    body: Path

    def item(self) -> Any:
        """Return the input of the handler.

        Raises:
            UsageError: the file cannot be read, or is not JSON.

        """
        try:
            content = self.body.read_bytes()
            return decode(content) if self.body.suffix == ".json" else content
        except OSError as error:
            raise UsageError(f"{self.body} cannot be read: {error.strerror}.") from error
        except MalformedJSON as error:
            raise UsageError(f"{self.body} is not JSON: {error}") from error


@dataclass(frozen=True)
class Answer:
    """What a handler answered.

    Attributes:
        path: the path of the handler.
        seconds: how long its first call took.
        shown: the answer, as JSON.
        varies: whether a second call was answered differently.

    """

    path: str
    seconds: float
    shown: Any
    varies: bool


async def answers_of(app: "Potassium", calls: Sequence[BuildCall]) -> list[Answer]:
    """Make each call twice, the first time in turn, and return the answers.

    Raises:
        UsageError: there is no such handler, or the input is not what it takes.
        PotassiumError: a call has failed.

    """
    first = []
    for one in calls:
        began = time.monotonic()
        shown = await _shown(app, one)
        first.append((shown, time.monotonic() - began))
    return [
        Answer(one.path, seconds, shown, varies=not are_alike(shown, await _shown(app, one)))
        for one, (shown, seconds) in zip(calls, first, strict=True)
    ]


async def _shown(app: "Potassium", call: BuildCall) -> Any:
    _seed()
    result = await app.call(call.path, call.item())
    parts = result if isinstance(result, list) else [result]
    try:
        replies = [reply_to(one) for one in parts]
    except PotassiumError:  # chunks may be what only streams can send
        return [type(one).__qualname__ for one in parts]
    return [_body(one.is_json, one.body) for one in replies]


def _seed() -> None:
    """Let what is drawn by chance be the same in both processes."""
    random.seed(0)
    for name in ("torch", "numpy.random"):
        module: Any = sys.modules.get(name)
        seed = getattr(module, "manual_seed", None) or getattr(module, "seed", None)
        if seed is not None:
            seed(0)


def _body(is_json: bool, body: bytes) -> Any:  # noqa: FBT001
    return decode(body) if is_json else {"sha256": hashlib.sha256(body).hexdigest()}


def are_alike(one: Any, other: Any) -> bool:
    """Return whether two answers are the same, apart from how numbers are rounded."""
    if isinstance(one, float) or isinstance(other, float):
        if not isinstance(one, float | int) or not isinstance(other, float | int):
            return False
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(are_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(are_alike, one, other))
    return type(one) is type(other) and bool(one == other)
