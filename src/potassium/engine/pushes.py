"""Streams that handlers open by pushing chunks themselves."""

import threading
from collections.abc import Callable

from potassium.engine.job import Job
from potassium.engine.push_room import PushRoom, PushShare
from potassium.engine.stream import NOT_RUNNING, Stream
from potassium.errors import UsageError

__all__ = ["Pushes"]


class Pushes:
    """Lets the job that the GPU thread runs push chunks, on any thread of its handler.

    Args:
        new_stream: opens the stream of a job.

    Attributes:
        running: the job that may open a stream by itself. The GPU thread sets it before it runs
            a job, and back to None before it looks whether the job has a stream.
        opening: held to open a stream, and to set ``running`` back.
        room: how far ahead of their readers such jobs may be.

    """

    def __init__(self, room: PushRoom, new_stream: Callable[[Job], Stream[Job]]) -> None:
        self.running: Job | None = None
        self.opening = threading.Lock()
        self.room = room
        self._new_stream = new_stream

    def stream_of(self, job: Job) -> Stream[Job]:
        """Return the stream of ``job``, for a handler that pushes; open it if it is not open.

        Raises:
            UsageError: it is not open, and the thread is not running ``job``, or as part of a
                batch.

        """
        with self.opening:  # several threads of the handler may be about to send
            stream = job.stream
            if stream is None:
                if self.running is not job:
                    raise UsageError(NOT_RUNNING)
                stream = self._new_stream(job)
            if stream.share is None:  # of a generator, it may be open already
                stream.share = PushShare(self.room)
            return stream
