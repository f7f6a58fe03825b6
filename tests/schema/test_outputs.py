"""What a handler returns, as the schema shows it."""

import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from typing import Any, Literal

import numpy as np
import PIL.Image
import pytest
from pydantic import BaseModel, computed_field
from starlette.responses import PlainTextResponse
from support.asgi import EVENTS, LINES
from support.schemas import JSON, answer, check, operation, resolved
from typing_extensions import TypedDict

from potassium import Array, Batch, Image, Jobs, Potassium, Request, Response, Step
from potassium.testing import client

BYTES, TEXT, ANY = "application/octet-stream", "text/plain", "*/*"
PARTS = "multipart/x-mixed-replace"
PNG, NPY, SAFETENSORS = "image/png", "application/x-npy", "application/safetensors"
ARROW = "application/vnd.apache.arrow.stream"
BINARY = {"type": "string", "format": "binary"}


class Out(BaseModel):
    score: float

    @computed_field  # type: ignore[prop-decorator] # as pydantic documents it
    @property
    def double(self) -> float:
        return self.score * 2


class Typed(TypedDict):
    score: float


@dataclasses.dataclass
class Plain:
    score: float


class Shown(BaseModel):
    picture: Image
    array: Array


class Odd:
    def __get_pydantic_core_schema__(self, *_: Any) -> Any:
        raise RuntimeError("no schema")


def returning(annotation: Any, *, batched: bool = False) -> Callable[..., Any]:
    def function(cache: dict[str, Any], json_in: Any) -> Any: ...

    function.__annotations__["return"] = annotation
    function.__annotations__["json_in"] = list if batched else dict
    return function


@pytest.mark.parametrize("annotation", [Out, Typed, Plain])
def test_a_model_has_its_schema(app: Potassium, annotation: type) -> None:
    """As it is sent, with computed fields."""
    app.handler(returning(annotation))
    schema = answer(app)[JSON]
    assert schema["properties"].keys() == ({"score", "double"} if annotation is Out else {"score"})


def test_an_array_has_several_forms(app: Potassium) -> None:
    """JSON comes first; the others are files."""
    app.handler(returning(np.ndarray))
    forms = answer(app)
    assert (next(iter(forms)), forms[JSON]) == (JSON, {})
    assert forms["application/x-npy"] == {"type": "string", "format": "binary"}


@pytest.mark.parametrize(
    ("annotation", "kinds"),
    [
        (Image | None, [PNG, "image/jpeg", "image/webp", JSON]),
        (Image | Out, [PNG, "image/jpeg", "image/webp", JSON]),
        (Array | None, [JSON, NPY, SAFETENSORS, ARROW]),
        (dict[str, Array], [JSON, SAFETENSORS]),
        (Image | bytes, [JSON, ANY]),
    ],
)
def test_a_union_has_the_forms_of_its_members(
    app: Potassium, annotation: Any, kinds: list[str]
) -> None:
    """And so has a dict of arrays, which are sent together."""
    app.handler(returning(annotation))
    assert list(answer(app)) == kinds


async def test_what_files_become_is_what_the_schema_says(app: Potassium) -> None:
    """Within JSON, pictures are data URLs, and arrays are lists."""

    @app.handler
    def show(cache: dict[str, Any], json_in: dict[str, Any]) -> Shown:
        return Shown.model_construct(picture=PIL.Image.new("RGB", (1, 1)), array=np.zeros((2, 2)))

    async with client(app) as http:
        shown = await http.post("/", json={})
    check(app, answer(app)[JSON], shown.json())
    assert answer(app)[JSON]["properties"]["picture"]["pattern"] == "^data:"
    with pytest.raises(Exception, match="does not match"):
        check(app, answer(app)[JSON], {"picture": "aQ==", "array": []})


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (dict[str, Any], {"type": "object", "additionalProperties": True}),
        (list[float], {"type": "array", "items": {"type": "number"}}),
        (str, {"type": "string"}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (list[np.ndarray], {"type": "array", "items": {}}),
        (Odd, {}),
        (Odd(), {}),
    ],
)
def test_any_annotation_has_a_schema(
    app: Potassium, annotation: Any, schema: dict[str, Any]
) -> None:
    """What pydantic cannot express is anything."""
    app.handler(returning(annotation))
    assert answer(app) == {JSON: schema}


@pytest.mark.parametrize(
    "annotation", [Response, PlainTextResponse, None, Any, dict[str, Any] | Response, bytes | str]
)
def test_nothing_is_said_of_what_is_not_known(app: Potassium, annotation: Any) -> None:
    """A response may have any type, and any status."""
    app.handler(returning(annotation))
    assert answer(app) == {JSON: {}, ANY: {}}
    assert ANY in operation(app)["responses"]["default"]["content"]


@pytest.mark.parametrize("annotation", ["Missing", "("])
def test_an_annotation_that_cannot_be_read_is_not_known(app: Potassium, annotation: str) -> None:
    """The name may be defined for type checkers only."""

    def finish(value: Any) -> Any: ...

    finish.__annotations__["return"] = annotation
    app.handler("/", finish=finish)(returning(int))
    assert answer(app) == {JSON: {}, ANY: {}}


@pytest.mark.parametrize("annotation", [bytes, bytearray, memoryview])
def test_bytes_are_binary(app: Potassium, annotation: Any) -> None:
    """They are not JSON."""
    app.handler(returning(annotation))
    assert answer(app) == {BYTES: BINARY}


def test_output_says_what_an_annotation_does_not(app: Potassium) -> None:
    """It takes precedence, and is the type of one call's result."""
    app.handler("/a", output=Out)(returning(Any))
    app.handler("/b", output=Out, batch=Batch(max_size=2))(
        returning(list[dict[str, Any]], batched=True)
    )
    assert answer(app, "/a") == answer(app, "/b") == {JSON: resolved(app, {"$ref": "/Out"})}


def test_a_batched_handler_returns_an_item(app: Potassium) -> None:
    """And what is not a list of items is not known."""
    app.handler("/a", batch=Batch(max_size=2))(returning(list[int], batched=True))
    app.handler("/b", batch=Batch(max_size=2))(returning(np.ndarray, batched=True))
    assert answer(app, "/a") == {JSON: {"type": "integer"}}
    assert answer(app, "/b") == {JSON: {}, ANY: {}}


def test_a_finished_handler_returns_what_its_finish_step_returns(app: Potassium) -> None:
    """That is what is sent."""

    def finish(value: Any) -> int:
        return len(value)

    app.handler("/a", finish=finish)(returning(str))
    app.handler("/b", finish=finish, batch=Batch(max_size=2))(returning(list[str], batched=True))
    assert answer(app, "/a") == answer(app, "/b") == {JSON: {"type": "integer"}}


@pytest.mark.parametrize(
    ("annotation", "raw"),
    [
        (Iterator[str], {TEXT: {"type": "string"}}),
        (Iterator[Literal["a", "b"]], {TEXT: {"type": "string"}}),
        (Iterator[Out | str | None], {TEXT: {"type": "string"}}),
        (Generator[bytes, None, None], {BYTES: BINARY}),
        (AsyncIterator[Out], {}),
        (Iterator[Image], {PNG: BINARY, "image/jpeg": BINARY, "image/webp": BINARY}),
        (Iterator[Array], {}),  # lines of JSON
        (Iterator, {ANY: {}}),
        (Generator[Step[int] | int, Any, None], {}),  # a step is not sent
        (Iterator[Step[int]], {ANY: {}}),
    ],
)
def test_streams_are_shown_in_each_form(
    app: Potassium, annotation: Any, raw: dict[str, Any]
) -> None:
    """Raw, as lines of JSON, and as events."""
    app.handler(returning(annotation))
    shown = answer(app)
    empty = [] if raw.keys() & {BYTES, ANY} else [BYTES]  # what has no chunks
    assert list(shown) == [*raw, LINES, EVENTS, *empty, PARTS]
    assert {kind: shown[kind] for kind in raw} == raw


def test_a_generator_function_streams_whatever_it_is_annotated_with(app: Potassium) -> None:
    """``Iterable`` is right for one, and without an annotation its chunks are not known."""

    def annotated(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterable[str]:
        yield ""

    def bare(cache, json_in):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - as it is
        yield ""

    app.handler("/a")(annotated)
    app.handler("/b")(bare)
    app.handler("/c", output=str)(bare)
    assert list(answer(app, "/a")) == list(answer(app, "/c")) == [TEXT, LINES, EVENTS, BYTES, PARTS]
    assert list(answer(app, "/b")) == [ANY, LINES, EVENTS, PARTS]


async def test_text_among_the_chunks_of_a_stream_is_what_the_schema_says(app: Potassium) -> None:
    """It is sent as it is, except in a line of JSON."""

    @app.handler
    def chunks(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[Out | str]:
        yield "no JSON"
        yield Out(score=1)

    async with client(app) as http:
        raw = await http.post("/", json={})
        lines = await http.post("/", json={}, headers={"Accept": LINES})
        events = await http.post("/", json={}, headers={"Accept": EVENTS})
    assert raw.headers["Content-Type"].startswith(next(iter(answer(app))))
    for line in lines.text.splitlines():
        check(app, answer(app)[LINES], json.loads(line))
    for block in events.text.strip().split("\n\n"):
        event = dict(line.partition(":")[::2] for line in block.replace(": ", ":").splitlines())
        check(app, answer(app)[EVENTS], event)
    data = answer(app)[EVENTS]["anyOf"][0]["properties"]["data"]
    assert data == {"type": "string"}


async def test_the_chunks_of_a_stream_are_what_the_schema_says(app: Potassium) -> None:
    """Each line and each event, those at the end included."""

    @app.handler
    def chunks(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[Out]:
        yield Out(score=1)
        yield Out(score=2)
        if json_in:
            raise RuntimeError

    schemas = answer(app)
    async with client(app) as http:
        lines = await http.post("/", json={}, headers={"Accept": LINES})
        events = await http.post("/", json={"a": 1}, headers={"Accept": EVENTS})
    for line in lines.text.splitlines():
        check(app, schemas[LINES], json.loads(line))
    shown = [
        dict(line.split(": ", 1) for line in block.splitlines())
        for block in events.text.strip().split("\n\n")
    ]
    assert [event.get("event") for event in shown] == [None, None, "error"]
    for event in shown:
        check(app, schemas[EVENTS], event)
    with pytest.raises(Exception, match="not valid"):
        check(app, schemas[EVENTS], {"event": "error"})


def test_a_background_handler_answers_with_a_job(app: Potassium) -> None:
    """Or with its result, if the client waits for it; that of a generator is a list."""
    app.background("/a")(returning(Out))
    app.background("/b")(returning(Iterator[str]))
    app.background("/c")(returning(bytes))
    app.handler("/d")(returning(bytes))
    app.handler("/e")(returning(Iterator[str]))
    for path in ("/a", "/b", "/c"):
        assert answer(app, path, "202")[JSON]["required"][0] == "id"
        assert "Location" in operation(app, path)["responses"]["202"]["headers"]
    assert answer(app, "/a")[JSON]["properties"].keys() == {"score", "double"}
    assert answer(app, "/b") == {JSON: {"type": "array", "items": {"type": "string"}}}
    assert answer(app, "/c") == answer(app, "/d") == {BYTES: BINARY}
    assert list(answer(app, "/e")) == [TEXT, LINES, EVENTS, BYTES, PARTS, JSON]


async def test_an_output_that_is_fetched_is_what_the_schema_says(app: Potassium) -> None:
    """All of it, a part, or nothing, with the headers that say so."""

    @app.background("/")
    def work(cache: dict[str, Any], json_in: dict[str, Any]) -> bytes:
        return b"12345"

    shown = operation(app, "/jobs/{id}/output", "get")
    asked: list[dict[str, str]] = [{}, {"Range": "bytes=0-1"}, {"Range": "bytes=9-"}]
    async with client(app) as http:
        done = await http.post("/", json={}, headers={"Prefer": "wait=10"})
        assert (done.status_code, done.headers["Content-Type"]) == (200, BYTES)
        path = f"{done.headers['Location']}/output"
        asked.append({"If-None-Match": (await http.get(path)).headers["ETag"]})
        sent = [await http.get(path, headers=headers) for headers in asked]
    assert [one.status_code for one in sent] == [200, 206, 416, 304]
    for one in sent:
        headers = shown["responses"][str(one.status_code)]["headers"]
        assert {name.lower() for name in headers} == set(one.headers) - {
            "content-type",
            "content-length",
        }
    known = {one["name"] for one in shown["parameters"] if one["in"] == "header"}
    assert known == {"Range", "If-None-Match", "If-Range", "X-Request-Id"}


async def test_what_is_shown_of_jobs_is_what_the_schema_says() -> None:
    """Their documents, pages, events and deliveries."""
    app = Potassium(jobs=Jobs(path=None))

    @app.background("/")
    def fail(cache: dict[str, Any], request: Request) -> None:
        request.progress(0.5, "half")
        if request.json:
            raise RuntimeError

    async with client(app) as http:
        for sent in ({}, {"a": 1}):
            accepted = await http.post("/", json=sent)
            check(app, answer(app, "/", "202")[JSON], accepted.json())
            job = accepted.headers["Location"]
            done = await http.get(job, headers={"Prefer": "wait=10"})
            check(app, answer(app, "/jobs/{id}", method="get")[JSON], done.json())
            events = await http.get(f"{job}/events")
            for block in events.text.strip().split("\n\n"):
                event = dict(line.split(": ", 1) for line in block.splitlines())
                check(app, answer(app, "/jobs/{id}/events", method="get")[EVENTS], event)
            deliveries = await http.get(f"{job}/deliveries")
            schema = answer(app, "/jobs/{id}/deliveries", method="get")[JSON]
            check(app, schema, deliveries.json())
        page = await http.get("/jobs")
    check(app, answer(app, "/jobs", method="get")[JSON], page.json())


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/_k/status", "/__status__", "/_k/warmup"])
async def test_what_is_shown_of_the_server_is_what_the_schema_says(
    app: Potassium, path: str
) -> None:
    """Of a server that has answered a call."""
    app.handler(returning(None))
    async with client(app) as http:
        await http.post("/", json={})
        shown = await http.get(path)
    assert shown.status_code == 200
    check(app, answer(app, path, method="get")[JSON], shown.json())
