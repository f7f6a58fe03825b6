"""What a handler may return, and how it arrives."""

from collections.abc import Iterator
from typing import Any

import pytest
from e2e.server import Server, error, serve_source

SOURCE = """
import dataclasses
import enum
import math

import numpy
import torch
from pydantic import BaseModel

from potassium import Potassium, Response

app = Potassium("server")


@dataclasses.dataclass
class Inner:
    vector: object


@dataclasses.dataclass
class Outer:
    name: str
    inner: Inner


class Model(BaseModel):
    name: str
    outer: int = 2


class Secret:
    def __repr__(self):
        return "hidden-4711"


cyclic = []
cyclic.append(cyclic)
deep = []
for _ in range(100_000):
    deep = [deep]

RESULTS = {
    "dict": {"a": [1, 2.5, "é", None, True]},
    "list": [1, "two"],
    "tuple": (1, 2),
    "str": "text",
    "int": 3,
    "float": 0.5,
    "bool": True,
    "None": None,
    "numpy array": numpy.arange(6, dtype=numpy.float32).reshape(2, 3),
    "numpy big-endian": numpy.array([1, 2], dtype=">i4"),
    "numpy long double": numpy.longdouble(0.5),
    "numpy strided": numpy.arange(6).reshape(2, 3).T,
    "numpy zero-dimensional": numpy.array(7),
    "numpy int64": numpy.int64(7),
    "numpy float32": numpy.float32(0.5),
    "numpy float16": numpy.array([0.5], dtype=numpy.float16),
    "numpy bool": numpy.bool_(True),
    "numpy nested": {"vectors": [numpy.zeros(2), numpy.float64(1.5)]},
    "numpy empty": numpy.zeros((0, 3)),
    "torch tensor": torch.arange(6).reshape(2, 3),
    "torch scalar": torch.tensor(0.5),
    "torch with gradient": torch.ones(2, requires_grad=True),
    "torch bfloat16": torch.tensor([0.5, 1.5], dtype=torch.bfloat16),
    "torch nested": {"scores": [torch.tensor([1.0, 2.0])]},
    "dataclass": Outer("o", Inner(numpy.array([1, 2]))),
    "pydantic": Model(name="m"),
    "pydantic nested": {"models": [Model(name="m")]},
    "nan": {"x": math.nan},
    "infinity": [math.inf, -math.inf],
    "numpy nan": numpy.array([1.0, math.nan]),
    "torch nan": torch.tensor([math.nan, 1.0]),
}
UNSENDABLE = {
    "object": Secret(),
    "nested object": {"a": [Secret()]},
    "cyclic": cyclic,
    "deep": deep,
    "lone surrogate": "\\ud800",
    "class": Secret,
}
RESPONSES = {
    "json": lambda: Response(json={"a": 1}),
    "json None": lambda: Response(json=None),
    "numpy": lambda: Response(json=numpy.arange(2)),
    "body": lambda: Response(body=b"\\x00\\xff", headers={"Content-Type": "image/png"}),
    "empty": lambda: Response(status=204),
    "unsendable": lambda: Response(json=Secret()),
}


@app.handler("/result")
def result(cache, json_in):
    return RESULTS[json_in["name"]]


@app.handler("/async/result")
async def async_result(cache, json_in):
    return RESULTS[json_in["name"]]


@app.handler("/unsendable")
def unsendable(cache, json_in):
    return UNSENDABLE[json_in["name"]]


@app.handler("/response")
def response(cache, json_in):
    return RESPONSES[json_in["name"]]()


@app.handler("/bytes")
def raw(cache, json_in):
    return b"\\x00\\xff"


if __name__ == "__main__":
    app.serve()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("results")) as server:
        yield server


RESULTS: dict[str, Any] = {
    "dict": {"a": [1, 2.5, "é", None, True]},
    "list": [1, "two"],
    "tuple": [1, 2],
    "str": "text",
    "int": 3,
    "float": 0.5,
    "bool": True,
    "None": None,
    "numpy array": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
    "numpy big-endian": [1, 2],
    "numpy long double": 0.5,
    "numpy strided": [[0, 3], [1, 4], [2, 5]],
    "numpy zero-dimensional": 7,
    "numpy int64": 7,
    "numpy float32": 0.5,
    "numpy float16": [0.5],
    "numpy bool": True,
    "numpy nested": {"vectors": [[0.0, 0.0], 1.5]},
    "numpy empty": [],
    "torch tensor": [[0, 1, 2], [3, 4, 5]],
    "torch scalar": 0.5,
    "torch with gradient": [1.0, 1.0],
    "torch bfloat16": [0.5, 1.5],
    "torch nested": {"scores": [[1.0, 2.0]]},
    "dataclass": {"name": "o", "inner": {"vector": [1, 2]}},
    "pydantic": {"name": "m", "outer": 2},
    "pydantic nested": {"models": [{"name": "m", "outer": 2}]},
    "nan": {"x": None},
    "infinity": [None, None],
    "numpy nan": [1.0, None],
    "torch nan": [None, 1.0],
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_arrives_as_json(server: Server, name: str) -> None:
    """Plain values, arrays, tensors, dataclasses and models arrive as JSON."""
    response = server.post("/result", {"name": name})
    assert (response.status_code, response.json()) == (200, RESULTS[name])


@pytest.mark.parametrize("name", ["numpy nested", "torch nested", "pydantic"])
def test_a_result_of_an_async_handler_arrives_the_same(server: Server, name: str) -> None:
    """``async def`` handlers may return whatever others may return."""
    assert server.post("/async/result", {"name": name}).json() == RESULTS[name]


@pytest.mark.parametrize(
    "name", ["object", "nested object", "cyclic", "deep", "lone surrogate", "class"]
)
def test_a_result_that_cannot_be_sent_is_answered_500(server: Server, name: str) -> None:
    """A result without a JSON form is the server's error, with its own code."""
    response = server.post("/unsendable", {"name": name})
    assert error(response) == (500, "unserializable_output")


def test_a_result_that_cannot_be_sent_is_not_shown(server: Server) -> None:
    """The repr of a result stays on the server."""
    assert "hidden-4711" not in server.post("/unsendable", {"name": "object"}).text


def test_bytes_arrive_as_they_are(server: Server) -> None:
    """``bytes`` are the body, byte for byte."""
    assert server.post("/bytes", {}).content == b"\x00\xff"


def test_bytes_are_not_declared_as_json(server: Server) -> None:
    """``bytes`` that are not JSON are not declared as JSON."""
    assert "json" not in server.post("/bytes", {}).headers["content-type"]


@pytest.mark.parametrize(
    ("name", "value"), [("json", {"a": 1}), ("json None", None), ("numpy", [0, 1])]
)
def test_the_json_of_a_response_arrives(server: Server, name: str, value: object) -> None:
    """``Response(json=...)`` takes whatever a handler may return as JSON."""
    assert server.post("/response", {"name": name}).json() == value


def test_the_body_of_a_response_arrives(server: Server) -> None:
    """``Response(body=...)`` is sent as it is, under its own media type."""
    response = server.post("/response", {"name": "body"})
    assert (response.content, response.headers["content-type"]) == (b"\x00\xff", "image/png")


def test_a_response_may_be_empty(server: Server) -> None:
    """``Response(status=204)`` has no body."""
    response = server.post("/response", {"name": "empty"})
    assert (response.status_code, response.content) == (204, b"")


def test_the_json_of_a_response_must_be_sendable(server: Server) -> None:
    """``Response(json=...)`` with a value that has no JSON form is answered 500."""
    response = server.post("/response", {"name": "unsendable"})
    assert error(response) == (500, "unserializable_output")
