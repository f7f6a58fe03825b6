"""``warmup=`` with ``--reload``: handlers are run when the model is loaded, not for each change."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.reload import Workshop, imports_of

SOURCE = """
from potassium import Potassium

app = Potassium("warm", workers={workers})


@app.init
def init():
    return {{"model": {model}, "warmed": []}}


@app.handler("/", warmup={{"by": "warm-up"}})
def handle(cache: dict, json_in: dict) -> list:
    cache["warmed"].append([json_in["by"], {code}])
    return cache["warmed"]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with imports_of(tmp_path):
        yield Workshop(tmp_path)


def source(model: int, code: int, workers: str = "None") -> str:
    return SOURCE.format(model=model, code=code, workers=workers)


@pytest.mark.parametrize("workers", ["None", "['cpu', 'cpu']"])
async def test_handlers_are_run_when_the_model_is_loaded(shop: Workshop, workers: str) -> None:
    """A change of the handler alone keeps the model, which is warm; one of ``init`` does not."""
    shop.write(app=source(1, 1, workers))
    async with shop.serving() as http:
        seen = [["warm-up", 1], ["a", 1]]
        assert await shop.call(http, by="a") == seen
        await shop.save(app=source(1, 2, workers))
        assert await shop.call(http, by="b") == [*seen, ["b", 2]]
        await shop.save(app=source(2, 3, workers))
        assert await shop.call(http, by="c") == [["warm-up", 3], ["c", 3]]
