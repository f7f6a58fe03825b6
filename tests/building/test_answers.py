"""How answers are compared."""

import random
from pathlib import Path
from typing import Any

import pytest

from potassium import Potassium, UsageError
from potassium.building.answers import BuildCall, answers_of, are_alike


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 1.00001),
        (0.0, 1e-6),
        ([1, {"a": 0.1}], [1, {"a": 0.1 + 1e-9}]),
        (1.0, 1),
        ("a", "a"),
        (None, None),
    ],
)
def test_answers_that_are_alike(one: Any, other: Any) -> None:
    """Numbers may be rounded otherwise: tensors may begin elsewhere in memory."""
    assert are_alike(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 1.1),
        (0.0, 1e-3),
        (1, 2),
        (1.0, "1.0"),
        (True, 1),
        ("a", "b"),
        ([1], [1, 2]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 1}),
        ({"a": [0.5]}, {"a": [0.6]}),
        (None, 0),
    ],
)
def test_answers_that_are_not(one: Any, other: Any) -> None:
    assert not are_alike(one, other)
    assert not are_alike(other, one)


@pytest.fixture
def body(tmp_path: Path) -> Path:
    (tmp_path / "body.json").write_text('{"x": 2}')
    return tmp_path / "body.json"


async def test_answers_are_those_of_the_handler(app: Potassium, body: Path) -> None:
    @app.handler("/double")
    def double(cache: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        return {"y": item["x"] * 2}

    @app.handler("/stream")
    def stream(cache: dict[str, Any], item: dict[str, Any]) -> Any:
        yield from ("a", {"b": 1})

    @app.handler("/bytes")
    def size(cache: dict[str, Any], content: bytes) -> bytes:
        return content[:3]

    calls = [BuildCall("/double", body), BuildCall("/stream", body)]
    picture = body.with_suffix(".png")
    picture.write_bytes(b"\x89PNG")
    async with app.lifespan():
        first, second = await answers_of(app, calls)
        (third,) = await answers_of(app, [BuildCall("/bytes", picture)])
    assert (first.path, first.shown, first.varies) == ("/double", [{"y": 4}], False)
    assert second.shown == ["a", {"b": 1}]
    assert list(third.shown[0]) == ["sha256"]


async def test_an_answer_that_varies_is_known_as_such(app: Potassium, body: Path) -> None:
    calls = iter(range(100))

    @app.handler("/count")
    def count(cache: dict[str, Any], item: dict[str, Any]) -> int:
        return next(calls)

    async with app.lifespan():
        (answer,) = await answers_of(app, [BuildCall("/count", body)])
    assert answer.varies


async def test_what_is_drawn_by_chance_is_the_same(app: Potassium, body: Path) -> None:
    @app.handler("/draw")
    def draw(cache: dict[str, Any], item: dict[str, Any]) -> float:
        return random.random()  # noqa: S311 - what models draw

    async with app.lifespan():
        (answer,) = await answers_of(app, [BuildCall("/draw", body)])
    assert not answer.varies


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [("body.json", "{", "is not JSON"), ("none.json", None, "cannot be read")],
)
def test_an_input_that_cannot_be_read(
    tmp_path: Path, name: str, content: str | None, why: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=why):
        BuildCall("/", tmp_path / name).item()


def test_an_input_that_is_not_json_is_bytes(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"\x89PNG")
    assert BuildCall("/", tmp_path / "cat.png").item() == b"\x89PNG"
