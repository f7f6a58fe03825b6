"""One device, and whichever worker serves it."""

import asyncio
import enum
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from potassium.errors import UsageError, WorkerFailed
from potassium.workers.death import EndKind, WorkerDeaths, WorkerEnd, hung, unusable
from potassium.workers.frames import ToWorker
from potassium.workers.history import History
from potassium.workers.process import Start, WorkerProcess
from potassium.workers.remote import Keeper, RemoteWorker
from potassium.workers.restarts import Restarts, given_up_line, restart_line

__all__ = ["Crew", "Post", "PostState", "Spawn"]

Spawn = Callable[[Start, Callable[[int], object]], WorkerProcess]

LINGERS = 1.0  # seconds for which a process may outlive its end of the socket

logger = logging.getLogger("potassium")


class PostState(enum.Enum):
    """The state of a device.

    ::

        WAITING ──► LOADING ──► READY
           ▲           │          │
           │           ▼          │
           └─────── PAUSED ◄──────┘        and from each state to STOPPED
                       │
                       └──► GIVEN_UP

    Attributes:
        WAITING: until fewer others load, see ``Workers.load_at_once``.
        LOADING: a worker imports the app and runs ``init``.
        READY: a worker serves.
        PAUSED: the last worker has ended, and the next one is not started yet.
        GIVEN_UP: too many workers have ended in a row; there will be no other.
        STOPPED: the app stops.

    """

    WAITING = "waiting"
    LOADING = "loading"
    READY = "ready"
    PAUSED = "paused"
    GIVEN_UP = "given_up"
    STOPPED = "stopped"


class Crew(Protocol):
    """What a post belongs to."""

    def new_worker(self, process: WorkerProcess, keeper: Keeper) -> RemoteWorker:
        """Return the front's view of a process that ``keeper`` has started."""

    async def brought_up(self, worker: RemoteWorker) -> Exception | None:
        """Run in a new worker what the others have run; return what it fails with."""

    def joined(self, post: "Post") -> None:
        """Note that a worker serves."""

    def left(self, worker: RemoteWorker) -> bool:
        """Settle or put back what a worker had; return whether its calls explain its death."""

    def gave_up(self, post: "Post") -> None:
        """Note that a device gets no further worker."""


class Post:
    """Keeps a worker on one device: when one ends, another one takes its place.

    All transitions are made by the one task that ``begin`` starts, except that to STOPPED. Belongs
    to the event loop.

    Args:
        name: the device's name in log lines, which may be that of several posts.
        start: how a worker is started.
        crew: what it belongs to.
        loading: held while a worker loads.
        load_timeout: maximum seconds for that; None for any time.
        restarts: decides when the next worker is started.
        deaths: describes why a worker has ended.
        spawn: starts a process.

    Attributes:
        state: the state of the device.
        worker: the front's view of the process; None if there is none.
        first: why the first worker did not load the model; None if it did.
        history: what its workers have done, and how they have ended.
        about: what the worker has told of itself.

    """

    def __init__(  # noqa: PLR0913 - what differs between apps and tests
        self,
        name: str,
        start: Start,
        crew: Crew,
        *,
        loading: asyncio.Semaphore,
        load_timeout: float | None,
        restarts: Restarts,
        deaths: WorkerDeaths,
        spawn: Spawn = WorkerProcess,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.start = start
        self.state = PostState.WAITING
        self.worker: RemoteWorker | None = None
        self.first: asyncio.Future[BaseException | None] = (
            asyncio.get_running_loop().create_future()
        )
        self.history = History()
        self.about: dict[str, Any] = {}
        self._crew = crew
        self._loading = loading
        self._load_timeout = load_timeout
        self._restarts = restarts
        self._deaths = deaths
        self._spawn = spawn
        self._clock = clock
        self._loaded: asyncio.Future[BaseException | None] | None = None
        self._ended: asyncio.Future[bool] | None = None  # whether the death is explained
        self._reason: WorkerEnd | None = None  # why it is about to end, if that is known
        self._task: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether a worker serves."""
        return self.state is PostState.READY

    @property
    def may_serve_again(self) -> bool:
        """Whether a worker serves, or will."""
        return self.state not in (PostState.GIVEN_UP, PostState.STOPPED)

    def begin(self) -> None:
        """Start the first worker."""
        self._task = asyncio.create_task(self._keep(), name=f"potassium-worker-{self.name}")

    def loaded(self, about: dict[str, Any]) -> None:
        """Note that the worker has loaded the model."""
        self.about = about
        there = tuple(about["handlers"])
        _set(self._loaded, None if there == self.start.handlers else _other_handlers(there))

    def not_loaded(self, error: BaseException) -> None:
        """Note that the app could not be imported in the worker, or that ``init`` has raised."""
        _set(self._loaded, error)

    def unusable(self, error: BaseException) -> None:
        """Note that the worker has lost its accelerator, and is about to end."""
        self._reason = unusable(error)

    def hangs(self, handler: str, seconds: float) -> None:
        """End the worker, because a handler does not return."""
        self._reason = hung(handler, seconds)
        self.kill()

    def kill(self) -> None:
        """End the worker at once."""
        if self.worker is not None:
            self.worker.process.kill()

    def stop(self) -> None:
        """Start no more workers, and let this one end once it has run what it was given."""
        was_ready = self.is_ready
        self.state = PostState.STOPPED
        if self.worker is None:
            if self._task is not None:
                self._task.cancel()
        elif was_ready:
            self.worker.send(ToWorker.STOP)
        else:
            self.kill()

    async def over(self) -> None:
        """Wait until there is no worker, after ``stop``."""
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.wait({self._task})

    async def _keep(self) -> None:
        while True:
            failure = await self._serve()
            if self.state is PostState.STOPPED:
                _set(self.first, failure)
                return
            if not self.first.done():
                self.state = PostState.GIVEN_UP  # the app does not start
                died = WorkerFailed(f"The worker of {self.name} {self.history.what_happened}.")
                self.first.set_result(failure or died)
                return
            explained = self._ended is not None and self._ended.done() and self._ended.result()
            what = self.history.count()
            pause = self._restarts.failed(is_explained=explained)
            if pause is None:
                self.state = PostState.GIVEN_UP
                logger.critical(given_up_line(self.name, what, self._restarts.failures))
                self._crew.gave_up(self)
                return
            self.state = PostState.PAUSED
            logger.error(restart_line(self.name, what, pause), extra={"worker": self.name})
            await asyncio.sleep(pause)
            self.state = PostState.WAITING

    async def _serve(self) -> BaseException | None:
        """Start a worker, and wait for its end; return why it did not load, or None if it did."""
        loop = asyncio.get_running_loop()
        self._reason = None
        async with self._loading:
            self.state = PostState.LOADING
            began = self._clock()
            self._loaded, self._ended = loop.create_future(), loop.create_future()
            try:
                process = self._spawn(self.start, self._note_end)
            except OSError as error:
                what = f"could not be started: {error}"
                self.history.last_end = WorkerEnd(EndKind.NOT_LOADED, what)
                self._ended = None
                return error
            self.worker = self._crew.new_worker(process, self)
            failure = await self._outcome(self._loaded)
            if failure is None and self.worker is not None:
                failure = await self._crew.brought_up(self.worker)
                if failure is not None:
                    what = f"could not run what was broadcast: {failure}"
                    self._reason = WorkerEnd(EndKind.NOT_LOADED, what)
                    self.kill()
        if failure is not None:
            loop.call_later(LINGERS, self._kill_lingering, self.worker)
        elif self.state is PostState.LOADING:
            self.state = PostState.READY
            self.history.load_seconds = self._clock() - began
            self._restarts.ready()
            self._crew.joined(self)
            _set(self.first, None)
        await self._ended
        return failure

    async def _outcome(
        self, loaded: "asyncio.Future[BaseException | None]"
    ) -> BaseException | None:
        """Wait until the model is loaded; return why it is not."""
        try:
            async with asyncio.timeout(self._load_timeout):
                failure = await loaded
        except TimeoutError:
            what = f"took longer than {self._load_timeout:g} s to load, and was killed"
            self._reason = WorkerEnd(EndKind.NOT_LOADED, what)
            self.kill()
            return WorkerFailed(f"init took longer than {self._load_timeout:g} s.")
        if failure is not None and not isinstance(failure, WorkerFailed):
            self._reason = WorkerEnd(EndKind.NOT_LOADED, "could not load the model")
            if self.first.done():
                logger.error("init has failed in the worker of %s", self.name, exc_info=failure)
        return failure

    def note_eof(self) -> None:
        """End the process, which has closed its socket, unless it ends by itself."""
        asyncio.get_running_loop().call_later(LINGERS, self._kill_lingering, self.worker)

    def _kill_lingering(self, worker: RemoteWorker | None) -> None:
        if self.worker is worker:
            self.kill()

    def _note_end(self, status: int) -> None:
        """Settle what the worker had, now that its process has ended."""
        worker = self.worker
        assert worker is not None  # noqa: S101 - it was started
        worker.hear_out()  # it may have told why
        self.worker = None
        if self.state is not PostState.STOPPED:
            self.state = PostState.PAUSED
        was_killed = worker.process.was_killed
        end = self._reason or self._deaths.describe(status, sent_by_us=was_killed)
        self.history.note(end, worker, self._clock())
        _set(self._loaded, WorkerFailed(f"The worker of {self.name} {end.what}."))
        _set(self._ended, self._crew.left(worker))


def _other_handlers(there: Sequence[str]) -> UsageError:
    return UsageError(
        f"The app has other handlers in its workers than here: {', '.join(there) or 'none'}. "
        "Decorate the same ones wherever its module is imported."
    )


def _set(future: "asyncio.Future[Any] | None", result: Any) -> None:
    if future is not None and not future.done():
        future.set_result(result)
