"""A folder with an app, which is served while it changes."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx

from potassium import Potassium
from potassium.project.files import own_modules
from potassium.project.target import Target
from potassium.reload.reloader import Reloader


@contextmanager
def imports_of(folder: Path) -> Iterator[None]:
    """Forget the modules of a folder when the context exits; all others stay imported."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name, (_, file) in own_modules().items():
        if file.is_relative_to(folder):
            del sys.modules[name]


class Workshop:
    """Files of an app, and a server that learns of their changes when it is told to.

    Attributes:
        reloader: the app to call.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reloader: Reloader
        self._saves: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    def write(self, **files: str) -> None:
        """Write modules, by their paths without the ending."""
        for name, text in files.items():
            path = self.folder / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    async def save(self, **files: str) -> None:
        """Write modules, and wait until the server has taken the change or has refused it."""
        await self.begin_save(**files).wait()

    def begin_save(self, **files: str) -> asyncio.Event:
        """Write modules; return what is set once the server is done with the change."""
        self.write(**files)
        done = asyncio.Event()
        self._saves.put_nowait(done)
        return done

    async def changes(self) -> AsyncIterator[None]:
        while True:
            done = await self._saves.get()
            yield
            done.set()

    @asynccontextmanager
    async def serving(
        self, target: str = "app.py", prepare: Callable[[Potassium], object] = lambda _: None
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Import and serve the app; yield a client."""
        found = Target.of(target, self.folder)
        self.reloader = Reloader(found, found.load(), prepare=prepare, changes=self.changes)
        transport = httpx.ASGITransport(self.reloader)
        async with (
            self.reloader._lifespan(None),
            httpx.AsyncClient(transport=transport, base_url="http://app") as http,
        ):
            yield http

    async def call(self, http: httpx.AsyncClient, path: str = "/", **value: Any) -> Any:
        """Return what a handler returns."""
        answer = await http.post(path, json=value)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def module(self, name: str) -> Any:
        """Return a module of the app as it is imported now."""
        return sys.modules[name]
