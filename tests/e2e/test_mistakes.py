"""Mistakes fail when they are made, with a message that says what to write instead."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from potassium import Limits, Potassium, PotassiumError, Response

Handler = Callable[..., Any]


def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return {}


class NoSchema:
    """A type that pydantic cannot validate."""


def nothing() -> None: ...
def only_the_cache(cache: dict[str, Any]) -> None: ...
def three_arguments(cache: dict[str, Any], json_in: dict[str, Any], more: int) -> None: ...
def a_keyword(cache: dict[str, Any], json_in: dict[str, Any], *, more: int) -> None: ...
def no_schema(cache: dict[str, Any], what: NoSchema) -> None: ...


@pytest.fixture
def app() -> Potassium:
    return Potassium("server")


@pytest.fixture
async def started(app: Potassium) -> AsyncIterator[Potassium]:
    app.handler(handler)
    async with app.lifespan(app):
        yield app


def test_a_second_init_is_refused(app: Potassium) -> None:
    """An app has one ``@app.init``, and the message names it."""
    app.init(nothing)
    with pytest.raises(PotassiumError, match=r"@app\.init"):
        app.init(nothing)


@pytest.mark.parametrize(("first", "second"), [("/foo", "/foo"), ("foo", "/foo"), ("/foo", "foo")])
def test_a_second_handler_on_one_path_is_refused(app: Potassium, first: str, second: str) -> None:
    """A path is the same with and without its slash, and the message names it."""
    app.handler(first)(handler)
    with pytest.raises(PotassiumError, match="/foo"):
        app.handler(second)(handler)


def test_a_second_bare_handler_is_refused(app: Potassium) -> None:
    """A bare ``@app.handler`` and ``@app.handler("/")`` have the same path."""
    app.handler(handler)
    with pytest.raises(PotassiumError):
        app.handler("/")(handler)


@pytest.mark.parametrize(
    "function", [nothing, only_the_cache, three_arguments, a_keyword, no_schema]
)
def test_a_signature_that_cannot_be_bound_is_refused(app: Potassium, function: Handler) -> None:
    """The message shows the correct signature."""
    with pytest.raises(PotassiumError, match=r"def handler\(cache: dict, json_in: dict\)"):
        app.handler(function)


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/_k/status", "/__status__", "/_k/warmup", "healthz"]
)
def test_a_handler_on_a_path_of_the_servers_own_is_refused(app: Potassium, path: str) -> None:
    """The paths of the operator's pages cannot be taken."""
    with pytest.raises(PotassiumError, match=path):
        app.handler(path)(handler)


def test_serving_without_a_handler_is_refused(app: Potassium) -> None:
    """``app.serve()`` names the decorator that is missing."""
    with pytest.raises(PotassiumError, match=r"@app\.handler"):
        app.serve()


@pytest.mark.parametrize("json", [{}, None])
def test_a_response_with_json_and_body_is_refused(json: object) -> None:
    """A ``Response`` has either JSON or a body, and the message names both."""
    with pytest.raises(PotassiumError, match=r"(?s)json.*body"):
        Response(json=json, body=b"")


async def test_a_handler_after_the_start_is_refused(started: Potassium) -> None:
    """``@app.handler`` must come before the app starts."""
    with pytest.raises(PotassiumError, match="start"):
        started.handler("/late")(handler)


async def test_an_init_after_the_start_is_refused(started: Potassium) -> None:
    """``@app.init`` must come before the app starts."""
    with pytest.raises(PotassiumError, match="start"):
        started.init(nothing)


@pytest.mark.parametrize("size", [0, -1])
def test_a_queue_without_room_is_refused(size: int) -> None:
    """Limits are validated when they are created, and the message names the invalid one."""
    with pytest.raises(PotassiumError, match="queue_size"):
        Limits(queue_size=size)


@pytest.mark.parametrize("model", ["model", None, {"model": 1}])
def test_optimizing_what_is_no_module_is_refused(app: Potassium, model: object) -> None:
    """``app.optimize`` takes torch modules and raises ``TypeError`` for anything else."""
    with pytest.raises(TypeError):
        app.optimize(model)


def test_optimizing_what_is_no_module_imports_no_torch() -> None:
    """The check does not import torch into an app that does not use it."""
    source = """
import sys
from potassium import Potassium
try:
    Potassium("server").optimize("model")
except TypeError:
    sys.exit("torch" in sys.modules)
sys.exit("accepted")
"""
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0
