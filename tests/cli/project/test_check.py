"""``potassium check``."""

import builtins
import importlib.util
import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from cli.project.conftest import Type, Typed

HEAD = """\
from pydantic import BaseModel
from potassium import ApiKeys, Batch, Jobs, Limits, Potassium, Request, Webhooks
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

class Item(BaseModel):
    text: str

async def page(request):
    return PlainTextResponse("")

"""

ECHO = """
@app.handler("/echo")
def echo(cache, item: Item) -> Item:
    return item
"""


class Checker:
    def __init__(self, folder: Path, type_: Type) -> None:
        self.folder = folder
        self._type = type_

    def write(self, source: str, *, app: str = "Potassium('shop')", name: str = "app.py") -> None:
        text = f"{HEAD}app = {app}\n{textwrap.dedent(source)}"
        (self.folder / name).write_text(text)

    def check(self, *arguments: str) -> Typed:
        return self._type("check", *arguments)

    def report(self, source: str, **options: Any) -> dict[str, Any]:
        """Return what is found in an app, as JSON."""
        self.write(source, **options)
        report: dict[str, Any] = json.loads(self.check("--json").out)
        return report

    def findings(self, source: str, **options: Any) -> list[tuple[str, str, str]]:
        found = self.report(source, **options)["findings"]
        return [(one["level"], one["about"], one["why"]) for one in found]


@pytest.fixture
def checker(folder: Path, type_: Type) -> Checker:
    return Checker(folder, type_)


def test_a_sound_app_has_a_row_for_each_handler(checker: Checker) -> None:
    checker.write(
        ECHO
        + """
from collections.abc import Iterator

@app.handler("/batch", batch=Batch(max_size=8), timeout=5)
def several(cache, items: list[Item]) -> list[float]:
    return [1.0 for _ in items]

@app.handler("/chat", methods=["GET", "POST"], streams=4)
def chat(cache, item: Item) -> Iterator[str]:
    yield item.text

def read(item: Item) -> str:
    return item.text

@app.background("/train", prepare=read)
def train(cache, text):
    return {}

@app.handler("/ask")
async def ask(cache, request: Request): ...
"""
    )

    typed = checker.check()

    assert typed.status == 0
    assert typed.out.replace("batch=Batch(max_size=8), ", "").splitlines() == [
        "shop, in app.py",
        "",
        "PATH            FUNCTION  RUNS                   TAKES    RETURNS        OPTIONS",
        "POST /echo      echo      GPU thread             Item     Item           -",
        "POST /batch     several   GPU thread in batches  Item     float          timeout=5",
        "GET POST /chat  chat      GPU thread in streams  Item     stream of str  streams=4",
        "POST /train     train     job, GPU thread        Item     -              prepare=read",
        "POST /ask       ask       event loop             Request  -              -",
        "",
        "No problems.",
    ]


def test_init_does_not_run(checker: Checker) -> None:
    typed_status = checker.report(
        ECHO + "\n@app.init\ndef init():\n    raise RuntimeError('the model was loaded')\n"
    )

    assert typed_status["ok"]


def test_problems_make_the_status_1_and_notes_do_not(checker: Checker) -> None:
    checker.write(ECHO, app="Potassium('shop', jobs=Jobs(path=None))")
    assert checker.check().status == 0
    assert "No problems, 1 note.\n" in checker.check().out

    checker.write("")
    typed = checker.check()
    assert typed.status == 1
    assert "problem registration  There is nothing to serve" in typed.out
    assert typed.out.endswith("\n1 problem.\n")


def test_json_has_all_that_the_table_has(checker: Checker) -> None:
    report = checker.report(ECHO, app="Potassium('shop', jobs=Jobs(path=None))")

    assert report == {
        "app": "shop",
        "file": "app.py",
        "handlers": [
            {
                "path": "POST /echo",
                "function": "echo",
                "runs": "GPU thread",
                "takes": "Item",
                "returns": "Item",
                "options": "",
            }
        ],
        "findings": [
            {
                "level": "note",
                "about": "jobs",
                "why": "Background jobs are kept in memory, and lost with the process.",
                "fix": None,
            }
        ],
        "ok": True,
    }


def test_what_the_module_prints_does_not_get_into_the_json(checker: Checker) -> None:
    checker.write(ECHO + "print('hello')")

    typed = checker.check("--json")

    assert json.loads(typed.out)["ok"]
    assert typed.err == "hello\n"


@pytest.mark.parametrize("serving", ["app.serve()", "import uvicorn; uvicorn.run(app)"])
def test_an_app_that_serves_when_it_is_imported_does_not(checker: Checker, serving: str) -> None:
    """It is told at which line, instead of serving there and then."""
    report = checker.report(ECHO + serving)

    (found,) = report["findings"]
    line = len((checker.folder / "app.py").read_text().splitlines())
    assert (found["level"], found["about"]) == ("problem", "import")
    assert found["why"].startswith(f"app.py:{line} serves as soon as the module is imported")
    assert '__name__ == "__main__":' in found["fix"]
    assert report["handlers"]


def test_an_app_that_serves_only_as_a_program_is_right(checker: Checker) -> None:
    assert checker.findings(ECHO + "if __name__ == '__main__':\n    app.serve()") == []


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import missing_library", "No module named 'missing_library'"),
        ("def f(:", "SyntaxError"),
        ("@app.handler('/healthz')\ndef f(cache, x): ...", "one of the server's own pages"),
        ("@app.handler\ndef f(): ...", "cannot be a handler: its signature is ()"),
        ("@app.handler(concurrency=2)\ndef f(cache, x): ...", "is for async def handlers"),
        ("@app.handler(timout=2)\ndef f(cache, x): ...", "timout"),
        ("@app.result_webhook('ftp://x')\ndef f(cache, x): ...", "write an http or https URL"),
        ("raise SystemExit(3)", "ends the process when it is imported, with status 3"),
    ],
)
def test_a_module_that_cannot_be_imported_is_a_problem(
    checker: Checker, source: str, why: str
) -> None:
    """The lines that led to it are the user's own."""
    report = checker.report(source)

    (found,) = report["findings"]
    assert found["level"] == "problem"
    assert why in found["why"]
    assert "potassium/handlers" not in found["why"]
    assert report["app"] is None
    assert not report["ok"]


def test_an_app_that_is_not_there_is_a_wrong_command(type_: Type) -> None:
    typed = type_("check", "nothere.py")

    assert typed.status == 2
    assert typed.err.startswith("Error: There is no file")


def test_a_webhook_without_a_handler_is_found(checker: Checker) -> None:
    source = ECHO + "@app.result_webhook('https://example.com')\ndef f(cache, x): ..."

    assert "f has @app.result_webhook but no @app.handler" in checker.findings(source)[0][2]


@pytest.mark.parametrize(
    ("app", "source", "level", "about", "why"),
    [
        (
            "Potassium()",
            "@app.handler('/x', timeout=1, batch=Batch(max_delay=2))\ndef f(cache, items): ...",
            "problem",
            "/x",
            "timeout=1 is over before max_delay=2",
        ),
        (
            "Potassium(limits=Limits(hang_timeout=5))",
            "@app.handler('/x', timeout=10)\ndef f(cache, item): ...",
            "problem",
            "/x",
            "after Limits(hang_timeout=5)",
        ),
        (
            "Potassium()",
            "@app.handler('/x', timeout=60)\ndef f(cache, item): ...",
            "note",
            "/x",
            "has only Limits(grace_period=30)",
        ),
        (
            "Potassium()",
            "@app.handler('/x', streams=2)\ndef f(cache, item): ...",
            "note",
            "/x",
            "streams=2 is for generators",
        ),
        (
            "Potassium(webhooks=Webhooks(client_urls=True))",
            ECHO,
            "note",
            "webhooks",
            "client_urls=True does nothing",
        ),
        (
            "Potassium(api_keys=ApiKeys(['key'], open_paths=['/dosc']))",
            ECHO,
            "note",
            "api_keys",
            "open_paths has /dosc, but there is no such path",
        ),
        (
            "Potassium()",
            "@app.handler('/x')\ndef f(cache, item): return cache['model']",
            "problem",
            "init",
            "There is no @app.init, but /x uses the cache",
        ),
        (
            "Potassium(routes=[Route('/healthz', page)])",
            ECHO,
            "problem",
            "routes",
            "GET /healthz is never reached: GET HEAD /healthz (live) comes first",
        ),
        (
            "Potassium(jobs=Jobs(path=None), routes=[Mount('/', page)])",
            ECHO,
            "problem",
            "routes",
            "are never reached: what is mounted at / comes first",
        ),
        ("Potassium(jobs=Jobs(path='.'))", ECHO, "problem", "jobs", ". is a folder"),
        (
            "Potassium(jobs=Jobs(path='/proc/jobs/x.db'))",
            ECHO,
            "problem",
            "jobs",
            "/proc/jobs/x.db cannot be written",
        ),
    ],
)
def test_what_cannot_work_together_is_found(  # noqa: PLR0913, PLR0917 - one for each column
    checker: Checker, app: str, source: str, level: str, about: str, why: str
) -> None:
    found = checker.findings(source, app=app)

    assert [(one[0], one[1]) for one in found if why in one[2]] == [(level, about)], found


@pytest.mark.parametrize(
    ("app", "source"),
    [
        ("Potassium(limits=Limits(hang_timeout=20))", "timeout=10"),
        ("Potassium(limits=Limits(grace_period=60))", "timeout=60"),
        ("Potassium()", "timeout=1, batch=Batch(max_delay=0.5)"),
        ("Potassium(api_keys=ApiKeys(['k'], open_paths=['/x', '/docs', '/healthz']))", ""),
        ("Potassium(routes=[Route('/own', page), Route('/own', page, methods=['POST'])])", ""),
        ("Potassium(routes=[Route('/jobs/{id:int}/{x:uuid}', page), Mount('/files', page)])", ""),
        ("Potassium(jobs=Jobs(path='new/folder/jobs.db'))", ""),
    ],
)
def test_what_works_together_is_not(checker: Checker, app: str, source: str) -> None:
    handler = f"@app.handler('/x', {source})\ndef f(cache, items): ..."

    assert checker.findings(handler, app=app) == []
    assert not (checker.folder / "new").exists()


def test_a_cache_that_is_filled_by_hand_is_not_empty(checker: Checker) -> None:
    source = "@app.handler('/x')\ndef f(cache, item): return cache['model']\n"

    assert checker.findings(source + "app.set_cache({'model': 1})") == []


def test_a_handler_that_streams_has_streams(checker: Checker) -> None:
    source = "@app.handler('/x', streams=2)\ndef f(cache, item): yield 1"

    assert checker.findings(source) == []


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("https://example.com/x", "jobs=Jobs(path=None), webhooks=Webhooks(secret=SECRET)", []),
        (
            "http://user:password@example.com/x",
            "jobs=Jobs(path=None), webhooks=Webhooks(secret=SECRET)",
            ["Its results go to example.com unencrypted."],
        ),
        (
            "http://127.0.0.1:9000/x",
            "jobs=Jobs(path=None), webhooks=Webhooks(secret=SECRET)",
            ["Its results go to 127.0.0.1, which is the machine, or the container, of the server."],
        ),
        (
            "https://example.com/x",
            "jobs=Jobs(path=None)",
            ["Results are posted without a signature, so receivers cannot tell who sent them."],
        ),
        (
            "https://example.com/x",
            "webhooks=Webhooks(secret=SECRET)",
            ["Results that are still to be posted are kept in memory, and lost with the process."],
        ),
    ],
)
def test_receivers_of_results_are_looked_at(
    checker: Checker, url: str, options: str, expected: list[str]
) -> None:
    options = options.replace("SECRET", "'whsec_' + 'QUFB' * 8")
    found = checker.findings(
        f"{ECHO}\napp.result_webhook({url!r})(echo)", app=f"Potassium({options})"
    )

    assert [one[2] for one in found if not one[2].startswith("Background jobs")] == expected
    assert "password" not in checker.check().out


def test_a_type_that_is_nowhere_defined_is_found(checker: Checker) -> None:
    found = checker.findings(
        """
        class Order(BaseModel):
            lines: "list[Line]"

        @app.handler("/order")
        def order(cache, sent: Order) -> Item: ...

        @app.handler("/orders")
        def orders(cache, sent: Item) -> Order: ...
        """
    )

    assert [one[:2] for one in found] == [("problem", "/order"), ("note", "/orders")]
    assert "name 'Line' is not defined" in found[0][2]
    assert "The schema does not say what it returns" in found[1][2]


def test_a_type_that_is_defined_below_is_right(checker: Checker) -> None:
    source = """
        class Order(BaseModel):
            lines: "list[Line]"

        @app.handler("/order")
        def order(cache, sent: Order) -> Order: ...

        class Line(BaseModel):
            name: str
        """

    assert checker.findings(source) == []


def test_a_schema_that_cannot_be_made_is_found(checker: Checker) -> None:
    source = ECHO + "\ndef broken():\n    raise TypeError('no schema')\n\napp.openapi = broken\n"

    ((level, about, why),) = checker.findings(source)

    assert (level, about) == ("problem", "schema")
    assert "TypeError: no schema" in why


def test_an_async_handler_that_uses_torch_is_found(checker: Checker) -> None:
    source = """
        import torch

        @app.handler("/inner")
        async def inner(cache, item: Item):
            def run():
                return torch.zeros(1)
            return run()

        @app.handler("/other")
        async def other(cache, item: Item): return 1

        @app.handler("/plain")
        def plain(cache, item: Item): return torch.zeros(1)
        """

    ((level, about, why),) = checker.findings(source)

    assert (level, about) == ("note", "/inner")
    assert "inner is async and uses torch" in why


def test_a_model_that_is_loaded_by_the_import_is_found(checker: Checker) -> None:
    source = f"import torch\n{ECHO}\nmodel = torch.nn.Linear(1, 1)\nClass = torch.nn.Linear\n"

    ((level, about, why),) = checker.findings(source)

    assert (level, about) == ("note", "import")
    assert why == "model: every import of the module loads a model."


def test_an_import_that_initializes_cuda_is_found(
    checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch  # noqa: PLC0415 - to pretend that there is a GPU

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)

    ((level, about, why),) = checker.findings(ECHO)

    assert (level, about) == ("problem", "import")
    assert "The import has initialized CUDA" in why


@pytest.mark.parametrize(
    ("name", "level"), [("torch.py", "problem"), ("queue.py", "note"), ("test.py", None)]
)
def test_a_file_that_hides_a_library_is_found(
    checker: Checker, name: str, level: str | None
) -> None:
    (checker.folder / name).write_text("")

    found = [one for one in checker.findings(ECHO) if name in one[2]]

    assert [one[0] for one in found] == ([level] if level else [])


def test_a_file_that_hides_a_library_is_found_even_if_that_breaks_the_import(
    checker: Checker,
) -> None:
    (checker.folder / "numpy.py").write_text("")

    found = checker.findings("from nowhere import nothing")

    assert [one[:2] for one in found] == [("problem", "import"), ("problem", "import")]
    assert "numpy.py is beside the app" in found[0][2]


def test_an_extra_that_is_missed_only_later_is_found(
    checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app is imported without it, and would fail when it starts, or at the first request."""
    checker.write(
        """
        from potassium import File

        class Form(BaseModel):
            file: "Upload"

        @app.handler("/upload")
        def upload(cache, form: Form): ...

        Upload = File
        """,
        app="Potassium(jobs=Jobs(), traces=True)",
    )
    find, extras = importlib.util.find_spec, "potassium.project.checks.extras"
    hidden = ("aiosqlite", "opentelemetry.sdk")
    monkeypatch.setattr(f"{extras}.find_spec", lambda name: None if name in hidden else find(name))
    monkeypatch.setattr(f"{extras}.can_parse", lambda: False)

    found = json.loads(checker.check("--json").out)["findings"]

    assert [(one["level"], one["about"]) for one in found] == [
        ("problem", "jobs"),
        ("problem", "/upload"),
        ("note", "traces"),
    ]
    assert 'pip install "potassium[jobs]"' in found[0]["fix"]
    assert found[1]["fix"] == 'pip install "potassium[files]"'


def test_jobs_in_a_database_need_its_driver_and_no_file(
    checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither aiosqlite nor a folder: nothing is said of these, nor of a store of one's own."""
    find, extras = importlib.util.find_spec, "potassium.project.checks.extras"
    monkeypatch.setattr("potassium.project.checks.storage.why_not_writable", lambda _: "no")
    app = "Potassium(jobs=Jobs(url='postgresql://app:secret@db.test/models'))"
    hidden = {"aiosqlite"}
    monkeypatch.setattr(f"{extras}.find_spec", lambda name: None if name in hidden else find(name))
    assert checker.findings(ECHO, app=app) == []
    hidden.add("psycopg")
    assert checker.findings(ECHO, app=app) == [
        ("problem", "jobs", "Jobs(url=...) needs psycopg, which is not installed.")
    ]


def test_an_extra_that_the_import_needs_is_named(
    checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_pillow(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "PIL":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delattr("potassium.Image")  # which imports it, if nobody has
    for name in [name for name in sys.modules if name.partition(".")[0] == "PIL"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "potassium.media.image")
    monkeypatch.setattr(builtins, "__import__", without_pillow)

    ((level, _, why),) = checker.findings("from potassium import Image")

    assert level == "problem"
    assert 'pip install "potassium[images]"' in why


def test_a_file_of_jobs_that_is_read_only_is_found(
    checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checker.folder / "jobs.db").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)

    found = checker.findings(ECHO, app="Potassium(jobs=Jobs(path='jobs.db'))")

    assert found == [("problem", "jobs", "jobs.db cannot be written.")]


def test_a_warm_up_that_a_handler_does_not_take_is_found(checker: Checker) -> None:
    source = """
        @app.handler("/good", warmup=[{"text": "a"}, {"text": "b"}])
        def good(cache, item: Item): ...

        @app.handler("/wrong", warmup={"txt": "a"})
        def wrong(cache, item: Item): ...

        @app.handler("/made", warmup=lambda: {"text": 1})
        def made(cache, item: Item): ...
        """

    wrong, made = checker.findings(source)

    assert wrong[:2] == ("problem", "/wrong")
    assert wrong[2].startswith("Its warmup= is not a valid input: text: Field required")
    assert made[:2] == ("problem", "/made")


def test_a_warm_up_that_needs_the_model_is_worth_a_note(checker: Checker) -> None:
    source = """
        @app.handler("/made", warmup=lambda: {"text": MODEL.vocabulary[0]})
        def made(cache, item: Item): ...
        """

    ((level, about, why),) = checker.findings(source)

    assert (level, about) == ("note", "/made")
    assert "NameError" in why
