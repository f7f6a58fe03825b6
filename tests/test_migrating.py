"""Programs for Potassium 0.x: each line of docs/migrating.md, as it is written there."""

import asyncio
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.server import Start

import potassium
from potassium import Jobs, Limits, Potassium, Request, Response, UsageError, Workers, send_webhook
from potassium.serving.composition import parts_of
from potassium.testing import client

PAGE = Path(__file__).parent.parent / "docs" / "migrating.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_each_line_of_the_page_names_its_test() -> None:
    """And each test in this file is that of a line."""
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    lines = [row for row in rows if not row.startswith("| ---") and "| test |" not in row]
    assert len(lines) > 40
    assert [line for line in lines if not NAMED.search(line)] == []
    named = {
        name
        for file, name in NAMED.findall("".join(lines))
        if file == f"tests/{Path(__file__).name}"
    }
    here = {name for name in globals() if name.startswith("test_")}
    assert here - named == {
        "test_each_line_of_the_page_names_its_test",
        "test_each_test_that_the_page_names_exists",
    }


def test_each_test_that_the_page_names_exists() -> None:
    found = NAMED.findall(PAGE.read_text("utf-8"))
    root = PAGE.parent.parent
    missing = [one for one in found if f"def {one[1]}(" not in (root / one[0]).read_text("utf-8")]
    assert missing == []


# The first generation: def handler(cache, json_in)


async def test_an_app_of_the_first_generation_runs() -> None:
    app = Potassium("server")

    @app.init
    def init() -> Any:
        return app.set_cache({"model": str.upper})

    @app.handler
    def handler(cache: dict, json_in: dict) -> dict:  # type: ignore[type-arg]
        prompt = json_in.get("prompt", None)  # noqa: SIM910 - as it was written
        model = cache.get("model")
        return {"outputs": model(prompt)}  # type: ignore[misc]

    async with client(app) as http:
        response = await http.post("/", json={"prompt": "hello"})
    assert response.json() == {"outputs": "HELLO"}


async def test_the_cache_may_be_replaced_in_a_handler() -> None:
    app = Potassium("server")

    @app.handler
    def handler(cache: dict, json_in: dict) -> dict:  # type: ignore[type-arg]
        app.set_cache({"calls": app.get_cache().get("calls", 0) + 1})
        return {"before": cache.get("calls", 0)}

    async with client(app) as http:
        answers = [(await http.post("/", json={})).json()["before"] for _ in range(3)]
    assert answers == [0, 1, 2]


def test_optimize_takes_models_of_torch_only() -> None:
    app = Potassium("server")
    with pytest.raises(TypeError, match=r"app.optimize\(\) takes torch.nn.Modules, not object"):
        app.optimize(object())


async def test_a_body_that_is_no_json_object_is_refused() -> None:
    app = Potassium("server")

    @app.handler
    def handler(cache: dict, json_in: dict) -> dict:  # type: ignore[type-arg]
        return json_in

    async with client(app) as http:
        typed = {"Content-Type": "application/json"}
        statuses = [
            (await http.post("/", content=b"{", headers=typed)).status_code,
            (await http.post("/", content=b"{}")).status_code,
            (await http.post("/", json=[1])).status_code,
        ]
    assert statuses == [400, 415, 422]


# The second generation: def handler(context, request)


@pytest.fixture
def app() -> Potassium:
    return Potassium("my_app", jobs=Jobs(path=None))


async def test_an_app_of_the_second_generation_runs(app: Potassium) -> None:
    @app.init
    def init() -> dict[str, Any]:
        return {"model": str.upper, "hello": "world"}

    @app.handler()
    def handler(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        prompt = request.json.get("prompt")
        model = context.get("model")
        return Response(json={"outputs": model(prompt)}, status=200)  # type: ignore[misc]

    async with client(app) as http:
        response = await http.post("/", json={"prompt": "hello"})
    assert (response.status_code, response.json()) == (200, {"outputs": "HELLO"})


async def test_paths_are_written_as_before(app: Potassium) -> None:
    """Also with route=, which many programs have, and without the slash."""

    @app.handler("/some_path")
    def first(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        return Response(json={"hello": "some_path"})

    @app.handler("some_path/child_path")
    def second(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        return Response(json={"hello": "child_path"})

    @app.handler(route="/generate")
    def third(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        return Response(json={"hello": "generate"})

    @app.background(route="later")
    def fourth(context: dict, request: Request) -> None: ...  # type: ignore[type-arg]

    with pytest.raises(UsageError, match="give one of the two"):
        app.handler("/a", route="/b")
    async with client(app) as http:
        for path in ("some_path", "some_path/child_path", "generate"):
            response = await http.post(f"/{path}", json={})
            assert response.json() == {"hello": path.rpartition("/")[2]}
        assert (await http.post("/later", json={})).status_code == 202


async def test_the_request_is_as_before(app: Potassium) -> None:
    """Its id is the client's X-Banana-Request-Id; headers go by any case."""

    @app.handler()
    def handler(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        return Response(
            json=[
                request.id,
                request.headers["x-some-header"],
                request.headers["X-SOME-HEADER"],
                request.headers.get("X-Missing", "none"),
                request.json,
            ]
        )

    headers = {"X-Banana-Request-Id": "17", "X-Some-Header": "a"}
    async with client(app) as http:
        response = await http.post("/", json=[1, {"a": None}], headers=headers)
    assert response.json() == ["17", "a", "a", "none", [1, {"a": None}]]


async def test_the_response_is_as_before(app: Potassium) -> None:
    """JSON, bytes or a generator, with status and headers; json may be set later."""

    @app.handler("/json")
    def as_json(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        response = Response(status=201, json={"key": "value"}, headers={"X-Some": "a"})
        response.json = {**response.json, "more": 1}
        return response

    @app.handler("/bytes")
    def as_bytes(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        return Response(body=b"Hello, world!", headers={"Content-Type": "text/plain"})

    @app.handler("/stream")
    def stream(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        def tokens() -> Iterator[bytes]:
            yield b"Hello, "
            yield b"world!"

        return Response(body=tokens(), headers={"Content-Type": "text/plain"})

    async with client(app) as http:
        response = await http.post("/json", json={})
        assert (response.status_code, response.headers["X-Some"]) == (201, "a")
        assert response.json() == {"key": "value", "more": 1}
        for path in ("/bytes", "/stream"):
            response = await http.post(path, json={})
            assert response.headers["Content-Type"] == "text/plain"
            assert response.content == b"Hello, world!"


async def test_the_context_may_be_changed_in_place(app: Potassium) -> None:
    @app.init
    def init() -> dict[str, Any]:
        return {"calls": 0}

    @app.handler()
    def handler(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        context["calls"] += 1
        return Response(json={"calls": context["calls"]})

    async with client(app) as http:
        answers = [(await http.post("/", json={})).json()["calls"] for _ in range(3)]
    assert answers == [1, 2, 3]


async def test_without_init_the_context_is_an_empty_dict(app: Potassium) -> None:
    @app.handler()
    def handler(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        return Response(json={"context": context})

    async with client(app) as http:
        assert (await http.post("/", json={})).json() == {"context": {}}


async def test_calls_run_one_at_a_time(app: Potassium) -> None:
    """On one thread, on which init ran too."""
    threads: list[str] = []

    @app.init
    def init() -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        return {}

    @app.handler()
    def handler(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        threads.append(threading.current_thread().name)
        return Response(json={})

    async with client(app) as http:
        for _ in range(3):
            await http.post("/", json={})
    assert threads == ["potassium-gpu"] * 4


async def test_warm_up_and_status_answer_as_before(app: Potassium) -> None:
    @app.handler()
    def handler(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        return Response(json={})

    async with client(app) as http:
        assert (await http.post("/_k/warmup", json={})).json() == {"warm": True}
        await http.post("/", json={})
        for path in ("/_k/status", "/__status__"):
            status = (await http.get(path)).json()
            assert status["gpu_available"] is True
            assert status["sequence_number"] == 1
            assert status["idle_time"] >= 0
            assert status["inference_time"] == 0


async def test_a_background_call_answers_202_with_its_job(app: Potassium) -> None:
    """Where 0.5 answered 200 with {"started": true}; what the function returns is kept."""
    ran = threading.Event()

    @app.background("/background")
    def background(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        ran.set()
        return Response(json={"outputs": request.json["prompt"]})

    async with client(app) as http:
        response = await http.post("/background", json={"prompt": "a"})
        assert response.status_code == 202
        assert "started" not in response.json()
        waited = {"Prefer": "wait=10"}
        job = (await http.get(response.headers["Location"], headers=waited)).json()
    assert ran.is_set()
    assert (job["status"], job["output"]) == ("succeeded", {"outputs": "a"})


async def test_a_webhook_is_sent_by_handlers_only(app: Potassium) -> None:
    with pytest.raises(UsageError, match="works only in the handlers of a running app"):
        send_webhook(url="http://localhost:8001", json={"outputs": 1})


async def test_an_error_is_a_problem_document(app: Potassium) -> None:
    """Where 0.5 answered with the traceback, which debug=True brings back."""
    for debug in (False, True):
        app = Potassium("my_app", debug=debug)

        @app.handler()
        def handler(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
            raise KeyError("prompt")

        async with client(app) as http:
            response = await http.post("/", json={})
        assert (response.status_code, response.json()["code"]) == (500, "handler_error")
        assert ("KeyError" in response.text) is debug


async def test_a_handler_need_not_return_a_response(app: Potassium) -> None:
    """Where 0.5 answered 500; nor need a Response have a body."""

    @app.handler("/dict")
    def plain(context: dict, request: Request) -> dict:  # type: ignore[type-arg]
        return {"outputs": 1}

    @app.handler("/empty")
    def empty(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        return Response()

    async with client(app) as http:
        assert (await http.post("/dict", json={})).json() == {"outputs": 1}
        response = await http.post("/empty", json={})
    assert (response.status_code, response.content) == (200, b"")


def test_a_response_has_no_content_type_before_it_is_sent() -> None:
    assert Response(json={"a": 1}).headers == {}


def test_a_response_with_json_and_body_is_a_usage_error() -> None:
    """Where 0.5 had an AssertionError."""
    with pytest.raises(UsageError, match="give one of the two"):
        Response(json={}, body=b"")


async def test_headers_are_named_with_hyphens(app: Potassium) -> None:
    """Where 0.5 took underscores for them, too."""

    @app.handler()
    def handler(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        return Response(
            json=[request.headers.get("X_SOME_HEADER"), request.headers["X-Some-Header"]]
        )

    async with client(app) as http:
        assert (await http.post("/", json={}, headers={"X-Some-Header": "a"})).json() == [None, "a"]


async def test_a_body_that_is_not_json_is_a_problem_document(app: Potassium) -> None:
    """Where 0.5 answered 400 without a body, before the handler ran."""

    @app.handler()
    def handler(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        return Response(json=request.json)

    async with client(app) as http:
        typed = {"Content-Type": "application/json"}
        malformed = await http.post("/", content=b"{", headers=typed)
        untyped = await http.post("/", content=b"{}")
    assert (malformed.status_code, malformed.json()["code"]) == (400, "malformed_json")
    assert (untyped.status_code, untyped.json()["code"]) == (415, "unsupported_media_type")


async def test_a_path_that_does_not_exist_is_a_problem_document(app: Potassium) -> None:
    @app.handler()
    def handler(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        return Response(json={})

    async with client(app) as http:
        response = await http.post("/nowhere", json={})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_a_full_queue_refuses_calls() -> None:
    """Where they waited in memory without limit."""
    app = Potassium("my_app", limits=Limits(queue_size=1))
    may_end = threading.Event()

    @app.handler()
    def handler(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        may_end.wait(20)
        return Response(json={})

    async with client(app) as http:
        calls = [asyncio.create_task(http.post("/", json={})) for _ in range(10)]
        refused, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        problem = refused.pop().result()
        may_end.set()
        await asyncio.wait(calls)
    assert (problem.status_code, problem.json()["code"]) == (503, "queue_full")
    assert int(problem.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("paths", [("/", ""), ("/foo", "foo")])
def test_a_path_that_is_taken_is_a_usage_error(app: Potassium, paths: tuple[str, str]) -> None:
    """Where 0.5 had a RouteAlreadyInUseException."""

    @app.handler(paths[0])
    def first(context: dict, request: Request) -> None: ...  # type: ignore[type-arg]

    with pytest.raises(UsageError, match="already"):

        @app.handler(paths[1])
        def second(context: dict, request: Request) -> None: ...  # type: ignore[type-arg]

    assert not hasattr(potassium, "RouteAlreadyInUseException")


def test_there_is_no_test_client_of_flask(app: Potassium) -> None:
    """potassium.testing.client(app) is the one that there is."""
    assert not hasattr(app, "test_client")


def test_workers_are_taken_by_their_old_name() -> None:
    """One is what there is without them. A hint names the new one, where the app is created."""
    with pytest.warns(DeprecationWarning, match="leave it out") as hints:
        assert _workers(experimental_num_workers=1) is None
    assert hints[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="write workers=10"):
        assert _workers(experimental_num_workers=10) == Workers(10)
    with pytest.raises(TypeError, match="positional"):
        Potassium("server", 10)  # type: ignore[call-arg, arg-type]
    for wrong in (0, "2", True):
        with pytest.raises(UsageError, match="experimental_num_workers="):
            _workers(experimental_num_workers=wrong)
    with pytest.raises(UsageError, match="leave it out"):
        _workers(experimental_num_workers=2, workers=2)


def _workers(**options: Any) -> Workers | None:
    return parts_of(Potassium("server", **options)).plan.workers


async def test_what_a_handler_prints_is_printed_as_it_is(
    app: Potassium, capsys: pytest.CaptureFixture[str]
) -> None:
    @app.handler()
    def handler(context: dict, request: Request) -> Response:  # type: ignore[type-arg]
        print("a token")  # noqa: T201 - programs do
        return Response(json={})

    async with client(app) as http:
        await http.post("/", json={})
    assert capsys.readouterr().out == "a token\n"


def test_init_gets_no_number_of_a_worker(app: Potassium) -> None:
    with pytest.raises(UsageError, match=r"init\(worker_num\): what init gets is its device"):

        @app.init
        def init(worker_num: int) -> dict[str, Any]:
            return {}


def test_serve_listens_on_the_loopback(start: Start) -> None:
    """Where 0.5 listened on 0.0.0.0: set host or POTASSIUM_HOST, in a container above all."""
    source = """
from potassium import Potassium, Request, Response

app = Potassium("my_app")

@app.handler()
def handler(context: dict, request: Request) -> Response:
    return Response(json={"hello": "world"}, status=200)

if __name__ == "__main__":
    app.serve()
"""
    server = start(source)
    assert server.post("/", {}).json() == {"hello": "world"}
    assert "http://127.0.0.1:" in server.log()


# Names that only some releases before 0.5 had


def test_there_is_no_async_handler(app: Potassium) -> None:
    assert not hasattr(app, "async_handler")


def test_there_is_no_websocket(app: Potassium) -> None:
    assert not hasattr(app, "websocket")
    assert not hasattr(Request("id", [], b"{}"), "ws")


def test_there_is_no_gpu_option(app: Potassium) -> None:
    options: dict[str, Any] = {"gpu": False}
    for decorator in (app.handler, app.background):
        with pytest.raises(UsageError, match=r"\(gpu=...\): no such option"):
            decorator("/", **options)
