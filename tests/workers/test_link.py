"""The socket between the front and a worker: what is sent, and the descriptors of files with it."""

import asyncio
import fcntl
import os
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from potassium.http.spooled import SpooledBody
from potassium.workers.frames import ToWorker, frame
from potassium.workers.link import FrontLink, WorkerLink

Frames = list[tuple[int, bytes]]

MIB = 1024 * 1024


def nothing(*_: object) -> None:
    """Take no notice."""


def body_of(content: bytes) -> SpooledBody:
    body = SpooledBody.new()
    body.write(content)
    return body


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Worker:
    """A worker's end, whose thread keeps what it receives, and reads the files."""

    def __init__(self, sock: socket.socket) -> None:
        self.link = WorkerLink(sock)
        self.frames: Frames = []
        self.files: list[bytes | None] = []
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self.link.run, args=(self._receive,))

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()

    def wait(self, frames: int) -> None:
        """Wait until so many frames have arrived."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.frames) >= frames, 10)

    def _receive(self, kind: int, payload: bytes) -> None:
        with self._more:
            self._keep(kind, payload)
            self._more.notify_all()

    def _keep(self, kind: int, payload: bytes) -> None:
        self.frames.append((kind, payload))
        if kind == ToWorker.FILE:
            descriptor = self.link.next_file()
            if descriptor is None:
                self.files.append(None)
                return
            self.files.append(os.pread(descriptor, MIB, 0))
            os.close(descriptor)


def pair() -> tuple[FrontLink, Worker]:
    ours, its = socket.socketpair()
    return FrontLink(ours, nothing, nothing), Worker(its)


async def test_each_file_comes_with_its_own_frame() -> None:
    """In order, among large and small frames, and more than the socket takes at once."""
    front, worker = pair()
    before = descriptors()
    sent: Frames = []
    bodies = [body_of(b"file %d" % number) for number in range(40)]
    for number, body in enumerate(bodies):
        payload = b"x" * (number * 10_000)
        front.send(frame(ToWorker.CALLS, payload))
        front.send_file(body)
        front.send(frame(ToWorker.PREPARE, b"%d" % number))
        sent += [(ToWorker.CALLS, payload), (ToWorker.FILE, b"")]
        sent.append((ToWorker.PREPARE, b"%d" % number))
        body.close()  # its call may be over before the socket has taken it
    worker.start()
    async with asyncio.timeout(10):
        await asyncio.to_thread(worker.wait, len(sent))
    front.close()
    worker.join()
    assert worker.frames == sent
    assert worker.files == [b"file %d" % number for number in range(40)]
    assert descriptors() == before - 1  # and our end of the socket


async def test_files_that_are_never_sent_are_let_go() -> None:
    """When the worker dies, or does not read."""
    front, worker = pair()
    before = descriptors()
    front.send(frame(ToWorker.CALLS, b"x" * 10 * MIB))
    for _ in range(10):
        body = body_of(b"content")
        front.send_file(body)
        body.close()
    assert descriptors() == before + 10
    front.close()
    assert descriptors() == before - 1
    worker.start()
    worker.join()


async def test_a_worker_that_may_open_no_more_mixes_up_no_files() -> None:
    """The file that is missing is that of its own frame, and not of the next one."""
    front, worker = pair()
    bodies = [body_of(b"file %d" % number) for number in range(3)]
    front.send_file(bodies[0])
    with no_more_descriptors():
        worker.start()
        async with asyncio.timeout(10):
            await asyncio.to_thread(worker.wait, 1)
    for body in bodies[1:]:
        front.send_file(body)
    front.close()
    worker.join()
    for body in bodies:
        body.close()
    assert worker.files == [None, b"file 1", b"file 2"]


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Let this process open nothing while the context is open."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_a_closed_body_cannot_be_sent() -> None:
    """Its descriptor may be another file's by now."""
    front, worker = pair()
    body = body_of(b"content")
    body.close()
    with pytest.raises(ValueError, match="closed"):
        front.send_file(body)
    front.close()
    worker.start()
    worker.join()


async def test_large_frames_reach_the_front_as_they_were() -> None:
    """Read in pieces, between small ones, while the loop serves others."""
    received: Frames = []
    ours, its = socket.socketpair()
    done = asyncio.Event()

    def receive(kind: int, payload: bytes) -> None:
        received.append((kind, payload))
        if payload == b"last":
            done.set()

    front, worker = FrontLink(ours, receive, nothing), WorkerLink(its)
    sent = [(1, b"first"), (2, os.urandom(5 * MIB)), (3, b""), (4, os.urandom(MIB)), (5, b"last")]
    for kind, payload in sent:
        worker.send(frame(kind, payload))
    async with asyncio.timeout(10):
        await done.wait()
    front.close()
    its.close()
    assert received == sent


def test_a_worker_sends_large_frames_whatever_the_number_of_its_socket() -> None:
    """A server with many connections has sockets above 1023, and so have its workers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard <= 1500:
        pytest.skip("this machine allows no such descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    ours, its = socket.socketpair()
    high = socket.socket(fileno=fcntl.fcntl(its.fileno(), fcntl.F_DUPFD, 1500))
    its.close()
    content = b"x" * (8 * MIB)
    with ours, high:
        WorkerLink(high).send(frame(7, content))
        size = 0
        while size < len(content):
            size += len(ours.recv(MIB))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
