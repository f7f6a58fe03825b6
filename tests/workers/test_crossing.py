"""What a handler reaches besides its input is the same in one process and in a worker."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from e2e.jobs import end_of, submit
from e2e.receiver import SECRET, Receiver, receive
from e2e.server import Server, Start, wait_until
from workers.modes import MODES, WORKERS, served

APP = """
    import os
    from collections import namedtuple
    from contextvars import ContextVar

    from starlette.middleware import Middleware

    from potassium import Batch, Jobs, Potassium, Request, Webhooks, current_request, send_webhook

    Pair = namedtuple("Pair", "a b")

    TENANT = ContextVar("tenant", default="nobody")
    SET_BY_APP = ContextVar("set by app.py", default="nothing")
    SET_BY_APP.set("something")


    class Vars:
        DATA = ContextVar("data", default=None)
        ODD = ContextVar("odd", default=None)


    class Instance:
        def __init__(self):
            self.own = ContextVar("own", default="unset")


    INSTANCE = Instance()


    class Tenants:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            if scope["type"] == "http":
                tenant = dict(scope["headers"]).get(b"tenant", b"nobody").decode()
                TENANT.set(tenant)
                Vars.DATA.set({"list": [1, 2.5, None, True], "pair": ("a", b"\\xff"), "é": "ü"})
                Vars.ODD.set(Pair(1, 2))
                INSTANCE.own.set("set")
                state = scope.setdefault("state", {})
                state["user"] = {"name": tenant}
                state["odd"] = Pair(1, 2)
            await self.app(scope, receive, send)


    app = Potassium(
        "crossing",
        middleware=[Middleware(Tenants)],
        jobs=Jobs(path="jobs.db"),
        webhooks=Webhooks(secret=os.environ["SECRET"]),
    )
    SINK = os.environ["SINK"]


    @app.init
    def init():
        send_webhook(SINK + "/init", {"pid": os.getpid()})
        return {"pid": os.getpid(), "value": 0}


    def look(value):
        return [*value, TENANT.get()] if isinstance(value, list) else [TENANT.get()]


    def seen(cache, value):
        return TENANT.get()


    app.handler("/plain")(seen)
    app.handler("/prepared", prepare=look)(lambda cache, value: value)
    app.handler("/finished", finish=look)(lambda cache, value: [])
    app.handler("/none", finish=lambda value: {"finished": value})(lambda cache, value: None)
    app.handler("/batch-of-none", batch=Batch())(lambda cache, items: [None for _ in items])
    app.handler("/batched", batch=Batch())(lambda cache, items: [TENANT.get() for _ in items])


    @app.handler("/async")
    async def on_loop(cache, value):
        return TENANT.get()


    @app.handler("/sets")
    def sets(cache, value):
        before = TENANT.get()
        TENANT.set("set by a handler")
        return before


    @app.handler("/stream")
    def stream(cache, value):
        yield TENANT.get()
        yield TENANT.get()


    @app.background("/job")
    def job(cache, value):
        return TENANT.get()


    @app.handler("/data")
    def data(cache, value):
        return {"data": repr(Vars.DATA.get()), "by app": SET_BY_APP.get()}


    @app.handler("/odd")
    def odd(cache, request: Request):
        named = [Vars.ODD.get(), getattr(request.state, "odd", None)]
        return {"named tuples": named, "of an instance": INSTANCE.own.get()}


    @app.handler("/request")
    def request(cache, request: Request):
        return {
            "user": request.state.user,
            "client": request.client.host,
            "path": request.path,
            "query": dict(request.query_params),
            "id": [request.id, current_request().id],
        }


    @app.handler("/post", prepare=lambda value: post("prepare", value), finish=lambda value: post(
        "finish", value
    ))
    def posting(cache, value):
        return post("handler", value)


    def post(step, value):
        send_webhook(SINK + "/" + step, {"step": step})
        return value


    @app.handler("/cached")
    async def cached(cache, value):
        return cache["value"]


    @app.handler("/set")
    def set(cache, value):
        app.set_cache({**cache, "value": value["value"]})
        return cache["pid"]


    @app.handler("/get")
    def get(cache, value):
        return [cache["pid"], cache["value"]]


    if __name__ == "__main__":
        app.serve()
"""
TORCH = """
    import torch

    from potassium import Potassium

    torch.set_default_device("meta")
    torch.set_num_threads(3)
    torch.set_grad_enabled(False)
    app = Potassium("torch", workers=1)


    def defaults(value):
        device = str(torch.empty(1).device)
        return [*value, [device, torch.get_num_threads(), torch.is_grad_enabled()]]


    @app.handler("/", prepare=lambda value: defaults([]), finish=defaults)
    def handler(cache, value):
        return defaults(value)


    if __name__ == "__main__":
        app.serve()
"""
ACME = {"Tenant": "acme"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receive() as receiver:
        yield receiver


@pytest.fixture(scope="module", params=MODES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> Iterator[Server]:
    env = {"SINK": receiver.url, "SECRET": SECRET}
    yield from served(APP, tmp_path_factory.mktemp("app"), request.param, env)


@pytest.fixture(scope="module")
def with_workers(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Server]:
    env = {"SINK": receiver.url, "SECRET": SECRET}
    yield from served(APP, tmp_path_factory.mktemp("app"), WORKERS, env)


def test_handlers_and_their_steps_see_the_variables_of_their_request(server: Server) -> None:
    """Wherever the step runs; what a handler sets is gone with the call."""
    assert server.post("/plain", {}, headers=ACME).json() == "acme"
    assert server.post("/prepared", {}, headers=ACME).json() == ["acme"]
    assert server.post("/finished", {}, headers=ACME).json() == ["acme"]
    assert server.post("/async", {}, headers=ACME).json() == "acme"
    assert server.post("/stream", {}, headers=ACME).text == "acmeacme"
    assert [server.post("/sets", {}, headers=ACME).json() for _ in range(4)] == ["acme"] * 4
    assert server.post("/plain", {}).json() == "nobody"


def test_a_batch_belongs_to_no_request(server: Server) -> None:
    """It sees none of their variables."""
    assert server.post("/batched", {}, headers=ACME).json() == "nobody"


def test_a_background_job_sees_no_variables_of_its_request(server: Server) -> None:
    """It may run after a restart."""
    assert end_of(server, submit(server, "/job", headers=ACME))["output"] == "nobody"


def test_plain_data_crosses_as_it_is(server: Server) -> None:
    """Tuples and bytes too; so does what app.py itself has set, and a variable of a class."""
    seen = server.post("/data", {}).json()
    expected = {"list": [1, 2.5, None, True], "pair": ("a", b"\xff"), "é": "ü"}
    assert seen == {"data": repr(expected), "by app": "something"}


def test_what_is_no_plain_data_or_has_no_name_stays_in_the_front(with_workers: Server) -> None:
    """The handler sees the default of the variable, and no such attribute of ``request.state``."""
    seen = with_workers.post("/odd", {}).json()
    assert seen == {"named tuples": [None, None], "of an instance": "unset"}


def test_none_is_a_result_like_others(server: Server) -> None:
    """It is finished, and sent as null."""
    assert server.post("/none", {}).json() == {"finished": None}
    assert server.post("/batch-of-none", {}).text == "null"


def test_a_handler_sees_the_request_itself(server: Server) -> None:
    """Its state as middleware has set it, its client, path, query and id."""
    headers = {**ACME, "X-Request-Id": "one-of-mine"}
    assert server.post("/request?a=1&b=%C3%BC", {}, headers=headers).json() == {
        "user": {"name": "acme"},
        "client": "127.0.0.1",
        "path": "/request",
        "query": {"a": "1", "b": "ü"},
        "id": ["one-of-mine", "one-of-mine"],
    }


def test_each_init_posts_its_webhook(server: Server, receiver: Receiver) -> None:
    """A worker passes it on before it is ready."""
    pids = {server.post("/get", {}).json()[0] for _ in range(8)}
    wait_until(lambda: pids <= {one.body["pid"] for one in receiver.all("/init")}, "posted")


def test_a_handler_and_its_steps_post_webhooks(server: Server, receiver: Receiver) -> None:
    """They are signed, and carry the id of the request."""
    name = uuid4().hex
    assert server.post("/post", {}, headers={"X-Request-Id": name}).status_code == 200
    steps = {"prepare", "handler", "finish"}

    def posted() -> set[str]:
        mine = [one for one in receiver.all() if one.headers.get("x-request-id") == name]
        for one in mine:
            one.verify()
            assert one.path == f"/{one.body['step']}"
        return {one.body["step"] for one in mine}

    wait_until(lambda: posted() == steps, "posted")


def test_an_async_handler_is_told_where_the_model_is(with_workers: Server) -> None:
    """Its cache is empty, and the KeyError says that init runs in the workers."""
    assert with_workers.post("/cached", {}).json()["code"] == "handler_error"
    assert (
        "NotHereError: there is no 'value' in this process: init runs in the worker processes, "
        "and async handlers in the front, which has no model. Write a plain handler that uses the "
        'model, and call it: await app.call("/path", item).\n'
    ) in with_workers.log()


def test_set_cache_concerns_the_worker_that_calls_it(with_workers: Server) -> None:
    """The other one keeps its own."""
    changed = with_workers.post("/set", {"value": 7}).json()
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: tuple(with_workers.post("/get", {}).json()), range(64)))
    values = dict(seen)
    assert values.pop(changed) == 7
    assert set(values.values()) <= {0}


def test_what_app_py_has_set_as_defaults_of_torch_holds_in_a_worker(start: Start) -> None:
    """On all of its threads."""
    assert start(TORCH).post("/", {}).json() == [["meta", 3, False]] * 3
