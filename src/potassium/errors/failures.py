"""Errors of calls that were admitted."""

from potassium.errors.base import PotassiumError

__all__ = [
    "DeadlineExceeded",
    "HandlerError",
    "InputLost",
    "Interrupted",
    "StreamBroken",
    "UnserializableOutput",
]


class HandlerError(PotassiumError):
    """The handler raised an exception, which is the ``__cause__`` of this error."""

    status = 500
    code = "handler_error"


class InputLost(PotassiumError):
    """The file with the input of this background job is missing, or cannot be read."""

    status = 500
    code = "input_lost"
    default_detail = "The input of the job is lost. Submit it again."


class Interrupted(PotassiumError):
    """The process that ran this background job died too often to run the job again."""

    status = 500
    code = "interrupted"


class UnserializableOutput(PotassiumError):
    """The handler returned something that cannot be serialized."""

    status = 500
    code = "unserializable_output"


class StreamBroken(PotassiumError):
    """A response that has begun cannot be completed.

    Raised into the ASGI server, which closes the connection, so the client sees the truncation.
    """

    code = "stream_broken"


class DeadlineExceeded(PotassiumError):
    """The time that the handler or the client allows for a call has run out."""

    status = 504
    code = "deadline_exceeded"
    default_detail = "The call did not finish in time."
