"""The device that ``init`` is told."""

import functools
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from potassium import Potassium, UsageError
from potassium.serving.composition import parts_of
from potassium.testing import client

Told = list[object]


async def told(app: Potassium, init: Callable[..., Any], seen: Told) -> object:
    """Return what ``init`` has put into ``seen`` once the app has started."""
    app.init(init)
    app.handler(lambda cache, json_in: {})
    async with client(app):
        (one,) = seen
    return one


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch see a GPU."""
    available = SimpleNamespace(is_available=lambda: True, is_initialized=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=available))


def forms(seen: Told) -> dict[str, Callable[..., Any]]:
    def of_any_name(where: str) -> None:
        seen.append(where)

    def of_position(where: str, /) -> None:
        seen.append(where)

    def of_keyword(*, device: str) -> None:
        seen.append(device)

    def beside_a_default(name: str = "bert", *rest: object, device: str, **more: object) -> None:
        assert (name, rest, more) == ("bert", (), {})
        seen.append(device)

    return {
        "any name": of_any_name,
        "position": of_position,
        "keyword": of_keyword,
        "default": beside_a_default,
        "partial": functools.partial(beside_a_default, "bert"),
    }


@pytest.mark.parametrize("form", forms([]))
@pytest.mark.usefixtures("cuda")
async def test_init_is_told_its_device(app: Potassium, form: str) -> None:
    """In its only required argument, whatever its name, or in the one called ``device``."""
    seen: Told = []
    assert await told(app, forms(seen)[form], seen) == "cuda:0"


async def test_a_process_without_an_accelerator_is_told_cpu(
    app: Potassium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    seen: Told = []
    assert await told(app, seen.append, seen) == "cpu"


async def test_a_worker_is_told_its_own(app: Potassium) -> None:
    """Whatever the process sees, and even where the parameter has a default."""
    seen: Told = []

    def init(device: str = "cuda:7") -> None:
        seen.append(device)

    parts_of(app).init.device = "npu:0"
    assert await told(app, init, seen) == "npu:0"


@pytest.mark.usefixtures("cuda")
async def test_a_default_stays_in_the_only_process(app: Potassium) -> None:
    seen: Told = []

    def init(device: str = "cuda:7") -> None:
        seen.append(device)

    assert await told(app, init, seen) == "cuda:7"


@pytest.mark.usefixtures("cuda")
async def test_init_without_an_argument_is_told_nothing(app: Potassium) -> None:
    seen: Told = []

    def init(name: str = "bert", *more: object, **rest: object) -> None:
        seen.append((name, more, rest))

    parts_of(app).init.device = "cuda:0"
    assert await told(app, init, seen) == ("bert", (), {})


def two(device: str, path: str) -> None: ...


def number(rank: int) -> None: ...


def text(cache: "dict[str, Any]") -> None: ...


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (two, r"init\(device, path\): init takes no arguments, or only its device"),
        (number, r"init\(rank\): what init gets is its device"),
        (text, r"init\(cache\): what init gets is its device"),
        (lambda context: None, r"init\(context\): .* write def init\(device: str\)"),
    ],
)
def test_other_arguments_are_a_mistake(
    app: Potassium, init: Callable[..., Any], message: str
) -> None:
    """The message shows the right form."""
    with pytest.raises(UsageError, match=message):
        app.init(init)


def test_accelerators_are_looked_for_only_where_somebody_asks() -> None:
    """An app whose ``init`` takes nothing imports nothing for them, nor for workers."""
    code = """
import asyncio, sys
from potassium import Potassium
app = Potassium("server")

@app.init
def init({}):
    return {{}}

async def main():
    async with app.lifespan():
        found = [name for name in sys.modules if name.startswith(("potassium.acc", "potassium.wo"))]
        print(bool(found), "torch" in sys.modules)

asyncio.run(main())
"""
    said = {
        argument: subprocess.run(
            [sys.executable, "-c", code.format(argument)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for argument in ("", "device")
    }
    assert said == {"": "False False\n", "device": "True False\n"}
