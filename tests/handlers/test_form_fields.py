"""Forms and queries as models, and files as whole inputs."""

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlencode

import fastapi
import httpx
import pydantic
import pytest
from starlette.datastructures import UploadFile
from typing_extensions import TypedDict

from potassium import File, FromFile, UsageError
from potassium.errors import (
    BodyTooLarge,
    InvalidInput,
    MalformedForm,
    UnsupportedMediaType,
)
from potassium.handlers.binding import binding_of
from potassium.http import multipart
from potassium.http.message import Message

Handler = Callable[[Any, Any], None]
HEADERS = [(b"content-type", b"application/x-www-form-urlencoded")]


def taking(annotation: Any) -> Handler:
    """Return a handler whose input has this annotation."""

    def handler(cache: Any, item: Any) -> None: ...

    handler.__annotations__["item"] = annotation
    return handler


def form(data: Any = None, files: Any = None, **options: Any) -> Message:
    """Return a form as httpx sends it: a multipart form if there are files."""
    sent = httpx.Request("POST", "http://a", data=data, files=files)
    headers = [(name.lower(), value) for name, value in sent.headers.raw]
    return Message("id", headers, sent.read(), **options)


def bound(annotation: Any, message: Message) -> Any:
    """Bind a message as a handler does that takes forms of any kind."""
    try:
        bind = binding_of(taking(annotation), reads_query=True)
    except UsageError:  # it has no fields
        bind = binding_of(taking(annotation))
    return bind(message)


def query(annotation: Any, pairs: str) -> Any:
    scope = {"method": "GET", "query_string": pairs.encode()}
    return binding_of(taking(annotation), reads_query=True)(Message("id", [], b"", scope))


def fault(annotation: Any, message: Message) -> tuple[tuple[Any, ...], str]:
    with pytest.raises(InvalidInput) as caught:
        bound(annotation, message)
    (one,) = caught.value.errors
    return tuple(one["loc"]), one["type"]


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Level(enum.Enum):
    LOW = 1
    HALF = 0.5
    ALL = "all"


class Box(pydantic.BaseModel):
    width: int
    labels: list[str] = []


class Range(NamedTuple):
    low: int
    high: int = 9


class Item(pydantic.BaseModel):
    text: str = ""
    count: int = 1
    ratio: float | None = None
    exact: bool = False
    day: date | None = None
    size: Size = Size.SMALL
    level: Level | None = None
    levels: list[Level] = []
    step: Literal[1, 2, True, "all"] = 1
    tags: list[str] = []
    numbers: list[float] | None = None
    chosen: set[int] = set()
    pair: tuple[int, int] = (0, 0)
    box: Box | None = None
    boxes: list[Box] = []
    options: dict[str, Any] = {}
    rows: list[list[int]] = []
    raw: bytes = b""
    either: dict[str, int] | str = ""
    anything: Any = None
    span: Range = Range(0)


@dataclass
class Point:
    x: float
    y: list[str]


class Typed(TypedDict, total=False):
    n: int
    box: Box


VALUES = [
    ("text=a%20b+c&count=7", {"text": "a b c", "count": 7}),
    ("count=1&count=2", {"count": 2}),
    ("text=a&text=b", {"text": "b"}),
    ("text=", {"text": ""}),
    ("count=&ratio=&day=&box=&numbers=&tags=", {"tags": [""]}),
    (
        "exact=on&ratio=1e3&day=2026-11-26",
        {"exact": True, "ratio": 1000, "day": date(2026, 11, 26)},
    ),
    ("size=2&step=2", {"size": Size.LARGE, "step": 2}),
    ("step=true", {"step": True}),
    ("level=1&levels=0.5&levels=all", {"level": Level.LOW, "levels": [Level.HALF, Level.ALL]}),
    ("step=all", {"step": "all"}),
    ("tags=a&tags=b", {"tags": ["a", "b"]}),
    ("tags=%5B1%5D", {"tags": ["[1]"]}),
    ("numbers=1&numbers=2.5", {"numbers": [1, 2.5]}),
    ("numbers=[1,2.5]", {"numbers": [1, 2.5]}),
    ("chosen=3&chosen=3&chosen=1", {"chosen": {1, 3}}),
    ("pair=1&pair=2", {"pair": (1, 2)}),
    ('box={"width":3,"labels":["a"]}', {"box": Box(width=3, labels=["a"])}),
    ('boxes={"width":1}&boxes={"width":2}', {"boxes": [Box(width=1), Box(width=2)]}),
    ('boxes=[{"width":1},{"width":2}]', {"boxes": [Box(width=1), Box(width=2)]}),
    ('options={"a":[1,null]}', {"options": {"a": [1, None]}}),
    ("rows=[[1],[2,3]]", {"rows": [[1], [2, 3]]}),
    ("raw=abc", {"raw": b"abc"}),
    ("either={}", {"either": "{}"}),
    ("span=[1]", {"span": Range(1)}),
    ("anything=5&unknown=1", {"anything": "5"}),
]


@pytest.mark.parametrize(("pairs", "values"), VALUES)
def test_text_becomes_what_the_model_says(pairs: str, values: dict[str, Any]) -> None:
    """In a form and in a query alike; what is not sent, or left empty, has its default."""
    expected = Item(**values)
    assert bound(Item, Message("id", HEADERS, pairs.encode())) == expected
    assert query(Item, pairs) == expected
    sent = list(httpx.QueryParams(pairs).multi_items())
    parts = [(name, (None, value)) for name, value in sent]
    assert bound(Item, form(files=parts)) == expected


def test_dataclasses_and_typed_dicts_are_bound_as_models_are() -> None:
    """They have fields, too."""
    assert bound(Point, form({"x": "1", "y": ["a", "b"]})) == Point(1, ["a", "b"])
    assert bound(Typed, form({"n": "1", "box": '{"width": 2}'})) == {"n": 1, "box": Box(width=2)}


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: list[int]
    note: str = ""


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    tricks: list[str]
    note: list[str] = []


Pet = Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]


@pytest.mark.parametrize("annotation", [Pet, Cat | Dog, Pet | None])
def test_a_union_of_models_has_the_fields_of_all(annotation: Any) -> None:
    """A field of the same name takes what it takes in any of them."""
    cat = bound(annotation, form({"kind": "cat", "lives": ["1", "9"]}))
    assert cat == Cat(kind="cat", lives=[1, 9])
    dog = bound(annotation, form({"kind": "dog", "tricks": ["sit"], "note": "good"}))
    assert dog == Dog(kind="dog", tricks=["sit"], note=["good"])


class Aliased(pydantic.BaseModel):
    numbers: list[int] = pydantic.Field(alias="Numbers")
    more: list[int] = pydantic.Field([], validation_alias=pydantic.AliasChoices("m", "more"))
    inner: int = pydantic.Field(0, validation_alias=pydantic.AliasPath("outer", "inner"))
    other: int = pydantic.Field(
        0, validation_alias=pydantic.AliasChoices("o", pydantic.AliasPath("deep", 0))
    )


def test_fields_are_sent_under_their_aliases() -> None:
    """Under any of them; if a field is part of something else, that is JSON."""
    sent = {"Numbers": ["1", "2"], "m": "3", "outer": '{"inner": 4}', "deep": "[5]"}
    item = bound(Aliased, form(sent))
    assert (item.numbers, item.more, item.inner, item.other) == ([1, 2], [3], 4, 5)


class Rooted(pydantic.RootModel[Item]): ...


class Checked(Item):
    @pydantic.model_validator(mode="after")
    def check(self) -> "Checked":
        return self

    @pydantic.model_validator(mode="before")
    @classmethod
    def look(cls, value: Any) -> Any:
        return value


class Tree(pydantic.BaseModel):
    count: int
    child: "Tree | None" = None


class StrictItem(pydantic.BaseModel, strict=True):
    count: int


@pytest.mark.parametrize("annotation", [Rooted, Checked, Tree, StrictItem])
def test_a_model_may_be_within_something(annotation: Any) -> None:
    """A root model, validators, or references to itself; strict types are read from text too."""
    item = bound(annotation, form({"count": "5"}))
    assert getattr(item, "root", item).count == 5


@pytest.mark.parametrize(
    ("pairs", "where", "kind"),
    [
        ("count=many", ("count",), "int_parsing"),
        ("numbers=1&numbers=x", ("numbers", 1), "float_parsing"),
        ("box={", ("box",), "json_invalid"),
        ("boxes=[1", ("boxes",), "json_invalid"),
        ('box={"width":"x"}', ("box", "width"), "int_parsing"),
        ("options=[]", ("options",), "dict_type"),
    ],
)
def test_a_wrong_field_is_named(pairs: str, where: tuple[Any, ...], kind: str) -> None:
    """In the same way as in JSON."""
    assert fault(Item, Message("id", HEADERS, pairs.encode())) == (where, kind)


class Upload(pydantic.BaseModel):
    image: File
    top: int = 3
    more: list[File] = []
    text: str | None = None
    data: bytes = b""


PNG = ("cat.png", b"\x89PNG\r\n", "image/png")


def test_files_come_as_they_were_sent() -> None:
    """Beside other fields, and several under one name."""
    files = [("image", PNG), ("more", ("a", b"1")), ("more", ("b", b"")), ("data", ("c", b"\0"))]
    item = bound(Upload, form({"top": "5"}, files))
    assert (item.image.name, item.image.content_type, item.image.size) == (
        "cat.png",
        "image/png",
        6,
    )
    assert item.image.read() == PNG[1]
    assert ([one.read() for one in item.more], item.top, item.data) == ([b"1", b""], 5, b"\0")


def left_empty(name: bytes) -> bytes:
    """Return the part that a browser sends for a file input in which no file was selected."""
    return (
        b'------WebKitFormBoundaryx\r\nContent-Disposition: form-data; name="%b"; filename=""\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n\r\n"
    ) % name


def browser(*parts: bytes) -> Message:
    content_type = b"multipart/form-data; boundary=----WebKitFormBoundaryx"
    body = b"".join(parts) + b"------WebKitFormBoundaryx--\r\n"
    return Message("id", [(b"content-type", content_type)], body)


def test_a_file_input_left_empty_is_not_there() -> None:
    """A browser sends it without a name and without content."""
    filled = left_empty(b"image").replace(b'filename=""', b'filename="a"')
    item = bound(Upload, browser(filled, left_empty(b"more")))
    assert (item.image.name, item.image.size, item.more) == ("a", 0, [])
    assert fault(Upload, browser(left_empty(b"image"))) == (("image",), "missing")


def test_a_file_may_come_without_a_name_or_as_text() -> None:
    """``curl -F image=<cat.png`` names no file; a canvas in a browser makes a data URL."""
    assert bound(Upload, form(files={"image": (None, b"\xff")})).image.read() == b"\xff"
    url = "data:image/png;base64,aGk="
    for message in (form(files={"image": (None, url)}), form({"image": url})):
        image = bound(Upload, message).image
        assert (image.read(), image.content_type) == (b"hi", "image/png")
    assert bound(Upload, form({"image": "aGk="})).image.read() == b"hi"


def test_a_file_where_text_is_wanted_is_a_fault() -> None:
    """And text that is not base64 where a file is wanted."""
    where = fault(Upload, form(files={"image": PNG, "text": ("a.txt", b"a")}))
    assert where == (("text",), "string_type")
    assert fault(Upload, form({"image": "*"})) == (("image",), "file_encoding")


def first(file: File) -> int:
    data = file.read(1)
    if not data:
        raise ValueError("it is empty")
    return data[0]


First = Annotated[int, FromFile(first, ("image/png", "audio/*"))]
JSON = [(b"content-type", b"application/json")]


def raw(body: bytes, content_type: bytes | None) -> Message:
    return Message("id", [] if content_type is None else [(b"content-type", content_type)], body)


@pytest.mark.parametrize(
    "message",
    [
        raw(b"a", b"image/png"),
        raw(b"a", b"Audio/Wav; rate=8000"),
        raw(b"a", b"application/octet-stream"),
        raw(b"a", None),
        raw(b'"YQ=="', b"application/json"),
        raw(b'"data:,a"', b"application/json"),
        form(files={"anything": ("a.png", b"a")}),
        form({"top": "5"}, files={"anything": ("a.png", b"a")}),
        form(files={"anything": (None, b"a")}),
    ],
)
@pytest.mark.parametrize("annotation", [First, First | None, pydantic.RootModel[First]])
def test_a_file_as_the_whole_input_comes_in_any_way(annotation: Any, message: Message) -> None:
    """As the body, as the only file of a form, or as text in JSON."""
    value = bound(annotation, message)
    assert getattr(value, "root", value) == ord("a")


@pytest.mark.parametrize("content_type", [b"image/gif", b"text/plain", HEADERS[0][1]])
def test_another_type_than_the_decoders_is_refused(content_type: bytes) -> None:
    """The answer says what to send; curl's default is a mistake that many make."""
    with pytest.raises(UnsupportedMediaType, match="--data-binary") as caught:
        bound(First, raw(b"a", content_type))
    accepted = "image/png, audio/*, multipart/form-data, application/json"
    assert caught.value.headers["Accept"] == accepted


def test_a_file_of_any_type_is_still_no_url_encoded_form() -> None:
    """That is what curl says of a body if it is not told otherwise."""
    assert bound(File, raw(b"a", b"text/html")).read() == b"a"
    with pytest.raises(UnsupportedMediaType, match="--data-binary"):
        bound(File, raw(b"a", HEADERS[0][1]))


def test_a_file_that_cannot_be_decoded_is_a_fault() -> None:
    """With the decoder's reason."""
    assert fault(First, raw(b"", b"image/png")) == ((), "file_content")
    with pytest.raises(InvalidInput, match="The file is not what this handler takes"):
        bound(First, raw(b"", b"image/png"))


@pytest.mark.parametrize("message", [browser(left_empty(b"a")), form(files={"a": PNG, "b": PNG})])
def test_a_form_for_one_file_has_one(message: Message) -> None:
    """With none or two there is no telling which one is meant."""
    assert fault(First, message) == ((), "file_count")


def test_a_list_of_files_takes_all_of_a_form() -> None:
    """Under whatever names; or a JSON array, but no raw body."""
    files = {"a": ("a", b"1"), "b": ("b", b"2")}
    assert bound(list[First], form(files=files)) == [ord("1"), ord("2")]
    assert bound(list[First], raw(b'["YQ=="]', b"application/json")) == [ord("a")]
    with pytest.raises(UnsupportedMediaType, match="JSON array"):
        bound(list[First], raw(b"a", b"image/png"))


class Uploads(pydantic.BaseModel, arbitrary_types_allowed=True):
    file: UploadFile
    more: list[fastapi.UploadFile] = []
    n: int = 0


@pytest.mark.parametrize("kind", [UploadFile, fastapi.UploadFile])
@pytest.mark.parametrize(
    "message",
    [
        form(files={"x": ("a.txt", b"hi", "text/plain")}),
        raw(b"hi", b"text/plain"),
        raw(b'"data:text/plain,hi"', b"application/json"),
    ],
)
def test_an_upload_file_works_as_file_does(kind: Any, message: Message) -> None:
    """That of Starlette and that of FastAPI."""
    upload = bound(kind, message)
    assert isinstance(upload, kind)
    assert (upload.file.read(), upload.size, upload.content_type) == (b"hi", 2, "text/plain")
    assert bound(kind | None, message).size == 2
    upload.file.seek(0)
    assert asyncio.run(upload.read()) == b"hi"


def test_upload_files_may_be_in_models_and_lists() -> None:
    """From forms and from JSON."""
    files = [("file", ("a.txt", b"hi")), ("more", ("b", b"1")), ("more", ("c", b"22"))]
    body = b'{"file": "aGk=", "more": ["MQ==", "MjI="], "n": "4"}'
    for message in (form({"n": "4"}, files), raw(body, b"application/json")):
        item = bound(Uploads, message)
        assert (item.file.size, [one.size for one in item.more], item.n) == (2, [1, 2], 4)
    for message in (form(files=files), raw(b'["aGk=", "MQ==", "MjI="]', b"application/json")):
        for kind in (UploadFile, fastapi.UploadFile):
            uploads = bound(list[kind], message)  # type: ignore[valid-type] # computed
            assert [one.size for one in uploads] == [2, 1, 2]
    assert fault(Uploads, raw(b'{"file": "*"}', b"application/json")) == (
        ("file",),
        "file_encoding",
    )
    assert fault(Uploads, raw(b"[]", b"application/json")) == ((), "model_type")


def test_what_takes_files_is_bound_off_the_event_loop() -> None:
    """However small it is; anything else as before."""
    for annotation in (Upload, First, list[First], Uploads, UploadFile, First | None):
        bind = binding_of(taking(annotation))
        assert (bind.decodes_files, bind.at_once) == (True, -1)
        for message in (raw(b'""', b"application/json"), form({"a": "1"}), raw(b"", b"image/png")):
            assert not bind.estimate(message).is_quick
    plain = binding_of(taking(Item))
    assert not plain.decodes_files
    assert plain.at_once > 0
    assert not plain.estimate(form({"text": "a" * 100_000})).is_quick
    reading = binding_of(taking(Item), reads_query=True)
    for pairs, is_quick in ((b"", True), (b"tags=a", True), (b"tags=a&" * 999, False)):
        sent = Message("id", [], b"", {"method": "GET", "query_string": pairs})
        assert reading.estimate(sent).is_quick == is_quick
    assert reading.at_once < 0  # the size of the body says nothing of a query
    assert reading.estimate(form({"text": "a"})).is_quick
    assert not reading.estimate(form({"text": "a" * 100_000})).is_quick
    assert reading.estimate(raw(b"{}", b"application/json")).is_quick


@pytest.mark.parametrize(
    ("annotation", "media_types"),
    [
        (Item, ("application/json",)),
        (
            Upload,
            ("multipart/form-data", "application/x-www-form-urlencoded", "application/json"),
        ),
        (First, ("image/png", "audio/*", "multipart/form-data", "application/json")),
        (list[First], ("multipart/form-data", "application/json")),
        (File, ("*/*", "multipart/form-data", "application/json")),
        (list[Item], ("application/json",)),
        (bytes, ("application/octet-stream",)),
    ],
)
def test_a_binding_knows_what_it_takes(annotation: Any, media_types: Any) -> None:
    """The preferred type comes first."""
    assert tuple(binding_of(taking(annotation)).media_types) == media_types


def test_forms_without_files_are_taken_only_where_queries_are() -> None:
    """Any website can make a browser send them."""
    with pytest.raises(UnsupportedMediaType, match=r"no forms.*application/json"):
        binding_of(taking(Item))(form({"text": "a"}))
    bind = binding_of(taking(Item), reads_query=True)
    assert bind(form({"text": "a"})).text == "a"
    assert tuple(bind.media_types) == (
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    )


@pytest.mark.parametrize("annotation", [dict, list[Item], str, list[int]])
@pytest.mark.parametrize("files", [None, {"a": PNG}])
def test_what_has_no_fields_takes_no_forms(annotation: Any, files: Any) -> None:
    """The answer says so, and what to send."""
    with pytest.raises(UnsupportedMediaType, match=r"no forms.*application/json"):
        bound(annotation, form({"a": "1"}, files))


@pytest.mark.parametrize(
    ("annotation", "reason"), [(Item, "Forms are taken"), (Upload, "multipart form .curl -F")]
)
def test_other_types_are_told_what_is_taken(annotation: Any, reason: str) -> None:
    """A model takes JSON and forms."""
    with pytest.raises(UnsupportedMediaType, match=reason) as caught:
        bound(annotation, raw(b"a", b"text/plain"))
    assert "multipart/form-data" in caught.value.headers["Accept"]


@pytest.mark.parametrize("files", [None, {"image": PNG}])
def test_text_in_forms_is_bounded(files: Any) -> None:
    """Files are not: they are where they are."""
    with pytest.raises(BodyTooLarge, match="1048576"):
        bound(Upload, form({"text": "a" * 600_000, "top": "a" * 600_000}, files))
    large = ("large.bin", bytes(2_000_000))
    assert bound(Upload, form({"text": "a" * 600_000}, {"image": large})).image.size == 2_000_000


def test_fields_are_bounded_in_number() -> None:
    """In forms and in queries."""
    many = urlencode([("tags", "a")] * 1001)
    assert len(query(Item, many.removesuffix("&tags=a")).tags) == 1000
    for use in (
        partial(query, Item, many),
        partial(bound, Item, Message("id", HEADERS, many.encode())),
    ):
        with pytest.raises(BodyTooLarge, match="1000"):
            use()


def test_json_in_forms_is_bounded_as_any_json_is() -> None:
    """By the values in it, by its unions, and by the hashes of its numbers."""
    rows = "[" + "[]," * 1000 + "[]]"
    with pytest.raises(BodyTooLarge, match="too many values"):
        bound(Item, form({"rows": rows}, json_values=1000))
    assert len(bound(Item, form({"rows": rows}, json_values=100_000)).rows) == 1001

    class Biased(pydantic.BaseModel):
        bias: dict[int, float] = {}

    alike = ",".join(f'"{(2**61 - 1) * (n + 1)}":0' for n in range(2000))
    assert fault(Biased, form({"bias": "{" + alike + "}"})) == ((), "hash_collisions")


@pytest.mark.parametrize(
    "message",
    [
        Message("id", HEADERS, b"text=%E9"),
        Message("id", HEADERS, b"text=\xe9"),
        form(files={"text": (None, b"\xe9")}),
        Message("id", [(b"content-type", b"multipart/form-data")], b""),
    ],
)
def test_a_malformed_form_is_told_from_a_wrong_one(message: Message) -> None:
    """It is 400, not 422."""
    with pytest.raises(MalformedForm):
        bound(Item, message)


def test_a_query_is_utf8() -> None:
    """Or it is malformed."""
    with pytest.raises(MalformedForm, match="query"):
        query(Item, "text=%ff")


@pytest.mark.parametrize("annotation", [dict, bytes, list[Item], File])
def test_a_query_needs_fields(annotation: Any) -> None:
    """Told when the handler is decorated."""
    with pytest.raises(UsageError, match="annotate it with a pydantic model"):
        binding_of(taking(annotation), reads_query=True)


class Early(pydantic.BaseModel):
    late: "Late"


EARLY = binding_of(taking(Early))
EARLY_LIST = binding_of(taking(list[Early]), reads_query=True)


class Late(pydantic.BaseModel):
    file: File


def test_files_may_be_in_what_is_defined_later() -> None:
    """It is looked for at the first request."""
    assert EARLY.decodes_files
    assert EARLY(form({"late": '{"file": "aGk="}'})).late.file.read() == b"hi"
    with pytest.raises(UsageError, match="annotate it with a pydantic model"):
        EARLY_LIST(Message("id", [], b"", {"method": "GET"}))


@pytest.fixture
def _no_parser(monkeypatch: pytest.MonkeyPatch) -> Any:
    multipart.can_parse.cache_clear()
    monkeypatch.setattr(multipart, "find_spec", lambda name: None)
    yield
    multipart.can_parse.cache_clear()


@pytest.mark.usefixtures("_no_parser")
def test_files_need_the_parser() -> None:
    """The error names what to install, when the handler is decorated."""
    for annotation in (Upload, First, UploadFile):
        with pytest.raises(UsageError, match=r'pip install "potassium\[files\]"'):
            binding_of(taking(annotation))


@pytest.mark.usefixtures("_no_parser")
def test_without_the_parser_other_forms_are_taken() -> None:
    """URL-encoded ones; a client who sends a multipart form is told."""
    assert bound(Item, form({"count": "2"})).count == 2
    with pytest.raises(UnsupportedMediaType, match="URL-encoded"):
        bound(Item, form(files={"count": (None, "2")}))
