"""A model inside another ASGI app."""

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from e2e.server import Server, Start, error, serve_source, wait_until

MODEL = """
import contextlib
import os
import time

from fastapi import FastAPI

from potassium import Potassium

model = Potassium("model")


@model.init
def init():
    with open("inits", "a") as inits:
        print("init", file=inits)
    time.sleep(float(os.environ.get("INIT_SECONDS", "0.1")))
    if os.environ.get("BROKEN"):
        raise RuntimeError("no such model")
    return {"loaded": True}


@model.handler
def handler(cache, json_in):
    return {"loaded": cache["loaded"], **json_in}


@model.handler("/sleep")
def sleep(cache, json_in):
    time.sleep(json_in["seconds"])


@contextlib.asynccontextmanager
async def lifespan(parent):
    print("parent starts")
    async with model.lifespan(parent):
        yield
    print("parent ends")
"""
OWN_ROUTE = """
parent = FastAPI({options})
parent.mount("/model", model)


@parent.get("/own")
def own():
    return "own"
"""
PARENTS = {
    "as the lifespan of a FastAPI app": MODEL + OWN_ROUTE.format(options="lifespan=model.lifespan"),
    "inside the lifespan of a FastAPI app": MODEL + OWN_ROUTE.format(options="lifespan=lifespan"),
    "without a lifespan": MODEL + OWN_ROUTE.format(options=""),
}
ENTERED = list(PARENTS)[:2]


def inits(server: Server) -> int:
    """Return how often init has run."""
    file = server.log_file.parent / "inits"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture(scope="module", params=PARENTS)
def mounted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("mounted")
    with serve_source(PARENTS[request.param], folder, target="parent", ready="/own") as server:
        yield server


def test_a_mounted_model_is_called_under_its_prefix(mounted: Server) -> None:
    """The bare handler answers at the prefix where the app is mounted."""
    assert mounted.post("/model/", {"a": 1}).json() == {"loaded": True, "a": 1}


def test_a_mounted_model_leaves_the_parents_routes_alone(mounted: Server) -> None:
    """The parent answers its own paths."""
    assert mounted.get("/own").json() == "own"


def test_a_mounted_model_does_not_block_the_parent(mounted: Server) -> None:
    """While a handler runs, the parent answers."""
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(mounted.post, "/model/sleep", {"seconds": 0.5})
        wait_until(lambda: not mounted.get("/model/_k/status").json()["gpu_available"], "a call")
        mounted.get("/own")
        assert not call.done()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/_k/status", "/_k/warmup"])
def test_a_mounted_model_has_its_pages_under_its_prefix(mounted: Server, path: str) -> None:
    """Health, readiness, status and warm-up are served where the app is mounted."""
    mounted.post("/model/", {})
    assert mounted.get(f"/model{path}").status_code == 200


def test_a_mounted_models_errors_have_its_shape(mounted: Server) -> None:
    """An unknown path under the prefix is answered as the model would answer it."""
    assert error(mounted.post("/model/nowhere", {})) == (404, "not_found")


@pytest.mark.parametrize("parent", ENTERED)
def test_a_lifespan_loads_the_model_before_the_first_request(start: Start, parent: str) -> None:
    """A parent that enters the lifespan is served only once init has run."""
    assert inits(start(PARENTS[parent], target="parent", ready="/own")) == 1


@pytest.mark.parametrize("parent", PARENTS)
def test_a_parent_that_is_stopped_ends(start: Start, parent: str) -> None:
    """The model's thread does not keep the parent's process alive."""
    server = start(PARENTS[parent], target="parent", ready="/own")
    server.post("/model/", {})
    assert server.stop() == 0


def test_a_lifespan_inside_the_parents_own_ends_before_it(start: Start) -> None:
    """The code after the parent's ``async with`` still runs."""
    server = start(PARENTS[ENTERED[1]], target="parent", ready="/own")
    server.stop()
    assert "parent ends" in server.log()


LAZY = PARENTS["without a lifespan"]


def first_requests(server: Server, path: str = "/model/") -> list[httpx.Response]:
    """Send 100 requests at once to a server that has had none."""

    async def send() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(
            base_url=server.url, timeout=20, limits=limits, trust_env=False
        ) as http:
            return await asyncio.gather(*(http.post(path, json={}) for _ in range(100)))

    return asyncio.run(send())


def test_simultaneous_first_requests_are_all_served(start: Start) -> None:
    """Without a lifespan, 100 first requests wait for the model and are answered."""
    server = start(LAZY, target="parent", ready="/own")
    assert {response.status_code for response in first_requests(server)} == {200}


def test_simultaneous_first_requests_load_the_model_once(start: Start) -> None:
    """Without a lifespan, 100 first requests run init once."""
    server = start(LAZY, target="parent", ready="/own")
    first_requests(server)
    assert inits(server) == 1


def test_simultaneous_first_requests_log_once_how_to_preload(start: Start) -> None:
    """The log names, once, the lifespan that the parent could have entered."""
    server = start(LAZY, target="parent", ready="/own")
    first_requests(server)
    assert server.log().count("lifespan=") == 1


def test_warmup_loads_a_model_that_was_not_started(start: Start) -> None:
    """Warm-up waits for init and says that it is done."""
    server = start(LAZY, target="parent", ready="/own")
    assert server.get("/model/_k/warmup").json() == {"warm": True}


def test_a_model_that_was_not_started_is_alive(start: Start) -> None:
    """Liveness is 200 before the model is loaded."""
    server = start(LAZY, target="parent", ready="/own")
    assert server.get("/model/healthz").status_code == 200


def test_a_model_that_is_loading_is_alive_but_not_ready(start: Start) -> None:
    """While init runs, liveness is 200 and readiness 503."""
    server = start(LAZY, target="parent", ready="/own", env={"INIT_SECONDS": "1"})
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(server.post, "/model/", {})
        wait_until(lambda: inits(server), "init that runs")
        pages = [server.get(f"/model{page}").status_code for page in ("/healthz", "/readyz")]
        assert not call.done(), "init was over too soon for this test"
        assert pages == [200, 503]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A parent whose model is started by 100 first requests and cannot be loaded."""
    folder = tmp_path_factory.mktemp("failed")
    broken = {"BROKEN": "1"}
    with serve_source(LAZY, folder, target="parent", ready="/own", env=broken) as server:
        yield server


def test_no_first_request_hangs_when_the_model_cannot_be_loaded(failed: Server) -> None:
    """If init raises, each of 100 first requests is answered 503."""
    assert {response.status_code for response in first_requests(failed)} == {503}


def test_a_model_that_cannot_be_loaded_is_logged_once(failed: Server) -> None:
    """The log has one traceback, however many requests waited."""
    failed.post("/model/", {})
    assert failed.log().count("RuntimeError: no such model") == 1


def test_a_model_that_cannot_be_loaded_is_shown_by_its_own_lines(failed: Server) -> None:
    """The traceback begins at init: the files in it are the user's."""
    failed.post("/model/", {})
    frames = re.findall(r'File "(.+)", line \d+, in (\w+)', failed.log())
    assert frames == [(str(failed.log_file.parent / "app.py"), "init")]


def test_a_model_that_cannot_be_loaded_is_not_alive(failed: Server) -> None:
    """Liveness is 503, so that a supervisor restarts the process."""
    failed.post("/model/", {})
    assert failed.get("/model/healthz").status_code == 503
