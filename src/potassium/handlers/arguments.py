"""What turns a request into a handler's second argument."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from potassium.errors import BodyTooLarge, InvalidInput, MalformedJSON
from potassium.handlers.hash_check import Hashed, check_hashes, hashed_in
from potassium.handlers.schema_cost import cost_of
from potassium.http.json_cost import PLAIN, JsonCost, Shape
from potassium.http.message import Message
from potassium.http.request import Request

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

    from potassium.engine import Job

__all__ = ["Binding", "JsonObject", "RawBody", "Validated", "WholeRequest", "argument_of"]

MOST_SHOWN = 100  # faults of one body
MOST_FAULTS = 1000  # that are looked at, to show some of them

# What is bound on the event loop takes some milliseconds in the worst case. To go to a thread and
# back takes a fraction of one.
QUICK_SIZE = 512 * 1024  # bytes
QUICK_WORK = 32 * 1024  # units of JsonCost

# Stands for the request itself, which is built where the job runs. Built earlier, it and the job
# would refer to each other.
WHOLE_REQUEST: Final = object()


class Estimate(NamedTuple):
    """What it takes to bind a body.

    Attributes:
        is_quick: whether it takes some milliseconds at most.
        memory: the bytes that the argument takes, at most about.

    """

    is_quick: bool
    memory: int


class Binding(ABC):
    """Turns a request into an argument.

    Attributes:
        cost: what it takes to parse the body; None if it is not parsed.
        at_once: the size in bytes up to which a body is quickly bound, whatever it contains.
        adapter: validates the argument and knows its JSON schema; None if nothing is validated.
        media_types: the content types of the bodies that it takes.
        spools: whether it does not need the body in memory; see ``Message.open``.

    """

    adapter: "TypeAdapter[Any] | None" = None
    media_types: Sequence[str] = ("application/json",)
    cost: JsonCost | None = None
    at_once: int = sys.maxsize
    spools: bool = False

    @abstractmethod
    def __call__(self, message: Message) -> Any:
        """Return the argument for a request, or what stands for it.

        Raises:
            UnsupportedMediaType: JSON is wanted, and the request's ``Content-Type`` is not JSON.
            MalformedJSON: JSON is wanted, and the body is not valid JSON.
            BodyTooLarge: the body contains too many JSON values.
            InvalidInput: the body is JSON, but not what the handler takes.

        """

    def estimate(self, body: bytes) -> Estimate:
        """Return what it takes to bind ``body``."""
        cost = self.cost
        if cost is None:
            return Estimate(is_quick=True, memory=0)
        shape = Shape.of(body)
        if cost.grows:
            quick = not cost.exceeds(body, QUICK_WORK)
        else:
            quick = cost.most_work(shape) <= QUICK_WORK
        quick = quick and len(body) <= QUICK_SIZE
        return Estimate(quick, cost.memory(body, shape))


class WholeRequest(Binding):
    """Passes the request itself."""

    spools = True

    def __call__(self, message: Message) -> object:  # noqa: ARG002 - which the job has already
        """Return what stands for the request."""
        return WHOLE_REQUEST


class RawBody(Binding):
    """Passes the body."""

    media_types = ("application/octet-stream",)

    def __call__(self, message: Message) -> bytes:
        """Return the body."""
        return message.body


class JsonObject(Binding):
    """Passes the JSON object that the body is."""

    cost: JsonCost = PLAIN
    at_once = int(QUICK_WORK / PLAIN.harmless)

    def __call__(self, message: Message) -> dict[str, Any]:
        """Return the object."""
        value = _parsed(message)
        if type(value) is not dict:
            fault = {"loc": [], "msg": "Input should be an object", "type": "dict_type"}
            raise InvalidInput("The body is JSON, but not an object.", [fault])
        return value


class Validated(Binding):
    """Passes what pydantic makes of the JSON value that the body is.

    Its cost is determined at the first request: not before that can the annotation refer to classes
    that are defined below the handler.
    """

    def __init__(self, adapter: "TypeAdapter[Any]") -> None:
        import pydantic  # noqa: PLC0415 - only for apps that validate, which have imported it

        self.adapter: TypeAdapter[Any] = adapter
        self._error = pydantic.ValidationError

    @cached_property
    def cost(self) -> JsonCost:  # type: ignore[override] # which is written once
        """What it takes to parse the body."""
        return cost_of(self.adapter.core_schema)

    @cached_property
    def at_once(self) -> int:  # type: ignore[override] # which is written once
        """The size in bytes up to which a body is quickly bound, whatever it contains."""
        return int(QUICK_WORK / self.cost.harmless)

    @cached_property
    def _hashed(self) -> Hashed:
        return hashed_in(self.adapter.core_schema)

    def __call__(self, message: Message) -> Any:
        """Return the validated value."""
        _parsed(message)  # 400 and 415 before 422; pydantic's own parser would take NaN
        most = message.json_values
        if most is not None and self.cost.exceeds(message.body, most):
            raise self._too_much(most)
        if self._hashed:
            check_hashes(message.body, self._hashed)
        try:
            return self.adapter.validate_json(message.body)
        except self._error as error:
            raise _refusal(error) from None

    def _too_much(self, most: int) -> InvalidInput | BodyTooLarge:
        if not self.cost.grows:
            return BodyTooLarge(f"The body contains too many values: it may have {most}.")
        why = "Nested too deeply for a union: each level is tried as each of its members"
        fault = {"loc": [], "msg": why, "type": "too_deep_for_unions"}
        return InvalidInput("The body is JSON, but not what this handler takes.", [fault])


def argument_of(job: "Job", request: Request) -> Any:
    """Return what the function gets that runs for ``job``, which serves ``request``."""
    return request if job.argument is WHOLE_REQUEST else job.argument


def _parsed(message: Message) -> Any:
    """Return the JSON value of the body.

    That of a smaller body stays with the message: freed earlier, its memory would go back to the
    operating system, and be taken again by the next one, which takes longer than to parse it.
    """
    return message.json if len(message.body) <= QUICK_SIZE else message.parse()


def _refusal(error: "ValidationError") -> InvalidInput | MalformedJSON:
    """Return what a client is told of input that is invalid: 100 faults of it at most."""
    count = error.error_count()
    if count > MOST_FAULTS:  # to list them would take longer than all else, and hold the loop up
        fault = {"loc": [], "msg": f"{count} faults: too many to list", "type": "too_many_faults"}
        return InvalidInput("The body is JSON, but not what this handler takes.", [fault])
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    if faults[0]["type"] == "json_invalid":  # nested deeper than its parser accepts
        return MalformedJSON("The body is nested too deeply.")
    return InvalidInput(
        "The body is JSON, but not what this handler takes; see errors.",
        [
            {"loc": fault["loc"], "msg": fault["msg"], "type": fault["type"]}
            for fault in faults[:MOST_SHOWN]
        ],
    )
