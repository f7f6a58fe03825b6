"""Serves one version of an app after the other, with the model that is loaded."""

import asyncio
import concurrent.futures
import gc
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from potassium.errors import PotassiumError, UsageError
from potassium.handlers.accelerator import free_memory
from potassium.project.files import own_modules
from potassium.project.imports import affected_by, import_anew, sources_of
from potassium.project.module_source import ModuleSource
from potassium.project.target import Target
from potassium.project.traces import user_lines
from potassium.reload.generation import Generation
from potassium.reload.model import LoadedModel, init_of
from potassium.reload.resident_thread import ResidentThread
from potassium.serving.composition import parts_of

if TYPE_CHECKING:
    from potassium.app import Potassium

__all__ = ["Reloader"]

SETTLING = 1.0  # seconds that requests have to arrive in whole before the old code is stopped
LEAVING = 0.5  # seconds that a start has to be called off when the server ends
MOST_NAMES = 3  # that a log line has

T = TypeVar("T")

logger = logging.getLogger("potassium.reload")


class Imported(NamedTuple):
    """A new version of the app, imported but not started.

    Attributes:
        app: the app.
        old: the modules that were imported anew, as they were before, by name.
        changed: the modules that have changed.
        sources: the sources of all modules.

    """

    app: "Potassium"
    old: dict[str, ModuleType]
    changed: list[str]
    sources: dict[str, ModuleSource]


class Reloader:
    """An ASGI app that serves the current version of another one, and knows what a server needs.

    A version is imported beside the one that serves. If that fails, nothing has happened. Otherwise
    requests wait while the old version ends its calls and stops, and the new one starts, with the
    model of the old one unless its ``init`` has changed. At any time, one version at most has the
    model. All of this is done by one task.

    Args:
        target: where the app is.
        app: the app, imported.
        prepare: called with each version before it starts.
        changes: yields when files may have changed.

    """

    def __init__(
        self,
        target: Target,
        app: "Potassium",
        *,
        prepare: Callable[["Potassium"], object] = lambda _: None,
        changes: Callable[[], AsyncIterator[None]],
    ) -> None:
        self._target = target
        self._prepare = prepare
        self._changes = changes
        self._sources = sources_of(own_modules())
        self._model: LoadedModel | None = None
        self._thread = ResidentThread()
        self._open = asyncio.Event()
        self._has_workers = parts_of(app).plan.workers is not None
        self._current = self._next(app)
        self._is_stopping = False
        self._router = Router(lifespan=self._lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._router(scope, receive, send)
            return
        await self._open.wait()
        await self._current.serve(scope, receive, send)

    @property
    def has_failed(self) -> bool:
        """Whether the process must end: a model that could not be loaded is no reason."""
        return self._current.has_started and self._current.runtime.has_failed

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for a result."""
        return self._current.runtime.is_idle

    @property
    def was_cut_off(self) -> bool:
        """Whether the grace period ended with callers still waiting for their calls."""
        return self._current.runtime.was_cut_off

    def drain(self) -> None:
        """Stop admitting calls, and reload no more."""
        self._is_stopping = True
        self._current.runtime.drain()

    def refused(self, error: PotassiumError, scope: Scope) -> None:
        """Count what a connection has answered by itself, without the app."""
        self._current.runtime.refused(error, scope)

    @asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncIterator[None]:
        if self._has_workers:
            logger.info("with --reload, the model is in this process: there are no workers")
        await self._start(self._current)
        watching = asyncio.create_task(self._watch(), name="potassium-reload")
        try:
            yield
        finally:
            watching.cancel()
            try:
                await asyncio.wait({watching}, timeout=LEAVING)
                if self._current.has_started:
                    await self._current.stop()
                else:
                    self._current.abandon()
            finally:
                self._thread.close()

    async def _watch(self) -> None:
        try:
            async for _ in self._changes():
                if self._is_stopping:
                    return
                await self._reload()
        except Exception:
            logger.exception("changes are not noticed any more; restart the server")
            self._open.set()

    async def _reload(self) -> None:
        """Take what has changed, if that can be imported."""
        began = time.monotonic()
        try:
            imported = await _on_daemon(self._import)
            version = None if imported is None else self._next(imported.app)
        except Exception as error:  # noqa: BLE001 - from the user's own modules
            logger.error(  # noqa: TRY400 - with the user's lines only
                "the change could not be imported; the old code goes on serving\n%s",
                user_lines(error),
            )
            return
        if imported is not None and version is not None:
            await self._take(version, imported, began)

    def _import(self) -> Imported | None:
        """Import what has changed, and what depends on it; return None if nothing has.

        Raises:
            Exception: whatever a module raised; what was imported before is still there.

        """
        before, sources = self._sources, sources_of(own_modules())
        names = before.keys() | sources.keys()
        changed = sorted(name for name in names if _text(before, name) != _text(sources, name))
        if not changed and self._model is not None:
            return None
        names = affected_by({*changed, self._target.module}, sources)
        try:
            app, old = import_anew(self._target, names, check=_check)
        except Exception:
            raise
        except BaseException as error:
            raise UsageError(f"{self._target.module} ended with {error!r}.") from error
        # A file that was saved meanwhile has changed since: what was read before is what counts.
        return Imported(app, old, changed, {**sources_of(own_modules()), **sources})

    async def _take(self, version: Generation, imported: Imported, began: float) -> None:
        """Let a new version take the place of the current one."""
        app, old, changed, self._sources = imported
        reached = init_of(app, self._sources)
        why = None if self._model is None else self._model.reached.differences(reached)
        self._open.clear()
        await self._end_current()
        self._current = version
        if self._model is not None and not why:
            self._model.give(app, old)
        else:
            logger.info("init runs again: %s", _reason(why))
            self._model = None
        old.clear()
        if self._model is None:  # by now, nothing of ours refers to the old one
            gc.unfreeze()  # the first version was frozen by the server
            free_memory()
        if await self._start(version):
            logger.info(
                "reloaded %s in %.2f s%s",
                _listed(changed) or self._target.module,
                time.monotonic() - began,
                "" if why or why is None else "; the model stays loaded",
            )

    async def _end_current(self) -> None:
        """Let the calls of the current version end, and stop it."""
        services = self._current.runtime.services
        if services is not None and (waiting := len(services.engine.calls)):
            logger.info("waiting for the calls of the old code to end: %d", waiting)
        await self._current.settle(SETTLING)
        await self._current.stop()

    def _next(self, app: "Potassium") -> Generation:
        plan = parts_of(app).plan
        plan.host = self._thread.run
        plan.workers = None  # the model stays on the thread above
        plan.startup.is_one_of_many = True
        self._prepare(app)
        return Generation(app)

    async def _start(self, generation: Generation) -> bool:
        """Start a version; return whether it is ready. If not, say why, and wait for the next."""
        ready = await generation.begin()
        self._open.set()
        try:
            await asyncio.shield(ready)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - from init
            logger.error(  # noqa: TRY400 - with the user's lines only
                "the app could not start; calls are answered 503 until a change is saved\n%s",
                user_lines(error),
            )
            return False
        self._note_loaded(generation.app)
        return True

    def _note_loaded(self, app: "Potassium") -> None:
        """Note what is loaded, with the modules that only init has imported."""
        with suppress(SyntaxError, OSError):  # a file was broken meanwhile: its change is to come
            self._sources = {**sources_of(own_modules()), **self._sources}
            self._model = LoadedModel.of(app, init_of(app, self._sources))


def _text(sources: Mapping[str, ModuleSource], name: str) -> bytes | None:
    return sources[name].text if name in sources else None


def _check(app: "Potassium") -> None:
    parts_of(app).check_served()


def _reason(changed: list[str] | None) -> str:
    if changed is None:
        return "there is no model so far"
    return f"{_listed(changed)} {'has' if len(changed) == 1 else 'have'} changed"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (" and others" if names[MOST_NAMES:] else "")


async def _on_daemon(function: Callable[[], T]) -> T:
    """Run ``function`` on a thread that the process does not wait for when it ends."""
    done: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            done.set_result(function())
        except BaseException as error:  # noqa: BLE001 - for whoever waits
            with suppress(concurrent.futures.InvalidStateError):
                done.set_exception(error)

    threading.Thread(target=run, name="potassium-import", daemon=True).start()
    return await asyncio.wrap_future(done)
