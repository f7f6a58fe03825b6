"""An app that is served while its code changes."""

import asyncio
import gc
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from starlette.types import Message
from support.asgi import Exchange, scope
from support.calls import until
from support.reload import Workshop, imports_of

from potassium import Potassium, UsageError
from potassium.engine import State
from potassium.project.target import Target
from potassium.reload.generation import Generation

APP = """
import threading
from potassium import Potassium
from words import greet
import loader

app = Potassium("app")

@app.init
def init():
    loader.RUNS.append(threading.get_ident())
    return {"model": loader.load("small"), "thread": threading.get_ident()}

@app.handler("/")
def handle(cache: dict, json_in: dict) -> dict:
    same = cache["thread"] == threading.get_ident()
    return {"said": greet("you"), "model": cache["model"].name, "same_thread": same}
"""
WORDS = "def greet(name):\n    return f'hello {name}'\n"
LOADER = """
from runs import RUNS
class Net:
    def __init__(self, name):
        self.name = name
def load(name):
    return Net(name)
def not_for_init():
    return 1
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    shop = Workshop(tmp_path)
    shop.write(app=APP, words=WORDS, loader=LOADER, runs="RUNS = []\n")
    with imports_of(tmp_path):
        yield shop


def runs(shop: Workshop) -> int:
    """Return how often init has run."""
    return len(shop.module("runs").RUNS)


async def test_a_handler_is_replaced_and_the_model_stays(shop: Workshop) -> None:
    async with shop.serving() as http:
        first = await shop.call(http)
        await shop.save(app=APP.replace('"said": greet', '"says": greet'))
        second = await shop.call(http)

    assert first == {"said": "hello you", "model": "small", "same_thread": True}
    assert second == {"says": "hello you", "model": "small", "same_thread": True}
    assert runs(shop) == 1


async def test_a_helper_is_replaced(shop: Workshop) -> None:
    async with shop.serving() as http:
        await shop.save(words=WORDS.replace("hello", "hi"))

        assert (await shop.call(http))["said"] == "hi you"

    assert runs(shop) == 1


async def test_so_is_a_model_of_the_input(shop: Workshop) -> None:
    typed = APP.replace("json_in: dict", "json_in: Item").replace(
        "import loader\n", "import loader\nfrom items import Item\n"
    )
    item = "from pydantic import BaseModel\nclass Item(BaseModel):\n    {}: int = 1\n"
    shop.write(app=typed, items=item.format("first"))
    async with shop.serving() as http:
        await shop.save(items=item.format("second"))
        answer = await http.post("/", json={"second": "x"})

    assert answer.status_code == 422
    assert runs(shop) == 1


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("app", 'load("small")', 'load("large")'),
        ("loader", "return Net(name)", "return Net(name.upper())"),
        ("loader", "self.name = name", "self.name = name * 2"),
    ],
)
async def test_a_change_in_what_init_runs_loads_the_model_again(
    shop: Workshop, name: str, old: str, new: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "potassium")
    text = {"app": APP, "loader": LOADER}[name]
    async with shop.serving() as http:
        first = await shop.call(http)
        await shop.save(**{name: text.replace(old, new)})
        second = await shop.call(http)

    assert runs(shop) == 2
    assert second["model"] != first["model"]
    assert second["same_thread"]
    assert "init runs again: " in caplog.text


async def test_a_change_in_another_function_of_the_same_file_does_not(shop: Workshop) -> None:
    async with shop.serving() as http:
        await shop.save(loader=LOADER.replace("return 1", "return 2"))
        await shop.call(http)

    assert shop.module("loader").not_for_init() == 2
    assert runs(shop) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("def greet(:\n", "SyntaxError"),
        (WORDS + "nothing()\n", 'words.py", line 3, in <module>'),
        (WORDS + "raise SystemExit(3)\n", "ended with SystemExit(3)"),
        ("", "cannot import name 'greet' from 'words'"),
    ],
)
async def test_a_change_that_cannot_be_imported_leaves_the_old_code_serving(
    shop: Workshop, text: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with shop.serving() as http:
        before = shop.module("words"), shop.module("app")
        await shop.save(words=text)

        assert (await shop.call(http))["said"] == "hello you"
        assert (shop.module("words"), shop.module("app")) == before
        assert shown in caplog.text
        assert "potassium/project" not in caplog.text  # only the user's own lines

        await shop.save(words=WORDS.replace("hello", "hi"))
        assert (await shop.call(http))["said"] == "hi you"

    assert runs(shop) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (APP.replace('@app.handler("/")', ""), "There is nothing to serve"),
        (APP.replace("cache: dict, json_in: dict", "one"), "Write it with two parameters"),
        (APP + "app.serve()\n", 'if __name__ == "__main__":'),
        (APP.replace("app = Potassium", "def app(): Potassium"), "app"),
    ],
)
async def test_so_does_an_app_that_cannot_be_served(
    shop: Workshop, text: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with shop.serving() as http:
        await shop.save(app=text)

        assert (await shop.call(http))["said"] == "hello you"

    assert shown in caplog.text


async def test_the_options_of_the_app_are_replaced_too(shop: Workshop) -> None:
    keyed = APP.replace('Potassium("app")', 'Potassium("renamed", api_keys=["secret"])')
    async with shop.serving() as http:
        await shop.save(app=keyed.replace('@app.handler("/")', '@app.handler("/other")'))

        assert (await http.post("/other", json={})).status_code == 401
        authorized = {"X-Api-Key": "secret"}
        assert (await http.post("/other", json={}, headers=authorized)).status_code == 200
        assert (await http.post("/", json={}, headers=authorized)).status_code == 404
        status = await http.get("/_k/status", headers=authorized)
        assert status.json()["name"] == "renamed"

    assert runs(shop) == 1


async def test_what_is_not_used_by_the_change_is_not_imported_again(shop: Workshop) -> None:
    async with shop.serving() as http:
        before = shop.module("loader").Net
        await shop.save(words=WORDS.replace("hello", "hi"))
        await shop.call(http)

        assert shop.module("loader").Net is before


async def test_a_package_is_imported_again_as_a_whole(shop: Workshop) -> None:
    shop.write(
        app=APP.replace("from words import greet", "import pack.words\ngreet = pack.words.greet"),
        **{
            "pack/__init__": "from . import other\n",
            "pack/words": WORDS,
            "pack/other": "VALUE = 1\n",
        },
    )
    async with shop.serving() as http:
        await shop.save(**{"pack/other": "VALUE = 2\n"})
        assert (await shop.call(http))["said"] == "hello you"
        assert shop.module("pack").other.VALUE == 2
        await shop.save(**{"pack/words": WORDS.replace("hello", "hi")})

        assert (await shop.call(http))["said"] == "hi you"


async def test_a_package_that_cannot_be_imported_again_is_as_it_was(shop: Workshop) -> None:
    files = {"pack/__init__": "", "pack/words": WORDS}
    shop.write(app=APP.replace("from words import", "from pack.words import"), **files)
    async with shop.serving():
        before = shop.module("pack.words")
        broken = APP.replace("import loader", "import loader, extra\nnothing()")
        await shop.save(app=broken, extra="", **{"pack/words": WORDS.replace("hello", "hi")})

        assert shop.module("pack").words is before
        assert "extra" not in sys.modules


async def test_the_options_of_an_app_are_not_what_init_runs(shop: Workshop) -> None:
    own = APP.replace('return {"model"', 'return app.set_cache({"model"')
    own = own.replace("threading.get_ident()}", "threading.get_ident()})")
    shop.write(app=own)
    async with shop.serving() as http:
        await shop.save(app=own.replace('Potassium("app")', 'Potassium("other")'))
        await shop.call(http)

        assert (await http.get("/_k/status")).json()["name"] == "other"

    assert runs(shop) == 1


async def test_an_init_that_has_failed_is_tried_again_when_a_file_is_saved(shop: Workshop) -> None:
    needing = LOADER.replace("return Net(name)", "return Net(FILE.read_text())")
    where = f"from pathlib import Path\nFILE = Path({str(shop.folder / 'weights')!r})\n"
    shop.write(loader=where + needing)
    async with shop.serving() as http:
        assert (await http.post("/", json={})).status_code == 503
        (shop.folder / "weights").write_text("there")
        await shop.save(words=WORDS)  # as it was

        assert (await shop.call(http))["model"] == "there"


async def test_a_start_that_nobody_waits_for_any_more_goes_on(
    shop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    generation = Generation(Target.of("app.py", shop.folder).load())
    (await generation.begin()).cancel()
    await until(lambda: generation.has_started)
    await generation.stop()

    assert generation.runtime.lifecycle.state is State.STOPPED
    assert "did not stop well" not in caplog.text


async def test_a_change_of_the_same_size_within_a_second_is_seen(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    async with shop.serving() as http:
        for word in ("hallo", "hullo", "hollo"):
            await shop.save(words=WORDS.replace("hello", word))

            assert (await shop.call(http))["said"] == f"{word} you"


async def test_what_only_init_imports_is_no_change_by_itself(shop: Workshop) -> None:
    lazy = APP.replace("import loader\n", "").replace(
        "    loader.RUNS", "    import loader\n    loader.RUNS"
    )
    shop.write(app=lazy)
    async with shop.serving() as http:
        await shop.save()
        assert runs(shop) == 1
        await shop.save(words=WORDS.replace("hello", "hi"))
        assert (await shop.call(http))["said"] == "hi you"
        assert runs(shop) == 1
        await shop.save(loader=LOADER.replace("self.name = name", "self.name = 'new'"))

        assert (await shop.call(http))["model"] == "new"

    assert runs(shop) == 2


async def test_nothing_happens_if_nothing_has_changed(shop: Workshop) -> None:
    async with shop.serving():
        before = shop.module("app")
        await shop.save(words=WORDS)

        assert shop.module("app") is before


HOLD = """
@app.handler("/hold")
async def hold(cache, json_in):
    import asyncio
    await cache["model"].gate.wait()
    return {"version": "one"}
"""
GATED = LOADER.replace("self.name = name", "self.name = name; self.gate = make()").replace(
    "class Net", "from asyncio import Event as make\nclass Net"
)


async def test_calls_in_flight_end_on_the_old_code_and_new_ones_get_the_new(
    shop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "potassium")
    shop.write(app=APP + HOLD, loader=GATED)
    async with shop.serving() as http:
        held = Exchange(shop.reloader, path="/hold")
        await until(lambda: _calls(shop) > 0)
        saved = shop.begin_save(app=APP + HOLD.replace('"one"', '"two"'))
        await until(lambda: "waiting for the calls of the old code to end: 1" in caplog.text)
        new = asyncio.ensure_future(http.post("/", json={}))
        await asyncio.sleep(0.01)
        assert not new.done()
        shop.reloader._current.app.get_cache()["model"].gate.set()

        assert b'"one"' in await held.rest_of_response()
        await saved.wait()
        assert (await new).status_code == 200
        assert (await shop.call(http, "/hold"))["version"] == "two"

    assert runs(shop) == 1


def _calls(shop: Workshop) -> int:
    services = shop.reloader._current.runtime.services
    return 0 if services is None else len(services.engine.calls)


async def test_a_stream_ends_on_the_old_code(shop: Workshop) -> None:
    stream = """
@app.handler("/stream")
def stream(cache, json_in):
    for number in range(3):
        cache["model"].gate.acquire()
        yield f"one{number}"
"""
    gated = GATED.replace("from asyncio import Event as make", "from threading import Semaphore")
    shop.write(app=APP + stream, loader=gated.replace("make()", "Semaphore(1)"))
    async with shop.serving() as http:
        reading = Exchange(shop.reloader, path="/stream", accept="application/x-ndjson")
        await reading.next()
        await reading.body()
        gate = shop.reloader._current.app.get_cache()["model"].gate
        saved = shop.begin_save(app=APP + stream.replace("one", "two"))
        await until(lambda: not shop.reloader._open.is_set())
        gate.release(3)
        rest = await reading.rest()
        await saved.wait()
        again = asyncio.ensure_future(http.post("/stream", json={}))
        gate.release(2)
        answer = await again

    assert b"one1" in rest
    assert b"one2" in rest
    assert "two2" in answer.text


async def test_a_body_on_its_way_is_not_refused(shop: Workshop) -> None:
    async with shop.serving():
        pieces: asyncio.Queue[Message] = asyncio.Queue()
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        call = asyncio.ensure_future(shop.reloader(scope(), pieces.get, send))
        pieces.put_nowait({"type": "http.request", "body": b"{", "more_body": True})
        saved = shop.begin_save(words=WORDS.replace("hello", "hi"))
        await until(lambda: not shop.reloader._open.is_set())
        pieces.put_nowait({"type": "http.request", "body": b"}", "more_body": False})
        await saved.wait()
        await call

    assert sent[0]["status"] == 200
    assert b"hello" in sent[1]["body"]


async def test_an_init_that_fails_waits_for_the_next_change(
    shop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    async with shop.serving() as http:
        await shop.save(loader=LOADER.replace("return Net(name)", "return Net(nothing)"))
        refused = await http.post("/", json={})
        assert (refused.status_code, refused.json()["code"]) == (503, "worker_failed")
        assert (await http.get("/readyz")).status_code == 503
        assert "name 'nothing' is not defined" in caplog.text
        assert not shop.reloader.has_failed

        await shop.save(words=WORDS.replace("hello", "hi"))  # tried again, and fails again
        assert (await http.post("/", json={})).status_code == 503
        await shop.save(loader=LOADER)
        assert (await shop.call(http))["said"] == "hi you"

    assert runs(shop) == 4


async def test_also_the_first_one(shop: Workshop) -> None:
    shop.write(loader=LOADER.replace("return Net(name)", "return Net(nothing)"))
    async with shop.serving() as http:
        assert (await http.post("/", json={})).status_code == 503
        await shop.save(loader=LOADER)

        assert (await shop.call(http))["model"] == "small"


async def test_calls_wait_while_the_model_is_loaded_again(shop: Workshop) -> None:
    gate = threading.Event()
    shop.write(runs="RUNS = []\nGATE = None\n")
    slow = LOADER.replace("return Net(name)", "runs.GATE.wait(); return Net('slow')")
    async with shop.serving() as http:
        shop.module("runs").GATE = gate
        saved = shop.begin_save(loader=slow.replace("from runs", "import runs\nfrom runs"))
        await until(lambda: runs(shop) == 2)
        waiting = asyncio.ensure_future(http.post("/", json={}))
        assert (await http.get("/readyz")).json()["reason"] == "starting"
        assert not waiting.done()
        gate.set()
        await saved.wait()

        assert (await waiting).json()["model"] == "slow"


async def test_the_old_model_is_gone_before_the_new_one_is_loaded(
    shop: Workshop, thaws: Callable[[], None]
) -> None:
    remembering = LOADER.replace("return Net(name)", "return remember(Net(name))").replace(
        "class Net",
        "import weakref\nimport runs\n"
        "def remember(net):\n"
        "    runs.ALIVE.append(sum(ref() is not None for ref in runs.NETS))\n"
        "    runs.NETS.append(weakref.ref(net))\n"
        "    return net\n"
        "class Net",
    )
    with_global = APP.replace(
        'return {"model": loader.load("small")',
        'global net\n    net = loader.load("small")\n    return {"model": net',
    )
    shop.write(app=with_global, loader=remembering, runs="RUNS, ALIVE, NETS = [], [], []\n")
    async with shop.serving() as http:
        await shop.call(http)
        thaws()
        gc.freeze()  # as the server does
        await shop.save(loader=remembering.replace("self.name = name", "self.name = [name]"))
        await shop.call(http)
        await shop.save(loader=remembering)
        await shop.call(http)

    assert shop.module("runs").ALIVE == [0, 0, 0]


async def test_globals_that_init_has_set_stay(shop: Workshop) -> None:
    with_global = APP.replace(
        "def init():\n", "def init():\n    global net\n    net = loader.load('g')\n"
    ).replace('"model": cache["model"].name', '"model": net.name')
    shop.write(app=with_global)
    async with shop.serving() as http:
        await shop.save(app=with_global.replace("greet(", "greet('dear ' + "))

        assert (await shop.call(http))["model"] == "g"

    assert runs(shop) == 1


async def test_an_app_without_init_is_reloaded(shop: Workshop) -> None:
    plain = 'from potassium import Potassium\napp = Potassium()\n@app.handler("/")\n'
    plain += "def handle(cache, json_in):\n    return {'said': 1, 'cache': cache}\n"
    shop.write(app=plain)
    async with shop.serving() as http:
        shop.reloader._current.app.get_cache()["kept"] = True
        await shop.save(app=plain.replace("1", "2"))

        assert await shop.call(http) == {"said": 2, "cache": {"kept": True}}


async def test_jobs_outlive_a_reload(shop: Workshop) -> None:
    kept = APP.replace('Potassium("app")', 'Potassium("app", jobs=Jobs(path="jobs.db"))').replace(
        "import Potassium", "import Jobs, Potassium"
    )
    kept = kept.replace("jobs.db", str(shop.folder / "jobs.db"))
    shop.write(app=kept)
    async with shop.serving() as http:
        submitted = await http.post("/", json={}, headers={"Prefer": "respond-async"})
        assert submitted.status_code == 202
        await shop.save(app=kept.replace('"said"', '"says"'))
        document = await http.get(submitted.headers["location"] + "?wait=5")

    assert document.status_code == 200


async def test_modules_given_to_optimize_stay_known(shop: Workshop) -> None:
    pytest.importorskip("torch")
    with_module = APP.replace(
        "def init():\n", "def init():\n    import torch\n    app.optimize(torch.nn.Linear(1, 1))\n"
    )
    shop.write(app=with_module)
    async with shop.serving() as http:
        before = list(shop.reloader._current.app.optimized)
        await shop.save(words=WORDS.replace("hello", "hi"))
        await shop.call(http)

        assert len(before) == 1
        assert shop.reloader._current.app.optimized == before


async def test_a_version_that_cannot_be_prepared_leaves_the_old_code_serving(
    shop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    def prepare(app: Potassium) -> None:
        if app.name == "bad":
            raise UsageError("not this one")

    async with shop.serving(prepare=prepare) as http:
        await shop.save(app=APP.replace('Potassium("app")', 'Potassium("bad")'))
        assert (await shop.call(http))["said"] == "hello you"
        assert "not this one" in caplog.text
        await shop.save(app=APP.replace("greet(", "greet('dear ' + "))

        assert (await shop.call(http))["said"] == "hello dear you"


async def test_if_files_cannot_be_watched_the_server_says_so_and_goes_on(
    shop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    async def none() -> AsyncIterator[None]:
        raise OSError("inotify watch limit reached")
        yield

    shop.changes = none  # type: ignore[method-assign]
    async with shop.serving() as http:
        await until(lambda: "changes are not noticed any more" in caplog.text)

        assert (await shop.call(http))["said"] == "hello you"


async def test_an_old_version_that_does_not_stop_well_is_replaced_all_the_same(
    shop: Workshop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object) -> None:
        raise OSError("disk full")

    async with shop.serving() as http:
        services = shop.reloader._current.runtime.services
        assert services is not None
        monkeypatch.setattr(services.webhooks, "close", partial(fail, None))
        await shop.save(words=WORDS.replace("hello", "hi"))

        assert (await shop.call(http))["said"] == "hi you"
    assert "disk full" in caplog.text


async def test_no_change_is_taken_while_the_server_stops(shop: Workshop) -> None:
    async with shop.serving():
        before = shop.module("app")
        watching = next(one for one in asyncio.all_tasks() if one.get_name() == "potassium-reload")
        shop.reloader.drain()
        shop.begin_save(words=WORDS.replace("hello", "hi"))
        await asyncio.wait_for(watching, 5)

        assert shop.module("app") is before


async def test_all_versions_have_one_thread_for_the_model(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = asyncio.Event()
    others: list[asyncio.Future[None]] = []
    stop = Generation.stop

    async def occupy() -> None:
        await anyio.to_thread.run_sync(anyio.from_thread.run, busy.wait)

    async def stop_and_take_idle_threads(generation: Generation) -> None:
        await stop(generation)
        others.extend(asyncio.ensure_future(occupy()) for _ in range(10))
        await asyncio.sleep(0)

    async with shop.serving() as http:
        await shop.call(http)
        monkeypatch.setattr(Generation, "stop", stop_and_take_idle_threads)
        await shop.save(words=WORDS.replace("hello", "hi"))

        assert (await shop.call(http))["same_thread"]
        monkeypatch.undo()
        busy.set()
        await asyncio.gather(*others)


async def test_if_a_reload_fails_half_way_calls_are_answered_all_the_same(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: object, __: float) -> None:
        raise OSError("by the test")

    monkeypatch.setattr(Generation, "settle", fail)
    async with shop.serving() as http:
        shop.begin_save(words=WORDS.replace("hello", "hi"))
        await until(lambda: "by the test" in caplog.text)

        assert (await shop.call(http))["said"] == "hello you"


async def test_a_worker_that_fails_ends_the_server(shop: Workshop) -> None:
    async with shop.serving():
        services = shop.reloader._current.runtime.services
        assert services is not None
        services.engine.fail("the test says so")

        assert shop.reloader.has_failed
