"""The errors of Potassium, with the HTTP status that each is answered with.

PotassiumError
├── UsageError: a mistake in the app's own code, raised as soon as it is made
├── 400 MalformedEncoding, MalformedForm, MalformedJSON, MalformedRequest
├── 401 Unauthorized
├── 404 JobNotFound
├── 406 NotAcceptable
├── 408 BodyTimeout
├── 409 JobHasEnded
├── 413 BodyTooLarge
├── 415 UnsupportedMediaType, UnsupportedEncoding
├── 416 RangeNotSatisfiable
├── 422 InvalidInput, IdempotencyKeyReused, WebhookUrlRefused
├── 431 HeadTooLarge
├── 499 JobCancelled (in the job's document), ClientLeft (sent to nobody)
├── 500 HandlerError, InputLost, Interrupted, UnserializableOutput
├── 504 DeadlineExceeded
├── StreamBroken: no status; the connection is closed in the middle of the response
└── 503 Unavailable, with Retry-After if waiting may help
    └── QueueFull, Overloaded, DiskFailed, Starting, Draining, WorkerFailed (WorkerDied),
        StoreFailed (StoreFull), StoreUnavailable, OutOfMemory, TooManyConnections,
        TooManyWatchers

Clients get the message, one or two sentences, as the ``detail`` of a problem document (RFC 9457),
next to a stable ``code``. It never contains a path, a repr of user data or a traceback.
"""

from potassium.errors.base import PotassiumError, UsageError
from potassium.errors.failures import (
    DeadlineExceeded,
    HandlerError,
    InputLost,
    Interrupted,
    StreamBroken,
    UnserializableOutput,
)
from potassium.errors.requests import (
    BodyTimeout,
    BodyTooLarge,
    ClientLeft,
    HeadTooLarge,
    IdempotencyKeyReused,
    InvalidInput,
    JobCancelled,
    JobHasEnded,
    JobNotFound,
    MalformedEncoding,
    MalformedForm,
    MalformedJSON,
    MalformedRequest,
    NotAcceptable,
    RangeNotSatisfiable,
    Unauthorized,
    UnsupportedEncoding,
    UnsupportedMediaType,
    WebhookUrlRefused,
)
from potassium.errors.unavailable import (
    DiskFailed,
    Draining,
    OutOfMemory,
    Overloaded,
    QueueFull,
    Starting,
    StoreFailed,
    StoreFull,
    StoreUnavailable,
    TooManyConnections,
    TooManyWatchers,
    Unavailable,
    WorkerDied,
    WorkerFailed,
)

__all__ = [
    "BodyTimeout",
    "BodyTooLarge",
    "ClientLeft",
    "DeadlineExceeded",
    "DiskFailed",
    "Draining",
    "HandlerError",
    "HeadTooLarge",
    "IdempotencyKeyReused",
    "InputLost",
    "Interrupted",
    "InvalidInput",
    "JobCancelled",
    "JobHasEnded",
    "JobNotFound",
    "MalformedEncoding",
    "MalformedForm",
    "MalformedJSON",
    "MalformedRequest",
    "NotAcceptable",
    "OutOfMemory",
    "Overloaded",
    "PotassiumError",
    "QueueFull",
    "RangeNotSatisfiable",
    "Starting",
    "StoreFailed",
    "StoreFull",
    "StoreUnavailable",
    "StreamBroken",
    "TooManyConnections",
    "TooManyWatchers",
    "Unauthorized",
    "Unavailable",
    "UnserializableOutput",
    "UnsupportedEncoding",
    "UnsupportedMediaType",
    "UsageError",
    "WebhookUrlRefused",
    "WorkerDied",
    "WorkerFailed",
]

for _name in __all__:  # tracebacks and logs name the errors as users import them
    globals()[_name].__module__ = __name__
