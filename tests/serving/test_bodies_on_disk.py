"""Bodies that are too large for memory: where they go, and that nothing of them is left."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.asgi import scope
from support.bodies import nothing_is_left, open_bodies, rooms_of, sent_in_parts

from potassium import Jobs, Limits, Potassium, Request
from potassium.errors import BodyTimeout
from potassium.http.spooled import IN_MEMORY, SpooledBody
from potassium.serving import arrival
from potassium.serving.bodies import Bodies
from potassium.testing import client

LARGE = IN_MEMORY + 1000  # bytes
HUGE = 3 * IN_MEMORY
JSON = {"Content-Type": "application/json"}
BACKGROUND = {"Prefer": "respond-async"}


def app_with(**limits: Any) -> Potassium:
    app = Potassium("test", limits=Limits(**limits), jobs=Jobs(path=None))

    @app.handler("/request", body_size=HUGE)
    def whole(cache: dict[str, Any], request: Request) -> Any:
        message = request._message
        with request.open() as reader:
            read = reader.read()
        assert read == request.body
        return [type(message.content).__name__, len(read), sum(read[::1000])]

    @app.handler("/bytes", body_size=HUGE)
    def raw(cache: dict[str, Any], body: bytes) -> Any:
        return len(body)

    @app.handler("/json", body_size=HUGE)
    def parsed(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        return len(json_in["a"])

    @app.handler("/default")
    def default(cache: dict[str, Any], body: bytes) -> Any:
        return len(body)

    @app.handler("/fails", body_size=HUGE)
    def fails(cache: dict[str, Any], request: Request) -> Any:
        raise ValueError

    return app


@pytest.fixture
async def app() -> AsyncIterator[Potassium]:
    app = app_with()
    yield app
    await nothing_is_left(app)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("headers", [{}, BACKGROUND])
async def test_a_handler_may_take_larger_bodies_than_others(headers: dict[str, str]) -> None:
    """Or smaller ones; this holds for calls and for background jobs."""
    app = Potassium("test", limits=Limits(body_size=1000), jobs=Jobs(path=None))

    @app.handler("/more", body_size=2000)
    def more(cache: dict[str, Any], body: bytes) -> int:
        return len(body)

    @app.handler("/less", body_size=500)
    def less(cache: dict[str, Any], body: bytes) -> int:
        return len(body)

    @app.handler("/as-others")
    def as_others(cache: dict[str, Any], body: bytes) -> int:
        return len(body)

    async with client(app) as http:
        for path, size in {"/more": 2000, "/less": 500, "/as-others": 1000}.items():
            assert (await http.post(path, content=bytes(size), headers=headers)).is_success
            for content in (bytes(size + 1), sent_in_parts(bytes(size + 1))):
                answer = await http.post(path, content=content, headers=headers)
                assert code(answer) == (413, "body_too_large")
                assert str(size) in answer.json()["detail"]


async def test_a_body_over_the_limit_of_its_handler_is_refused_unread(app: Potassium) -> None:
    """Its announced length is enough."""
    received = 0

    async def receive() -> Any:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": b"a", "more_body": True}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async with app.lifespan():
        for length in (str(HUGE + 1), "9" * 5000):  # the second is too long for int()
            await app(scope("/request", content_length=length), receive, send)
            assert (sent.pop(0)["status"], received) == (413, 0)
            sent.clear()


@pytest.mark.parametrize("in_parts", [False, True])
async def test_a_body_that_no_handler_needs_in_memory_goes_to_disk(
    app: Potassium, *, in_parts: bool
) -> None:
    """From a size on; a smaller one stays in memory."""
    async with client(app) as http:
        for size, kind in ((IN_MEMORY, "bytes"), (LARGE, "SpooledBody"), (HUGE, "SpooledBody")):
            body = os.urandom(size)
            content: Any = sent_in_parts(body) if in_parts else body
            answer = await http.post("/request", content=content)
            assert answer.json() == [kind, size, sum(body[::1000])]


async def test_a_body_that_is_needed_in_memory_arrives_on_disk_beyond_the_general_limit() -> None:
    """And is read as a whole once it is there."""
    app = app_with(body_size=10_000)
    sizes = []
    original = SpooledBody.read

    def read(body: SpooledBody) -> bytes:
        sizes.append((body.size, threading.current_thread().name))
        return original(body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SpooledBody, "read", read)
        async with client(app) as http:
            for size in (9_000, HUGE):
                answer = await http.post("/bytes", content=sent_in_parts(bytes(size)))
                assert answer.json() == size
            text = b'{"a":"' + b"a" * LARGE + b'"}'
            answer = await http.post("/json", content=sent_in_parts(text), headers=JSON)
            assert answer.json() == LARGE
            await nothing_is_left(app)
    assert sizes == [(HUGE, "potassium-intake_0"), (len(text), "potassium-intake_0")]


async def test_a_body_that_is_read_into_memory_counts_there() -> None:
    """Beside those of others; one that is alone may be larger."""
    app = app_with(body_size=10_000, body_memory=LARGE)
    (memory, _) = rooms_of(app)
    async with client(app) as http:
        assert (await http.post("/bytes", content=sent_in_parts(bytes(HUGE)))).json() == HUGE
        memory.hold(1)
        answer = await http.post("/bytes", content=sent_in_parts(bytes(HUGE)))
        assert code(answer) == (503, "overloaded")
        assert memory.let_go(1) == memory.held == 0


async def test_a_body_that_is_in_memory_leaves_the_disk_before_the_handler_runs() -> None:
    """Others need the room there."""
    app = Potassium("test", limits=Limits(body_size=10_000))
    (_, disk) = rooms_of(app)

    @app.handler("/", body_size=HUGE)
    async def handler(cache: dict[str, Any], body: bytes) -> int:
        async with asyncio.timeout(10):
            while disk.held:  # noqa: ASYNC110 - a thread closes the file
                await asyncio.sleep(0.001)
        return len(body)

    async with client(app) as http:
        assert (await http.post("/", content=bytes(HUGE))).json() == HUGE


@pytest.mark.parametrize("path", ["/request", "/fails", "/bytes", "/json", "/nowhere"])
@pytest.mark.parametrize("headers", [JSON, {**JSON, **BACKGROUND}])
async def test_nothing_is_left_once_the_call_is_over(
    app: Potassium, path: str, headers: dict[str, str]
) -> None:
    """Whether it succeeds, fails, is refused or runs in the background."""
    async with client(app) as http:
        for size in (LARGE, HUGE, HUGE + 1):
            await http.post(path, content=sent_in_parts(bytes(size)), headers=headers)
            if headers == JSON:
                await nothing_is_left(app)


async def leave(task: asyncio.Task[None], parts: asyncio.Queue[Any]) -> None:
    parts.put_nowait({"type": "http.disconnect"})


async def cancel(task: asyncio.Task[None], parts: asyncio.Queue[Any]) -> None:
    task.cancel()


async def send_too_much(task: asyncio.Task[None], parts: asyncio.Queue[Any]) -> None:
    parts.put_nowait({"type": "http.request", "body": bytes(HUGE), "more_body": True})


async def wait(task: asyncio.Task[None], parts: asyncio.Queue[Any]) -> None:
    """Fall silent, until the time is over."""


@pytest.mark.parametrize("end", [leave, cancel, send_too_much, wait])
async def test_nothing_is_left_of_a_body_that_does_not_end(end: Callable[..., Any]) -> None:
    """It is on disk by then, and counts there alone."""
    app = app_with(body_timeout=0.1 if end is wait else 30)
    (memory, _) = rooms_of(app)
    parts: asyncio.Queue[Any] = asyncio.Queue()
    parts.put_nowait({"type": "http.request", "body": bytes(LARGE), "more_body": True})

    async def send(message: Any) -> None: ...

    async with app.lifespan():
        task = asyncio.ensure_future(app(scope("/request"), parts.get, send))
        async with asyncio.timeout(10):
            while memory.held or not open_bodies():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
            await end(task, parts)
            await asyncio.wait({task})
        await nothing_is_left(app)


@pytest.mark.parametrize("end", [leave, cancel])
async def test_nothing_is_left_of_a_body_whose_client_leaves_while_it_is_read_into_memory(
    end: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is open until the thread is done."""
    app = app_with(body_size=10_000)
    begun, go = threading.Event(), threading.Event()
    read = SpooledBody.read

    def slow(body: SpooledBody) -> bytes:
        begun.set()
        assert go.wait(10)
        return read(body)

    monkeypatch.setattr(SpooledBody, "read", slow)
    parts: asyncio.Queue[Any] = asyncio.Queue()
    parts.put_nowait({"type": "http.request", "body": bytes(LARGE)})

    async def send(message: Any) -> None: ...

    async with app.lifespan():
        task = asyncio.ensure_future(app(scope("/bytes"), parts.get, send))
        assert await asyncio.to_thread(begun.wait, 10)
        await end(task, parts)
        await asyncio.wait({task})
        go.set()
        await nothing_is_left(app)


async def test_a_cancelled_request_does_not_close_what_a_thread_writes(
    app: Potassium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is closed once the thread is done."""
    begun, go = threading.Event(), threading.Event()
    write, written = SpooledBody.write, []

    def slow(body: SpooledBody, data: bytes) -> None:
        begun.set()
        assert go.wait(10)
        write(body, data)
        written.append(len(data))

    monkeypatch.setattr(SpooledBody, "write", slow)

    async def receive() -> Any:
        return {"type": "http.request", "body": bytes(LARGE), "more_body": True}

    async def send(message: Any) -> None: ...

    async with app.lifespan():
        task = asyncio.ensure_future(app(scope("/request"), receive, send))
        assert await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        await asyncio.wait({task})
        assert open_bodies()
        go.set()
        await nothing_is_left(app)
    assert LARGE in written


async def test_bodies_on_disk_have_room_of_their_own() -> None:
    """It is not that in memory; the first body that does not fit is refused."""
    app = app_with(body_memory=IN_MEMORY + 500_000, body_disk=HUGE)
    (_, disk) = rooms_of(app)
    async with client(app) as http:
        disk.hold(HUGE - LARGE)
        assert (await http.post("/request", content=bytes(LARGE))).status_code == 200
        async with asyncio.timeout(10):
            while disk.held > HUGE - LARGE:  # noqa: ASYNC110 - a thread closes the file
                await asyncio.sleep(0.001)
        disk.hold(1)
        for content in (bytes(LARGE), sent_in_parts(bytes(LARGE))):
            answer = await http.post("/request", content=content)
            assert code(answer) == (503, "overloaded")
            assert answer.headers["Retry-After"] == "1"
        disk.let_go(disk.held)
        assert (await http.post("/request", content=bytes(HUGE))).status_code == 200
    await nothing_is_left(app)


async def test_a_body_alone_on_the_disk_may_be_larger() -> None:
    """As it may in memory."""
    app = app_with(body_disk=LARGE)
    async with client(app) as http:
        for content in (bytes(HUGE), sent_in_parts(bytes(HUGE))):
            assert (await http.post("/request", content=content)).status_code == 200
            await nothing_is_left(app)


async def test_a_full_disk_refuses_large_bodies_alone(
    app: Potassium, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log tells once, and the server goes on; once there is room again, so do they."""

    def full(body: SpooledBody, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with client(app) as http:
        with monkeypatch.context() as context:
            context.setattr(SpooledBody, "write", full)
            for _ in range(20):
                answer = await http.post("/request", content=sent_in_parts(bytes(LARGE)))
                assert code(answer) == (503, "disk_failed")
                assert (await http.post("/request", content=b"small")).status_code == 200
        (record,) = caplog.records
        assert "No space left" in record.getMessage()
        assert (await http.post("/request", content=bytes(LARGE))).status_code == 200


async def test_a_missing_folder_is_a_disk_that_fails(
    app: Potassium, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """TMPDIR may be wrong."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    async with client(app) as http:
        answer = await http.post("/request", content=bytes(LARGE))
        assert code(answer) == (503, "disk_failed")


PIECE = 10_000  # bytes


@pytest.fixture
def _small_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "STRIDE", PIECE)


class SlowSender:
    """Sends ten pieces, each 20 s after the one before, by the clock of ``bodies``."""

    def __init__(self, bodies: Bodies, size: int) -> None:
        self._clock = bodies._clock
        self._size = size
        self._left = 10

    async def receive(self) -> dict[str, Any]:
        task = asyncio.current_task()
        assert task is not None
        self._clock._under_way[task] -= 20
        self._clock._look(asyncio.get_running_loop())
        await asyncio.sleep(0)
        self._left -= 1
        return {"type": "http.request", "body": bytes(self._size), "more_body": self._left > 0}


@pytest.mark.usefixtures("_small_strides")
@pytest.mark.parametrize(("size", "is_accepted"), [(PIECE, True), (PIECE // 10, False)])
async def test_a_body_may_take_long_if_it_arrives_steadily(size: int, *, is_accepted: bool) -> None:
    """The time limit is for each part of it, not for gigabytes over a slow line."""
    bodies = Bodies(Limits(body_timeout=30))
    sender = SlowSender(bodies, size)
    reading = bodies.read(scope(), sender.receive, bodies.rule(None, spools=False))
    if is_accepted:
        received = await reading
        assert received is not None
        assert len(received[1]) == 10 * size  # type: ignore[arg-type] # bytes
    else:
        with pytest.raises(BodyTimeout):
            await reading


async def test_a_slow_disk_is_not_the_clients_fault(
    app: Potassium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that the server takes to write does not count."""
    clock, loop = app._parts._plan.bodies._clock, asyncio.get_running_loop()
    write = SpooledBody.write

    def slow(body: SpooledBody, data: bytes) -> None:
        looked = threading.Event()

        def look_later() -> None:
            for task in clock._under_way:
                clock._under_way[task] -= 100
            clock._look(loop)
            looked.set()

        loop.call_soon_threadsafe(look_later)
        assert looked.wait(10)
        write(body, data)

    monkeypatch.setattr(SpooledBody, "write", slow)
    async with client(app) as http:
        answer = await http.post("/request", content=sent_in_parts(bytes(LARGE), size=300_000))
        assert answer.status_code == 200
