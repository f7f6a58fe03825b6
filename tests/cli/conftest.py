"""Fixtures for tests of the commands: a real server, and what runs a command in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from e2e.server import free_port as find_free_port
from pydantic import BaseModel
from support.serving import serving

from potassium import File, HTTPException, Jobs, Potassium, Request, Response
from potassium.cli.main import cli

Run = Callable[..., Result]


class Inner(BaseModel):
    share: float = 0.0


class Item(BaseModel):
    text: str
    count: int = 1
    share: float = 0.5
    yes: bool = False
    tags: list[int] = []
    inner: Inner | None = None
    maybe: int | None = None
    note: str | None = None
    either: str | int = ""


class Upload(BaseModel):
    file: File
    others: list[File] = []
    title: str = "none"


def new_app(**options: Any) -> Potassium:
    """Return an app with handlers of the kinds that commands tell apart."""
    app = Potassium("tested", jobs=Jobs(path=None), **options)
    add_handlers_of_inputs(app)
    add_handlers_with_results(app)
    return app


def add_handlers_of_inputs(app: Potassium) -> None:
    @app.handler("/typed")
    def typed(cache: Any, item: Item) -> dict[str, Any]:
        return item.model_dump()

    @app.handler("/echo")
    def echo(cache: Any, request: Request) -> Response:
        kind = request.headers["content-type"]
        headers = {"Content-Type": "application/json", "X-Had": request.headers.get("x-own", "")}
        if kind == "application/json":
            return Response(body=request.body, headers=headers)
        return Response(json={"type": kind, "size": len(request.body)})

    @app.handler("/headers")
    def headers(cache: Any, request: Request) -> dict[str, str]:
        return dict(request.headers)

    @app.handler("/upload")
    def upload(cache: Any, item: Upload) -> dict[str, Any]:
        sizes = [len(file.read()) for file in (item.file, *item.others)]
        return {"sizes": sizes, "title": item.title, "name": item.file.name}


def add_handlers_with_results(app: Potassium) -> None:
    @app.handler("/words")
    def words(cache: Any, json_in: dict[str, Any]) -> Iterator[str]:
        yield from ("Once", " upon\n", "a time")
        if json_in.get("fails"):
            raise ValueError

    @app.handler("/objects")
    def objects(cache: Any, json_in: dict[str, Any]) -> Iterator[Any]:
        yield {"n": 1}
        yield "text"

    @app.handler("/binary")
    def binary(cache: Any, json_in: dict[str, Any]) -> bytes:
        return b"\x00\xff\x1b"

    @app.handler("/refuses")
    def refuses(cache: Any, json_in: dict[str, Any]) -> None:
        raise HTTPException(503, "Not now.", {"Retry-After": "7"})

    @app.background("/train")
    def train(cache: Any, request: Request) -> Any:
        request.progress(0.25, "first\nquarter")
        if request.json.get("fails"):
            raise ValueError
        if request.json.get("binary"):
            return b"\x00\xff\x1b"
        return {"loss": 0.1}


@pytest.fixture
def url() -> Iterator[str]:
    """Yield the URL of a server, without a scheme."""
    with serving(new_app(), lifespan="on") as (_, (host, port)):
        yield f"{host}:{port}"


@pytest.fixture
def free_port() -> int:
    return find_free_port()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command in an empty folder, without a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POTASSIUM_API_KEY", raising=False)

    def run(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(cli, arguments, prog_name="potassium", **options)

    return run
