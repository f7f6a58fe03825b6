"""The two ends of the socket between the front and a worker."""

import asyncio
import contextlib
import logging
import select
import socket
import threading
from array import array
from collections import deque
from collections.abc import Callable, Sequence

from potassium.http.spooled import SpooledBody
from potassium.workers.frames import Splitter, ToWorker, frame

__all__ = ["FrontLink", "WorkerLink"]

logger = logging.getLogger("potassium")

MOST_BUFFERS = 512  # of one system call; the kernel takes 1024 (IOV_MAX)
TURN = 1024 * 1024  # bytes that are read before others get a turn of the loop
DESCRIPTOR = array("i").itemsize  # bytes
CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # Linux


class FileFrame(bytes):
    """A frame that carries the descriptor of a body, which is held open until it is sent."""

    body: SpooledBody
    descriptor: int

    @classmethod
    def of(cls, body: SpooledBody) -> "FileFrame":
        """Return the frame; raises ValueError if the body is closed."""
        made = cls(b"".join(frame(ToWorker.FILE)))
        made.body, made.descriptor = body, body.hold()
        return made


class Outgoing:
    """Bytes that the socket has not taken yet."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffers: deque[bytes | memoryview] = deque()
        self._files = 0  # frames among them that carry a descriptor

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._buffers)

    def send(self, buffers: Sequence[bytes]) -> bool:
        """Send as much as the socket takes now; return whether that is all.

        Raises:
            OSError: the other end is gone.

        """
        self._buffers += buffers
        return self.flush()

    def send_file(self, body: SpooledBody) -> bool:
        """Do the same with a body in a file; raises ValueError if it is closed."""
        self._buffers.append(FileFrame.of(body))
        self._files += 1
        return self.flush()

    def flush(self) -> bool:
        """Do the same with what is left."""
        waiting = self._buffers
        while waiting:
            some = [waiting[at] for at in range(min(len(waiting), MOST_BUFFERS))]
            passed = self._passed_with(some) if self._files else ()
            try:
                sent = self._socket.sendmsg(some, passed, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return False
            if passed:
                self._let_go(waiting[0])
            while waiting and sent >= len(waiting[0]):
                sent -= len(waiting.popleft())
            if sent:
                waiting[0] = memoryview(waiting[0])[sent:]
        return True

    def give_up(self) -> None:
        """Send nothing more."""
        for buffer in self._buffers:
            self._let_go(buffer)
        self._buffers.clear()

    def _passed_with(
        self, some: list[bytes | memoryview]
    ) -> "Sequence[tuple[int, int, array[int]]]":
        """Return what the first of ``some`` carries; keep of them what can be sent with it."""
        first = some[0]
        if isinstance(first, FileFrame):
            del some[1:]
            return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [first.descriptor]))]
        file = next((at for at, one in enumerate(some) if isinstance(one, FileFrame)), len(some))
        del some[file:]
        return ()

    def _let_go(self, buffer: bytes | memoryview) -> None:
        if isinstance(buffer, FileFrame):
            self._files -= 1
            buffer.body.let_go()


class FrontLink:
    """The front's end. Belongs to the event loop.

    Args:
        receive: called with the kind and payload of each frame.
        lost: called once when the other end is gone, after the last frame.

    """

    def __init__(
        self,
        sock: socket.socket,
        receive: Callable[[int, bytes], object],
        lost: Callable[[], object],
    ) -> None:
        sock.settimeout(0)
        self._socket = sock
        self._receive = receive
        self._lost = lost
        self._outgoing = Outgoing(sock)
        self._splitter = Splitter()
        self._loop = asyncio.get_running_loop()
        self._is_closed = self._waits = False
        self._loop.add_reader(sock.fileno(), self._read)

    def send(self, buffers: Sequence[bytes]) -> None:
        """Send a frame, or put it behind those that wait."""
        if self._is_closed:
            return
        try:
            if self._outgoing.send(buffers) or self._waits:
                return
        except OSError:
            return  # reading tells
        self._wait()

    def send_file(self, body: SpooledBody) -> None:
        """Send the descriptor of a body; it is held open until it is sent, or cannot be."""
        if self._is_closed:
            return
        with contextlib.suppress(OSError):  # as above
            if not self._outgoing.send_file(body):
                self._wait()

    def drain(self) -> None:
        """Read all that a worker that is gone has left behind, and close."""
        self._lost = _nothing
        while not self._is_closed and self._read():
            pass
        self.close()

    def close(self) -> None:
        """Close the socket."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._outgoing.give_up()

    def _wait(self) -> None:
        """Go on sending once the socket takes more."""
        if not self._waits:
            self._waits = True
            self._loop.add_writer(self._socket.fileno(), self._write)

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            if not self._outgoing.flush():
                return
        self._waits = False
        if not self._is_closed:
            self._loop.remove_writer(self._socket.fileno())

    def _read(self) -> bool:
        """Read for one turn; return whether there may be more."""
        left = TURN
        while left > 0 and not self._is_closed:
            try:
                size = self._socket.recv_into(self._splitter.room())
            except BlockingIOError:
                return False
            except OSError:
                size = 0
            if not size:
                self.close()
                self._lost()
                return False
            left -= size
            try:
                for kind, payload in self._splitter.frames(size):
                    self._receive(kind, payload)
            except Exception:
                logger.exception("what a worker has sent cannot be read; it is replaced")
                self.close()
                self._lost()
                return False
        return True


class WorkerLink:
    """A worker's end. ``send`` may be called on any thread; ``run`` reads, on a thread of its own.

    What the socket does not take at once is sent by another thread, so that the model never waits
    for the front.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._files: deque[int | None] = deque()  # descriptors that have arrived
        self._outgoing = Outgoing(sock)
        self._lock = threading.Lock()
        self._has_rest = threading.Condition(self._lock)
        self._writable = select.poll()  # not select(), which takes no descriptor above 1023
        self._writable.register(sock, select.POLLOUT)
        threading.Thread(target=self._send_rest, name="potassium-send", daemon=True).start()

    def send(self, buffers: Sequence[bytes]) -> None:
        """Send a frame, or put it behind those that wait."""
        with self._lock:
            waited = bool(self._outgoing)
            with contextlib.suppress(OSError):  # the front is gone: reading tells
                if not self._outgoing.send(buffers) and not waited:
                    self._has_rest.notify_all()

    def run(self, receive: Callable[[int, bytes], object]) -> None:
        """Call ``receive`` with each frame, until the front is gone."""
        splitter = Splitter()
        while True:
            try:
                if splitter.large is None:
                    size = self._read(splitter.room())
                else:
                    size = self._socket.recv_into(splitter.room(), 0, socket.MSG_WAITALL)
            except OSError:
                return
            if not size:
                return
            for kind, payload in splitter.frames(size):
                receive(kind, payload)

    def next_file(self) -> int | None:
        """Return the descriptor that came with a frame; None if this process may open no more.

        The caller has to close it.
        """
        return self._files.popleft()

    def _read(self, room: memoryview) -> int:
        """Read what is there, and keep the descriptor that comes with it, of which there is one."""
        space = socket.CMSG_SPACE(DESCRIPTOR)
        size, ancillary, flags, _ = self._socket.recvmsg_into([room], space, CLOSE_ON_EXEC)
        for _, _, passed in ancillary:
            self._files += array("i", passed)
        if flags & socket.MSG_CTRUNC:
            self._files.append(None)
        return size

    def flush(self) -> None:
        """Wait until everything is sent, or the front is gone."""
        with self._lock, contextlib.suppress(OSError):
            while not self._outgoing.flush():
                self._writable.poll()

    def _send_rest(self) -> None:
        while True:
            with self._lock:
                while not self._outgoing:
                    self._has_rest.wait()
            self._writable.poll()
            with self._lock:
                try:
                    self._outgoing.flush()
                except OSError:
                    return


def _nothing() -> None:
    """Tell nobody."""
