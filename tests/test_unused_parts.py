"""What an app costs that does not use the optional parts."""

import subprocess
import sys

import pytest

APP = """
import asyncio
import sys

from potassium import Potassium

app = Potassium("server")


@app.handler("/")
def handler(cache, json_in):
    return {}


@app.handler("/stream", streams=2)
def stream(cache, json_in):
    yield 1


async def main():
    async with app.lifespan():
        assert await app.call("/", {}) == {}
        assert [chunk async for chunk in app.stream("/stream", {})] == [1]


asyncio.run(main())
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def imported() -> list[str]:
    """Return the modules of a process whose app has started, run calls and stopped."""
    ran = subprocess.run(
        [sys.executable, "-c", APP], check=True, capture_output=True, text=True, timeout=60
    )
    return ran.stdout.split()


@pytest.mark.parametrize("part", ["potassium.workers", "potassium.openai", "potassium.text"])
def test_an_app_imports_nothing_of_a_part_that_it_does_not_use(
    imported: list[str], part: str
) -> None:
    assert "potassium.app" in imported
    assert [name for name in imported if name == part or name.startswith(f"{part}.")] == []


def test_shared_steps_alone_import_no_decoder() -> None:
    """They are for any model: with ``step=``, nothing of ``potassium.text``, and no torch."""
    app = APP.replace("streams=2", "streams=2, step=lambda rows: rows")
    ran = subprocess.run(
        [sys.executable, "-c", app], check=True, capture_output=True, text=True, timeout=60
    )
    names = ran.stdout.split()
    assert "potassium.handlers.shared_step" in names
    assert not {"potassium.text", "potassium.openai", "torch", "transformers"} & set(names)
