"""Files and forms over HTTP: in calls, batches, steps and background jobs."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pydantic
import pytest
import torch
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.routing import Mount
from support.asgi import Exchange

from potassium import Batch, File, FromFile, Jobs, Limits, Potassium, Request
from potassium.http.content_hash import content_hash
from potassium.testing import client

PNG = b"\x89PNG\r\n\x1a\n"
PICTURE = b'"iVBORw0KGgo="'  # the same, in JSON
NEVER = {"Prefer": "wait=0.05"}


class Bench:
    """An app that decodes files, and tells on which threads."""

    def __init__(self, **options: Any) -> None:
        self.app = Potassium("test", **options)
        self.threads: list[str] = []
        self.calls = 0
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()
        picture = Annotated[int, FromFile(self._decode, ("image/png",))]

        class Item(pydantic.BaseModel):
            image: picture
            label: File | None = None
            top: int = 3

        def handler(cache: Any, item: Any) -> Any:
            label = item.label and (item.label.name, item.label.read().decode())
            return [item.image, item.top, label]

        def batched(cache: Any, items: Any) -> Any:
            return [item.image for item in items]

        def prepare(item: Any) -> Any:
            return item.image + 1

        def prepared(cache: Any, size: int) -> int:
            return size

        def bare(cache: Any, image: Any) -> Any:
            self.calls += 1
            return image

        async def upload(cache: Any, file: UploadFile) -> Any:
            return [file.filename, (await file.read()).decode("latin-1")]

        def dictionary(cache: Any, json_in: dict[str, Any]) -> Any:
            return json_in

        handler.__annotations__["item"] = prepare.__annotations__["item"] = Item
        batched.__annotations__["items"] = list[Item]
        bare.__annotations__["image"] = picture
        self.app.handler(handler)
        self.app.handler("/batched", batch=Batch(max_size=4))(batched)
        self.app.handler("/prepared", prepare=prepare)(prepared)
        self.app.handler("/bare")(bare)
        self.app.handler("/upload")(upload)
        self.app.handler("/dict")(dictionary)

    def _decode(self, file: File) -> int:
        self.threads.append(threading.current_thread().name.partition("_")[0])
        self.begun.release()
        assert self.go.wait(10)
        if file.read(8) != PNG:
            raise ValueError("it is not a PNG picture")
        return file.size

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=10)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.go.set()


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_form_of_files_and_fields_is_one_call(bench: Bench) -> None:
    """Each file with its name; what can be decoded is, off the event loop and the GPU thread."""
    async with client(bench.app) as http:
        answer = await http.post(
            "/",
            data={"top": "5"},
            files={"image": ("cat.png", PNG), "label": ("été 猫.txt", "ü".encode())},
        )
    assert answer.json() == [8, 5, ["été 猫.txt", "ü"]]
    assert bench.threads == ["potassium-files"]


async def test_a_model_with_files_may_come_as_json(bench: Bench) -> None:
    """Its files as base64 or data URLs."""
    async with client(bench.app) as http:
        for image in ("iVBORw0KGgo=", "data:image/png;base64,iVBORw0KGgo="):
            answer = await http.post("/", json={"image": image, "label": "data:,hi", "top": 1})
            assert answer.json() == [8, 1, ["", "hi"]]
    assert set(bench.threads) == {"potassium-files"}


async def test_a_picture_may_be_the_whole_body(bench: Bench) -> None:
    """With its own content type, in a form, or as a JSON string."""
    async with client(bench.app) as http:
        for options in (
            {"content": PNG, "headers": {"Content-Type": "image/png"}},
            {"files": {"x": ("a.png", PNG)}},
            {"json": "iVBORw0KGgo="},
        ):
            assert (await http.post("/bare", **options)).json() == 8
        answer = await http.post("/bare", content=PNG, headers={"Content-Type": "text/html"})
        assert code(answer) == (415, "unsupported_media_type")
        assert "image/png" in answer.headers["accept"]
    assert bench.threads == ["potassium-files"] * 3


async def test_an_upload_file_is_read_by_an_async_handler(bench: Bench) -> None:
    """As in Starlette and FastAPI."""
    async with client(bench.app) as http:
        answer = await http.post("/upload", files={"file": ("a.txt", b"hi")})
    assert answer.json() == ["a.txt", "hi"]


@pytest.mark.parametrize(("path", "result"), [("/batched", 8), ("/prepared", 9)])
async def test_batches_and_steps_take_files(bench: Bench, path: str, result: int) -> None:
    """What is decoded is on the pool's threads, as anywhere."""
    async with client(bench.app) as http:
        calls = [http.post(path, files={"image": ("a.png", PNG)}) for _ in range(3)]
        assert [answer.json() for answer in await asyncio.gather(*calls)] == [result] * 3
    assert set(bench.threads) == {"potassium-files"}


async def test_what_cannot_be_decoded_is_told_why(bench: Bench) -> None:
    """The fault has the decoder's reason, and where it is."""
    async with client(bench.app) as http:
        answer = await http.post("/", files={"image": ("cat.png", b"GIF89a")})
        assert code(answer) == (422, "invalid_input")
        assert answer.json()["errors"] == [
            {
                "loc": ["image"],
                "msg": "The file cannot be read: it is not a PNG picture",
                "type": "file_content",
            }
        ]
        answer = await http.post("/", files={"label": ("a", b"a")})
        assert [fault["loc"] for fault in answer.json()["errors"]] == [["image"]]


async def test_a_malformed_form_is_400(bench: Bench) -> None:
    """With the reason."""
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    async with client(bench.app) as http:
        answer = await http.post("/", content=b"--x\r\nContent-", headers=headers)
        assert code(answer) == (400, "malformed_form")
        assert "cut off" in answer.json()["detail"]
        answer = await http.post("/dict", content=b"--x--", headers=headers)
        assert code(answer) == (415, "unsupported_media_type")
        assert "takes no forms" in answer.json()["detail"]


async def test_the_loop_goes_on_while_a_file_is_decoded(bench: Bench) -> None:
    """Other calls are served, and other files decoded, meanwhile."""
    bench.go.clear()
    async with client(bench.app) as http:
        calls = [
            asyncio.create_task(http.post("/", files={"image": ("a.png", PNG)})) for _ in range(2)
        ]
        await bench.has_begun()
        await bench.has_begun()
        assert (await http.post("/dict", json={"a": 1})).json() == {"a": 1}
        bench.go.set()
        assert [answer.status_code for answer in await asyncio.gather(*calls)] == [200, 200]


async def test_a_deadline_ends_the_wait_for_a_decoder(bench: Bench) -> None:
    """It is 504, as in the queue."""
    bench.go.clear()
    async with client(bench.app) as http:
        answer = await http.post("/", files={"image": ("a.png", PNG)}, headers=NEVER)
        assert code(answer) == (504, "deadline_exceeded")
        bench.go.set()


async def test_a_client_that_leaves_ends_the_wait_for_a_decoder(bench: Bench) -> None:
    """Its call does not run."""
    bench.go.clear()
    async with bench.app.lifespan():
        call = Exchange(bench.app, PICTURE, path="/bare")
        await bench.has_begun()
        call.leave()
        async with asyncio.timeout(10):
            await call.task
        bench.go.set()
        assert (await Exchange(bench.app, PICTURE, path="/bare").next())["status"] == 200
        assert (len(bench.threads), bench.calls) == (2, 1)


@pytest.mark.parametrize("path", [None, "jobs.db"])
async def test_a_background_job_has_the_files_that_were_sent(
    path: str | None, tmp_path: Any
) -> None:
    """Whether jobs are kept in memory or in a file."""
    bench = Bench(jobs=Jobs(path=path and str(tmp_path / path)))
    files = {"image": ("cat.png", PNG), "label": ("a.txt", b"hi")}
    async with client(bench.app) as http:
        headers = {"Prefer": "respond-async, wait=10"}
        answer = await http.post("/", data={"top": "7"}, files=files, headers=headers)
        assert answer.json() == [8, 7, ["a.txt", "hi"]]
        answer = await http.post("/", files={"image": ("a", b"GIF")}, headers=headers)
        assert code(answer) == (422, "invalid_input")
    assert set(bench.threads) == {"potassium-files"}


async def test_a_large_file_is_not_text() -> None:
    """Only the size of the whole body bounds it."""
    app = Potassium("test", limits=Limits(body_size=4_000_000))

    @app.handler
    def handler(cache: Any, file: File) -> int:
        return sum(len(piece) for piece in iter(lambda: file.read(100_000), b""))

    async with client(app) as http:
        answer = await http.post("/", files={"file": ("a", bytes(3_000_000))})
        assert answer.json() == 3_000_000
        answer = await http.post("/", content=bytes(3_000_000))
        assert answer.json() == 3_000_000
        answer = await http.post("/", files={"file": ("a", bytes(4_000_000))})
        assert code(answer) == (413, "body_too_large")


async def test_a_call_that_runs_again_has_its_file_from_the_beginning() -> None:
    """After the first run has read it, and then run out of memory."""
    app = Potassium("test")
    contents: list[bytes] = []

    @app.handler
    def handler(cache: Any, file: File) -> str:
        contents.append(file.read())
        if len(contents) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return "fits"

    async with client(app) as http:
        assert (await http.post("/", content=b"abc")).json() == "fits"
    assert contents == [b"abc", b"abc"]


class Query(pydantic.BaseModel):
    q: str
    limit: int = 10
    tags: list[str] = []


def searching(**options: Any) -> Potassium:
    app = Potassium("test", **options)

    @app.handler("/search", methods=["GET", "POST"])
    def search(cache: Any, query: Query) -> Any:
        return query.model_dump()

    @app.handler("/look", methods=("GET",))
    def look(cache: Any, query: Query) -> Any:
        yield from query.tags

    @app.handler("/put", methods=["PUT"])
    def put(cache: Any, json_in: dict[str, Any]) -> Any:
        return json_in

    return app


class Passes:
    """Middleware, so that requests take the way through Starlette's router."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, *connection: Any) -> None:
        await self.app(*connection)


@pytest.mark.parametrize("has_middleware", [False, True])
async def test_a_query_is_bound_as_a_form_is(has_middleware: bool) -> None:
    """Of a GET; a POST to the same path has its input in the body."""
    app = searching()
    if has_middleware:
        app.add_middleware(Passes)
    found = {"q": "a b", "limit": 5, "tags": ["x", "y"]}
    async with client(app) as http:
        query = {"q": "a b", "limit": "5", "tags": ["x", "y"]}
        answer = await http.get("/search", params=query)
        assert (answer.status_code, answer.json()) == (200, found)
        assert (await http.get("/search/?q=a")).json()["q"] == "a"
        assert (await http.post("/search?q=no", json=found)).json() == found
        assert (await http.post("/search", data=query)).json() == found
        assert (await http.get("/look?q=a&tags=x&tags=y")).text == "xy"
        assert (await http.put("/put", json={"a": 1})).json() == {"a": 1}
        assert (await http.head("/search?q=a")).status_code == 200


async def test_a_wrong_query_is_told_where_it_is_wrong() -> None:
    """As any other input."""
    async with client(searching()) as http:
        answer = await http.get("/search?limit=many")
        assert code(answer) == (422, "invalid_input")
        assert [fault["loc"] for fault in answer.json()["errors"]] == [["q"], ["limit"]]
        assert code(await http.get("/search?q=%ff")) == (400, "malformed_form")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/search", {"GET", "HEAD", "POST"}),
        ("POST", "/look", {"GET", "HEAD"}),
        ("POST", "/put", {"PUT"}),
        ("GET", "/put", {"PUT"}),
    ],
)
async def test_other_methods_are_told_which_there_are(
    method: str, path: str, allowed: set[str]
) -> None:
    """The answer is 405, with ``Allow``."""
    async with client(searching()) as http:
        answer = await http.request(method, path, json={})
        assert code(answer) == (405, "method_not_allowed")
        assert set(answer.headers["allow"].split(", ")) == allowed


async def test_a_form_sent_again_is_the_same_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although its boundary is another one each time, and may be all that there is in it."""
    threads = set()

    def noted(*args: Any, **options: Any) -> bytes:
        threads.add(threading.current_thread() is threading.main_thread())
        return content_hash(*args, **options)

    monkeypatch.setattr("potassium.jobs.intake.content_hash", noted)
    bench = Bench(jobs=Jobs(path=None))
    headers = {"Prefer": "respond-async", "Idempotency-Key": "k"}
    async with client(bench.app) as http:
        answers = [
            await http.post("/", files={"image": ("a", PNG)}, data={"top": top}, headers=headers)
            for top in ("1", "1", "2")
        ]
    first, again, other = answers
    assert first.request.headers["content-type"] != again.request.headers["content-type"]
    assert first.headers["location"] == again.headers["location"]
    assert code(other) == (422, "idempotency_key_reused")
    assert threads == {False}


@pytest.mark.parametrize("path", [None, "jobs.db"])
async def test_a_background_job_has_the_query_that_was_sent(
    path: str | None, tmp_path: Any
) -> None:
    """Its idempotency key stands for the query, too."""
    app = searching(jobs=Jobs(path=path and str(tmp_path / path)))
    headers = {"Prefer": "respond-async, wait=10", "Idempotency-Key": "k"}
    async with client(app) as http:
        for _ in range(2):
            answer = await http.get("/search?q=a&limit=3", headers=headers)
            assert answer.json() == {"q": "a", "limit": 3, "tags": []}
        answer = await http.get("/search?q=b", headers=headers)
        assert code(answer) == (422, "idempotency_key_reused")


class Signed:
    """Middleware that notes who calls."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["user"] = "ada"
        await self.app(scope, receive, send)


@pytest.mark.parametrize("path", [None, "jobs.db"])
async def test_a_request_knows_how_it_came(path: str | None, tmp_path: Any) -> None:
    """A background job, too, except for what only a connection has."""
    app = Potassium("test", jobs=Jobs(path=path and str(tmp_path / path)))
    app.add_middleware(Signed)

    @app.handler("/é")
    def handler(cache: Any, request: Request) -> Any:
        client = request.client and request.client.host
        user = getattr(request.state, "user", None)
        query = request.query_params.multi_items()
        return [request.path, query, client, user]

    parent = Starlette(routes=[Mount("/model", app)], lifespan=app.lifespan)
    async with (
        app.lifespan(),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(parent, client=("10.0.0.1", 7)), base_url="http://a"
        ) as http,
    ):
        asked = "/model/é/?a=1&a=%20&b"
        query = [["a", "1"], ["a", " "], ["b", ""]]
        answer = await http.post(asked, json={})
        assert answer.json() == ["/model/é/", query, "10.0.0.1", "ada"]
        answer = await http.post(asked, json={}, headers={"Prefer": "respond-async, wait=10"})
        assert answer.json() == ["/model/é/", query, None, None]
