"""The client of a Potassium server, for code that blocks and for asyncio.

It imports nothing of the server. pydantic is imported once a call asks for a type.
"""

from potassium.client.async_client import AsyncClient, AsyncJob, AsyncStream
from potassium.client.errors import (
    CallFailed,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidInput,
    JobFailed,
    NotFound,
    Refused,
    ServerFailed,
    Unauthorized,
    UnexpectedAnswer,
)
from potassium.client.job_record import JobEvent
from potassium.client.sync_client import Client, Job, Stream

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "AsyncStream",
    "CallFailed",
    "Client",
    "ConnectionFailed",
    "DeadlineExceeded",
    "InvalidInput",
    "Job",
    "JobEvent",
    "JobFailed",
    "NotFound",
    "Refused",
    "ServerFailed",
    "Stream",
    "Unauthorized",
    "UnexpectedAnswer",
]

for _name in __all__:  # tracebacks and logs name the errors as users import them
    globals()[_name].__module__ = __name__
