"""What counts as the source of an ``init``, however it is given to the app."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.reload import Workshop, imports_of

HANDLER = """
@app.handler("/")
def handle(cache: dict, json_in: dict) -> dict:
    return cache["model"]
"""
HEAD = "from functools import partial\nfrom potassium import Potassium\napp = Potassium('app')\n"
TIMED = """
def timed(function):
    def run():
        return function()
    return run
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with imports_of(tmp_path):
        yield Workshop(tmp_path)


@pytest.mark.parametrize(
    "init",
    [
        "def load(): return {'model': 1}\napp.init(load)",
        "def load(size): return {'model': size}\napp.init(partial(load, 1))",
        "def load(size): return {'model': size}\nSIZE = 1\napp.init(partial(load, SIZE))",
        "app.init(lambda: {'model': 1})",
        TIMED + "@app.init\n@timed\ndef init(): return {'model': 1}",
        TIMED + "def init(): return {'model': 1}\ninit = timed(init)\napp.init(init)",
        "class Loader:\n    def load(self): return {'model': 1}\napp.init(Loader().load)",
        (
            "class Loader:\n    def __init__(self, size): self.size = size\n"
            "    def load(self): return {'model': self.size}\napp.init(Loader(1).load)"
        ),
        "class Loader:\n    def __call__(self): return {'model': 1}\napp.init(Loader())",
        (
            "def sized(size):\n    def around(function):\n"
            "        return lambda: {**function(), 'model': size}\n    return around\n"
            "@app.init\n@sized(1)\ndef init(): return {}"
        ),
        "MODELS = {}\nMODELS['a'] = 1\n@app.init\ndef init(): return {'model': MODELS['a']}",
        "class Config: pass\nConfig.size = 1\n@app.init\ndef init(): return {'model': Config.size}",
        "SIZES = []\nSIZES.append(1)\n@app.init\ndef init(): return {'model': SIZES[0]}",
        "match 1:\n    case size: pass\n@app.init\ndef init(): return {'model': size}",
    ],
)
async def test_a_change_of_init_loads_the_model_again(shop: Workshop, init: str) -> None:
    shop.write(app=HEAD + init + HANDLER)
    async with shop.serving() as http:
        assert (await http.post("/", json={})).json() == 1
        await shop.save(app=HEAD + init.replace("1", "2") + HANDLER)

        assert (await http.post("/", json={})).json() == 2
