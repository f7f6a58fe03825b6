"""What turns a request into a handler's second argument."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from potassium.errors import InvalidInput
from potassium.http.json_cost import PLAIN, JsonCost, Shape
from potassium.http.message import Message
from potassium.http.request import Request

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from potassium.engine import Job

__all__ = [
    "QUICK_WORK",
    "Binding",
    "Estimate",
    "JsonObject",
    "RawBody",
    "WholeRequest",
    "argument_of",
    "parsed",
]

# What is bound on the event loop takes some milliseconds in the worst case. To go to a thread and
# back takes a fraction of one.
QUICK_SIZE = 512 * 1024  # bytes
QUICK_WORK = 32 * 1024  # units of JsonCost

# Stands for the request itself, which is built where the job runs. Built earlier, it and the job
# would refer to each other.
WHOLE_REQUEST: Final = object()


NO_FIELDS = (
    'methods=["GET"]: a query has fields, so the input must have some too: annotate it with a '
    "pydantic model, or take the Request and read its query_params"
)


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
        at_once: the size in bytes up to which a body is quickly bound, whatever it contains;
            negative if none is.
        decodes_files: whether it decodes files, which takes a while and does not hold the GIL.
        adapter: validates the argument and knows its JSON schema; None if nothing is validated.
        media_types: the content types of the bodies that it takes.
        needs_bytes: whether it needs the body in memory, even if that is not JSON; see
            ``Message.open``.
        spools: whether what it makes reads the body later, so that a large one is better on disk.

    """

    adapter: "TypeAdapter[Any] | None" = None
    media_types: Sequence[str] = ("application/json",)
    cost: JsonCost | None = None
    at_once: int = sys.maxsize
    decodes_files: bool = False
    needs_bytes: bool = True
    spools: bool = False

    @abstractmethod
    def __call__(self, message: Message) -> Any:
        """Return the argument for a request, or what stands for it.

        Raises:
            UnsupportedMediaType: the request's ``Content-Type`` is none that the handler takes.
            MalformedJSON: JSON is wanted, and the body is not valid JSON.
            MalformedForm: the body is not the form that it is said to be.
            BodyTooLarge: the body contains too many JSON values, or fields of a form.
            InvalidInput: the body is JSON, or a form, but not what the handler takes.

        """

    def needs_memory(self, message: Message) -> bool:
        """Return whether the body must be in memory for this to bind it."""
        return self.needs_bytes or message.is_json

    def estimate(self, message: Message) -> Estimate:
        """Return what it takes to bind the body of ``message``."""
        cost = self.cost
        if cost is None:
            return Estimate(is_quick=True, memory=0)
        body = message.body
        shape = Shape.of(body)
        if cost.grows:
            quick = not cost.exceeds(body, QUICK_WORK)
        else:
            quick = cost.most_work(shape) <= QUICK_WORK
        quick = quick and len(body) <= QUICK_SIZE
        return Estimate(quick, cost.memory(body, shape))


class WholeRequest(Binding):
    """Passes the request itself."""

    needs_bytes = False
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
        value = parsed(message)
        if type(value) is not dict:
            fault = {"loc": [], "msg": "Input should be an object", "type": "dict_type"}
            raise InvalidInput("The body is JSON, but not an object.", [fault])
        return value


def argument_of(job: "Job", request: Request) -> Any:
    """Return what the function gets that runs for ``job``, which serves ``request``."""
    return request if job.argument is WHOLE_REQUEST else job.argument


def parsed(message: Message) -> Any:
    """Return the JSON value of the body.

    That of a smaller body stays with the message: freed earlier, its memory would go back to the
    operating system, and be taken again by the next one, which takes longer than to parse it.
    """
    return message.json if len(message.body) <= QUICK_SIZE else message.parse()
