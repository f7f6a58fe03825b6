"""What the app has set as torch's defaults holds on every thread that runs its code."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from potassium import Potassium
from potassium.testing import client


@pytest.fixture
def _defaults() -> Iterator[None]:
    """Set them as app.py does when it is imported; "meta" stands for a GPU."""
    threads = torch.get_num_threads()
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    yield
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    torch.set_num_threads(threads)


def look(_: Any = None) -> list[Any]:
    return [str(torch.zeros(1).device), torch.is_grad_enabled(), torch.get_num_threads()]


@pytest.mark.usefixtures("_defaults")
async def test_the_defaults_of_the_app_hold_on_every_thread(app: Potassium) -> None:
    """On the GPU thread, for init too, and in the pool."""
    app.init(lambda: {"init": look()})

    @app.handler("/", prepare=look, finish=lambda seen: [*seen, look()])
    def handler(cache: dict[str, Any], prepared: Any) -> list[Any]:
        return [cache["init"], prepared, look()]

    async with client(app) as http:
        assert (await http.post("/", json={})).json() == [["meta", False, 1]] * 4


async def test_an_app_that_sets_nothing_has_the_defaults_of_torch(app: Potassium) -> None:
    """No device mode is in force that would slow each operation down."""
    app.handler(lambda cache, json_in: look()[:2])
    async with client(app) as http:
        assert (await http.post("/", json={})).json() == ["cpu", True]
