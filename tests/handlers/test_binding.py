"""How a request becomes a handler's second argument."""

import asyncio
import functools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, TypedDict

import pydantic
import pytest
from support.ids import shown
from support.operations import operation_on

from potassium import Request, Response, UsageError
from potassium.engine import Job
from potassium.errors import BodyTooLarge, InvalidInput, MalformedJSON, UnsupportedMediaType
from potassium.handlers.arguments import argument_of
from potassium.handlers.binding import binding_of
from potassium.http.message import Message
from potassium.http.request import request_of

JSON = [(b"content-type", b"application/json")]


class Item(pydantic.BaseModel):
    text: str
    count: int = 1


@dataclass
class Point:
    x: float
    y: float


def request(body: bytes, headers: list[tuple[bytes, bytes]] = JSON) -> Message:
    return Message("id", headers, body)


def plain(cache, json_in): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
def annotated(cache: dict[str, Any], json_in: dict) -> dict: ...  # type: ignore[type-arg,empty-body]
def parametrized(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...
def quoted(cache: "dict[str, Any]", json_in: "dict[str, Any]") -> None: ...
def with_options(cache: dict[str, Any], json_in: dict[str, Any], scale: float = 1.0) -> None: ...
async def asynchronous(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...
def whole(context: dict[str, Any], request: Request) -> Response: ...  # type: ignore[empty-body]
def raw(cache: dict[str, Any], body: bytes) -> None: ...
def model(cache: dict[str, Any], item: Item) -> None: ...
def models(cache: dict[str, Any], items: list[Item]) -> None: ...
def point(cache: dict[str, Any], point: Point) -> None: ...
def text(cache: dict[str, Any], text: str) -> None: ...
def bounded(cache: dict[str, Any], number: Annotated[int, pydantic.Field(gt=0)]) -> None: ...
def literal(cache: dict[str, Any], choice: Literal["a", "b"]) -> None: ...
def anything(cache: dict[str, Any], value: Any) -> None: ...


class A(pydantic.BaseModel):
    a: int = 0
    child: "A | B | None" = None


class B(pydantic.BaseModel):
    b: int = 0
    child: "A | B | None" = None


class Tagged(pydantic.BaseModel):
    kind: Literal["a"]
    child: 'Annotated[Tagged | Other, pydantic.Field(discriminator="kind")] | None' = None


class Other(pydantic.BaseModel):
    kind: Literal["b"]
    child: 'Annotated[Tagged | Other, pydantic.Field(discriminator="kind")] | None' = None


def union(cache: dict[str, Any], items: list[int | float | bool]) -> None: ...
def tree(cache: dict[str, Any], tree: A) -> None: ...
def tagged(cache: dict[str, Any], tree: Tagged) -> None: ...
def biased(cache: dict[str, Any], bias: dict[int, float]) -> None: ...


class Instance:
    def __call__(self, cache: dict[str, Any], item: Item) -> None: ...


@pytest.mark.parametrize(
    ("function", "body", "argument"),
    [
        (plain, b'{"a": 1}', {"a": 1}),
        (annotated, b'{"a": 1}', {"a": 1}),
        (parametrized, b"{}", {}),
        (quoted, b"{}", {}),
        (with_options, b"{}", {}),
        (asynchronous, b"{}", {}),
        (functools.partial(with_options, scale=2.0), b"{}", {}),
        (raw, b"\x00", b"\x00"),
        (model, b'{"text": "a"}', Item(text="a")),
        (models, b'[{"text": "a", "count": 2}]', [Item(text="a", count=2)]),
        (point, b'{"x": 1, "y": 2}', Point(1, 2)),
        (text, b'"abc"', "abc"),
        (bounded, b"3", 3),
        (literal, b'"b"', "b"),
        (anything, b"[1]", [1]),
        (Instance(), b'{"text": "a"}', Item(text="a")),
    ],
    ids=shown,
)
def test_the_annotation_decides(function: Any, body: bytes, argument: object) -> None:
    """Each kind of annotation gets its own kind of value."""
    assert binding_of(function)(request(body)) == argument


def test_a_request_is_passed_as_it_is() -> None:
    """A handler that takes a Request gets every request, whatever it contains."""
    one = request(b"not json", [])
    loop = asyncio.new_event_loop()
    operation = operation_on("whole", lambda _: None)
    job = Job(operation, binding_of(whole)(one), loop.create_future(), origin=one)
    loop.close()
    argument = argument_of(job, request_of(job))
    assert (type(argument), argument.id, argument.body) == (Request, "id", b"not json")


def test_bytes_are_taken_from_any_type() -> None:
    """A handler that takes bytes accepts any content type."""
    assert binding_of(raw)(request(b"png", [(b"content-type", b"image/png")])) == b"png"


@pytest.mark.parametrize("body", [b"[1]", b"1", b"null", b'"a"'])
def test_a_json_handler_takes_objects_only(body: bytes) -> None:
    """JSON that is not an object is 422, with the fault listed."""
    with pytest.raises(InvalidInput) as caught:
        binding_of(annotated)(request(body))
    assert [fault["type"] for fault in caught.value.errors] == ["dict_type"]


@pytest.mark.parametrize(
    ("function", "body", "where"),
    [
        (model, b"{}", ("text",)),
        (model, b'{"text": "a", "count": "many"}', ("count",)),
        (models, b'[{"text": "a"}, {"text": 5}]', (1, "text")),
        (bounded, b"0", ()),
        (literal, b'"c"', ()),
    ],
)
def test_invalid_input_lists_its_faults(function: Any, body: bytes, where: tuple[Any, ...]) -> None:
    """Each fault has a location, a message and a type, and no copy of the input."""
    with pytest.raises(InvalidInput) as caught:
        binding_of(function)(request(body))
    (fault,) = caught.value.errors
    assert tuple(fault["loc"]) == where
    assert set(fault) == {"loc", "msg", "type"}


@pytest.mark.parametrize(
    ("wrong", "listed", "kinds"),
    [
        (99, 99, {"model_type"}),
        (1000, 100, {"model_type"}),
        (1001, 1, {"too_many_faults"}),
    ],
)
def test_faults_are_not_listed_without_end(wrong: int, listed: int, kinds: set[str]) -> None:
    """A hundred are shown; of more than a thousand, their number."""
    with pytest.raises(InvalidInput) as caught:
        binding_of(models)(request(b"[" + b",".join([b"0"] * wrong) + b"]"))
    faults = caught.value.errors
    assert len(faults) == listed
    assert {fault["type"] for fault in faults} == kinds


@pytest.mark.parametrize(
    ("function", "body", "most"),
    [
        (annotated, b'{"a":[' + b"0," * 1000 + b"0]}", 1000),
        (annotated, b'{"a":[' + b"[]," * 1000 + b"[]]}", 4000),
        (models, b"[" + b"{}," * 1000 + b"{}]", 10_000),
        (union, b"[" + b"0," * 1000 + b"0]", 5000),
    ],
)
def test_a_body_of_too_many_values_is_refused_unparsed(
    function: Any, body: bytes, most: int
) -> None:
    """How many there are is told by its bytes; each counts for the work that it takes."""
    with pytest.raises(BodyTooLarge, match=str(most)):
        binding_of(function)(Message("id", JSON, body, json_values=most))
    with suppress(InvalidInput):
        binding_of(function)(Message("id", JSON, body, json_values=20 * most))


def test_a_body_nested_too_deeply_for_its_unions_is_refused() -> None:
    """The work that doubles with each level is bounded; a few levels are fine."""
    bind = binding_of(tree)

    def nested(levels: int) -> Message:
        body = b'{"child":' * levels + b'{"a":1}' + b"}" * levels
        return Message("id", JSON, body, json_values=1_000_000)

    assert bind(nested(8)).child is not None
    with pytest.raises(InvalidInput) as caught:
        bind(nested(20))
    assert [fault["type"] for fault in caught.value.errors] == ["too_deep_for_unions"]


def test_a_tagged_union_may_be_nested_deeply() -> None:
    """With a discriminator, only one member is tried at each level."""
    body = b'{"kind":"a","child":' * 200 + b"null" + b"}" * 200
    bind = binding_of(tagged)
    assert bind(Message("id", JSON, body, json_values=1_000_000)).kind == "a"


def test_numbers_of_one_hash_are_refused() -> None:
    """A dict of them would take quadratic time."""
    items = b",".join(b'"%d":0' % ((2**61 - 1) * (n + 1)) for n in range(2000))
    with pytest.raises(InvalidInput, match="see errors") as caught:
        binding_of(biased)(request(b"{" + items + b"}"))
    assert [fault["type"] for fault in caught.value.errors] == ["hash_collisions"]


class Early(pydantic.BaseModel):
    late: "Late"


def early(cache: dict[str, Any], item: Early) -> None: ...


EARLY = binding_of(early)


class Late(pydantic.BaseModel):
    x: int


def test_an_annotation_may_refer_to_what_is_defined_later() -> None:
    """Its schema is needed at the first request, not before."""
    assert EARLY(request(b'{"late": {"x": 1}}')) == Early(late=Late(x=1))


@pytest.mark.parametrize("function", [annotated, model])
@pytest.mark.parametrize("body", [b"", b"{", b'{"text": NaN}', b"[" * 5000 + b"]" * 5000])
def test_malformed_json_comes_before_invalid_input(function: Any, body: bytes) -> None:
    """A body that is not JSON is 400, even if the argument is validated."""
    with pytest.raises(MalformedJSON):
        binding_of(function)(request(body))


@pytest.mark.parametrize("function", [annotated, model])
def test_another_media_type_comes_before_all(function: Any) -> None:
    """JSON handlers accept only JSON types, even if the body would parse."""
    with pytest.raises(UnsupportedMediaType):
        binding_of(function)(request(b"{}", [(b"content-type", b"text/plain")]))


def no_arguments() -> None: ...
def one_argument(json_in: dict[str, Any]) -> None: ...
def three_arguments(cache: dict[str, Any], json_in: dict[str, Any], extra: int) -> None: ...
def keyword_only(cache: dict[str, Any], *, json_in: dict[str, Any]) -> None: ...
def star(*arguments: Any) -> None: ...
def unresolvable(cache: dict[str, Any], item: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def unvalidatable(cache: dict[str, Any], item: Instance) -> None: ...
@pytest.mark.parametrize(
    "function",
    [
        no_arguments,
        one_argument,
        three_arguments,
        keyword_only,
        star,
        unresolvable,
        unvalidatable,
    ],
)
def test_a_signature_that_cannot_be_bound_shows_the_right_form(function: Any) -> None:
    """The error names the function and shows signatures that work."""
    with pytest.raises(UsageError, match="handler\\(cache: dict, json_in: dict\\)") as caught:
        binding_of(function)
    assert function.__name__ in str(caught.value)


def request_first(request: Request, cache: dict[str, Any]) -> None: ...
def item_first(item: Item, cache) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
def body_first(body: bytes, more: Any) -> None: ...
def list_first(items: list[Item], cache: dict[str, Any]) -> None: ...
def json_first(json, cache: dict[str, Any]) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
def inputs_first(inputs: dict[str, Any], context: dict[str, Any]) -> None: ...
def quoted_first(request: "Request", cache: "dict[str, Any]") -> None: ...


SWAPPED = [
    request_first,
    item_first,
    body_first,
    list_first,
    json_first,
    inputs_first,
    quoted_first,
]


@pytest.mark.parametrize("function", SWAPPED)
@pytest.mark.parametrize("kind", [{}, {"batched": True}, {"is_step": True}], ids=repr)
def test_swapped_parameters_show_the_right_form(function: Any, kind: Any) -> None:
    """An annotation or a name tells that the cache is not the first."""
    with pytest.raises(UsageError, match=r"(?s)cache.*\(cache: dict"):
        binding_of(function, **kind)


class Loaded(TypedDict):
    model: Any


class Keeps(Protocol):
    def keys(self) -> Any: ...


def typed(cache: Loaded, item: Item) -> None: ...
def mapping(cache: Mapping[str, Any], item: Item) -> None: ...
def any_cache(cache: Any, item: Item) -> None: ...
def other_name(loaded: dict[str, Any] | None, item: Item) -> None: ...
def context_as_input(state: dict[str, Any], context: dict[str, Any]) -> None: ...
def protocol(cache: Keeps, item: Item) -> None: ...
def qualified(cache: Annotated[dict[str, Any], "loaded"], item: Item) -> None: ...


@pytest.mark.parametrize(
    "function", [typed, mapping, any_cache, other_name, context_as_input, protocol, qualified]
)
def test_any_annotation_of_a_dict_is_one_of_the_cache(function: Any) -> None:
    """And neither its name nor that of the input matters then."""
    binding_of(function)


def test_a_model_may_have_any_name() -> None:
    """Also that of the whole request."""

    class Request(pydantic.BaseModel):
        text: str

    def handler(cache: dict[str, Any], item: Request) -> None: ...

    assert binding_of(handler)(request(b'{"text": "a"}')) == Request(text="a")
