"""``@app.restored`` completes the cache, whether it was loaded or restored."""

import threading
from typing import Any

import pytest

from potassium import Potassium, UsageError
from potassium.serving.composition import parts_of

Cache = dict[str, Any]


async def test_it_gets_what_init_has_loaded_and_adds_to_it(app: Potassium) -> None:
    threads = []

    @app.init
    def init() -> Cache:
        threads.append(threading.current_thread())
        return {"model": 1}

    @app.restored
    def restored(cache: Cache) -> Cache:
        threads.append(threading.current_thread())
        assert cache == {"model": 1}
        return {"lock": 2}

    async with app.lifespan():
        assert app.get_cache() == {"model": 1, "lock": 2}
    assert threads[0] is threads[1]


class Kept:
    """A snapshot that has something."""

    def __init__(self) -> None:
        self.noted = 0

    def restore(self, init: object) -> Cache:
        return {"model": "kept"}

    def loaded(self, init: object) -> None:
        self.noted += 1


async def test_it_gets_what_was_restored(app: Potassium) -> None:
    """And init does not run."""

    @app.init
    def init() -> Cache:
        raise AssertionError

    @app.restored
    def restored(cache: Cache) -> Cache:
        return {"lock": cache["model"]}

    parts_of(app).init.snapshot = kept = Kept()
    async with app.lifespan():
        assert app.get_cache() == {"model": "kept", "lock": "kept"}
    assert kept.noted == 0


async def test_a_snapshot_is_made_before_it_runs(app: Potassium) -> None:
    """What cannot be kept is not there yet."""
    seen: list[Cache] = []

    class Recording(Kept):
        def restore(self, init: object) -> Any:
            return None

        def loaded(self, init: object) -> None:
            seen.append(dict(app.get_cache()))

    @app.init
    def init() -> Cache:
        return {"model": 1}

    @app.restored
    def restored(cache: Cache) -> None:
        cache["lock"] = 2

    parts_of(app).init.snapshot = Recording()
    async with app.lifespan():
        assert app.get_cache() == {"model": 1, "lock": 2}
    assert seen == [{"model": 1}]


async def test_it_returns_a_dict_or_nothing(app: Potassium) -> None:
    @app.restored
    def restored(cache: Cache) -> Any:
        return [1]

    with pytest.raises(TypeError, match="returns a dict or None, not a list"):
        async with app.lifespan():
            pass


async def test_what_it_raises_ends_the_start(app: Potassium) -> None:
    @app.restored
    def restored(cache: Cache) -> None:
        raise KeyError("model")

    with pytest.raises(KeyError, match="model"):
        async with app.lifespan():
            pass


def test_there_is_one(app: Potassium) -> None:
    @app.restored
    def restored(cache: Cache) -> None: ...

    with pytest.raises(UsageError, match=r"only one @app\.restored"):
        app.restored(restored)


async def coroutine(cache: Cache) -> None: ...


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (coroutine, "write def, not async def"),
        (lambda: None, r"write def restored\(cache\)"),
        (lambda a, b: None, r"write def restored\(cache\)"),
    ],
)
def test_it_takes_the_cache_alone(app: Potassium, function: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        app.restored(function)


async def test_it_comes_before_the_start(app: Potassium) -> None:
    async with app.lifespan():
        with pytest.raises(UsageError, match="came after the app had started"):
            app.restored(lambda cache: None)
