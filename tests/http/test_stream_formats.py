"""How the chunks of a stream are encoded."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potassium.errors import UnserializableOutput
from potassium.http.negotiation import stream_format
from potassium.http.sse import ServerSentEvents
from potassium.http.stream_formats import JsonChunks, JsonLines, RawChunks, StreamFormat

ALL: list[type[StreamFormat]] = [ServerSentEvents, JsonLines, RawChunks]
TEXT = b"text/plain; charset=utf-8"
LINES = b"application/x-ndjson"
BYTES = b"application/octet-stream"


def data_of(event: bytes) -> str:
    """Return an event's data as a browser builds it from the lines (WHATWG HTML, section 9.2.6)."""
    text = event.decode()
    assert text.endswith("\n\n")
    lines = text.removesuffix("\n\n").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    values = [line.partition(":")[2].removeprefix(" ") for line in lines if line.startswith("data")]
    return "\n".join(values)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a", b"data: a\n"),
        ("", b"data: \n"),
        (" a", b"data:  a\n"),
        ("a\nb", b"data: a\ndata: b\n"),
        ("a\r\nb", b"data: a\ndata: b\n"),
        ("a\rb", b"data: a\ndata: b\n"),
        ("a\n\rb", b"data: a\ndata: \ndata: b\n"),
        ("\n", b"data: \ndata: \n"),
        ("é\u2028", "data: é\u2028\n".encode()),
    ],
)
def test_each_line_of_a_text_is_a_data_line_of_its_event(text: str, lines: bytes) -> None:
    """A line break of any kind begins another data line, and nothing else does."""
    assert ServerSentEvents().encode(text) == b"id: 1\n" + lines + b"\n"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_client_gets_the_text_that_was_sent_as_an_event(text: str) -> None:
    """Whatever a text contains, the browser's event has it, with line breaks as \\n."""
    event = ServerSentEvents().encode(text)
    assert data_of(event) == text.replace("\r\n", "\n").replace("\r", "\n")
    assert event.count(b"\n\n") == 1


def test_the_ids_of_events_count_up() -> None:
    """The ids of each stream's events count up from 1."""
    for _ in range(2):
        wire = ServerSentEvents()
        assert [wire.encode(text) for text in "ab"] == [
            b"id: 1\ndata: a\n\n",
            b"id: 2\ndata: b\n\n",
        ]


def test_a_chunk_that_cannot_be_sent_takes_no_id() -> None:
    """The ids of the events that a client gets have no gap."""
    wire = ServerSentEvents()
    with pytest.raises(UnserializableOutput):
        wire.encode(object())
    assert wire.encode("a").startswith(b"id: 1\n")


@pytest.mark.parametrize(
    ("chunk", "document"),
    [
        ({"a": "x\ny"}, b'{"a":"x\\ny"}'),
        ([1, 2], b"[1,2]"),
        (None, b"null"),
        (float("nan"), b"null"),
        (np.array([1, 2]), b"[1,2]"),
    ],
    ids=repr,
)
def test_what_is_no_text_goes_as_a_line_of_json(chunk: Any, document: bytes) -> None:
    """In every format, any other value is sent as its JSON document, on one line."""
    assert ServerSentEvents().encode(chunk) == b"id: 1\ndata: " + document + b"\n\n"
    assert JsonLines().encode(chunk) == document + b"\n"
    assert RawChunks().encode(chunk) == document + b"\n"


def test_text_is_a_json_string_in_ndjson() -> None:
    """Each chunk is one line, whatever line breaks it contains."""
    assert json.loads(JsonLines().encode("a\nb")) == "a\nb"
    assert JsonLines().encode("a\nb").count(b"\n") == 1


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_text_in_forms_of_text(kind: Any) -> None:
    """Bytes in UTF-8 are sent as text in text formats, and unchanged in the raw format."""
    chunk = kind("é".encode())
    assert ServerSentEvents().encode(chunk) == "id: 1\ndata: é\n\n".encode()
    assert JsonLines().encode(chunk) == '"é"\n'.encode()
    assert RawChunks().encode(chunk) == "é".encode()


@pytest.mark.parametrize("kind", [ServerSentEvents, JsonLines])
def test_bytes_that_are_no_text_need_the_raw_form(kind: type[StreamFormat]) -> None:
    """The error says which format takes them."""
    with pytest.raises(UnserializableOutput, match="raw form"):
        kind().encode(b"\xff\x00")
    assert RawChunks().encode(b"\xff\x00") == b"\xff\x00"


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("text", ["\ud83d", "a\n\ude00b"])
def test_half_of_a_surrogate_pair_cannot_be_sent(kind: type[StreamFormat], text: str) -> None:
    """No format sends text that is not valid Unicode."""
    with pytest.raises(UnserializableOutput):
        kind().encode(text)


@pytest.mark.parametrize(
    ("chunks", "media_type"),
    [
        (["a", {"b": 1}], TEXT),
        ([b"a", "b"], BYTES),
        ([{"a": 1}, "b"], LINES),
        ([None], LINES),
        ([], BYTES),
    ],
)
def test_the_first_raw_chunk_says_what_the_type_is(chunks: list[Any], media_type: bytes) -> None:
    """The type is text/plain, ndjson or octet-stream; later chunks do not change it."""
    wire = RawChunks()
    for chunk in chunks:
        wire.encode(chunk)
    assert dict(wire.head())[b"content-type"] == media_type


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ([], RawChunks),
        ([""], RawChunks),
        (["*/*"], RawChunks),
        (["text/*"], RawChunks),
        (["text/html, application/json"], RawChunks),
        (["text/event-stream"], ServerSentEvents),
        (["TEXT/Event-Stream"], ServerSentEvents),
        (["text/event-stream; charset=utf-8"], ServerSentEvents),
        (["application/x-ndjson"], JsonLines),
        (["text/html,  text/event-stream ;q=0.5,*/*;q=0.8"], ServerSentEvents),
        (["*/*", "application/x-ndjson"], JsonLines),
        (["text/event-stream;q=0.5, application/x-ndjson"], JsonLines),
        (["application/x-ndjson;q=0.4, text/event-stream;q=0.5"], ServerSentEvents),
        (["text/event-stream, application/x-ndjson"], ServerSentEvents),
        (["application/x-ndjson, text/event-stream"], JsonLines),
        (["text/event-stream;Q=0.1;a=b", "application/x-ndjson; q=0.2"], JsonLines),
        (["text/event-stream;q=0"], RawChunks),
        (["text/event-stream; q=0"], RawChunks),
        (["text/event-stream;q=0, application/x-ndjson;q=0.1"], JsonLines),
        (["text/event-stream;q=high"], RawChunks),
        (["text/event-stream;q=nan"], RawChunks),
        (["text/event-stream;q=\xff"], RawChunks),
        ([",;,=;q,,"], RawChunks),
        (["text/event-streams, xtext/event-stream"], RawChunks),
    ],
    ids=repr,
)
def test_accept_says_which_form_it_is(accept: list[str], kind: type[StreamFormat]) -> None:
    """The preferred format of those that Accept names, in any spelling; raw if it names none."""
    headers = [(b"host", b"text/event-stream")]
    headers += [(b"accept", value.encode("latin-1")) for value in accept]
    assert type(stream_format(headers)) is kind


@pytest.mark.parametrize("kind", ALL)
def test_a_content_type_of_the_apps_own_wins(kind: type[StreamFormat]) -> None:
    """If the app sets a content type, chunks are sent unchanged, whatever the client asked for."""
    wire = kind().set_by_app(201, [(b"content-type", b"audio/wav"), (b"x-a", b"b")])
    assert (wire.status, wire.encode("a\nb")) == (201, b"a\nb")
    head = wire.head()
    assert [value for name, value in head if name == b"content-type"] == [b"audio/wav"]
    assert (b"x-a", b"b") in head


@pytest.mark.parametrize("kind", ALL)
def test_without_a_type_of_the_apps_the_form_stays(kind: type[StreamFormat]) -> None:
    """The app's status and headers are sent in the format that the client asked for."""
    wire = kind().set_by_app(201, [(b"x-a", b"b")])
    assert (type(wire), wire.status) == (kind, 201)
    assert (b"x-a", b"b") in wire.head()


@pytest.mark.parametrize("kind", ALL)
def test_proxies_are_told_not_to_hold_a_stream_back(kind: type[StreamFormat]) -> None:
    """No stream may be buffered, and events may not be cached."""
    head = kind().head()
    assert (b"x-accel-buffering", b"no") in head
    assert ((b"cache-control", b"no-cache") in head) == (kind is ServerSentEvents)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("name", [b"x-accel-buffering", b"cache-control", b"content-type"])
def test_a_header_of_the_apps_own_is_sent_once(kind: type[StreamFormat], name: bytes) -> None:
    """A header that the app sets replaces the default one."""
    wire = kind().set_by_app(200, [(name, b"own")])
    assert [value for key, value in wire.head() if key == name] == [b"own"]


@pytest.mark.parametrize(
    ("chunk", "value"),
    [("a\nb", b'"a\\nb"'), (b"a", b'"a"'), ({"a": 1}, b'{"a":1}'), (None, b"null")],
)
def test_a_job_keeps_its_chunks_as_json(chunk: Any, value: bytes) -> None:
    """Each chunk is a value without a line end, so that the chunks can be put into a list."""
    assert JsonChunks().encode(chunk) == value


def test_a_job_keeps_its_chunks_as_json_whatever_the_app_says() -> None:
    """Nobody sees the status and headers of a job's response."""
    wire = JsonChunks()
    assert wire.set_by_app(404, [(b"content-type", b"text/plain")]) is wire
    assert wire.encode("a") == b'"a"'


@pytest.mark.parametrize("chunk", [b"\xff", "\ud83d", object()])
def test_a_job_keeps_no_chunk_that_is_no_json(chunk: Any) -> None:
    """A chunk that is not JSON raises the same error as in a stream."""
    with pytest.raises(UnserializableOutput):
        JsonChunks().encode(chunk)


def decoded(wire: StreamFormat, chunks: list[bytes]) -> list[str]:
    """Return the texts that a client gets for ``chunks``."""
    encoded = [wire.encode(chunk) for chunk in chunks]
    wire.check_complete()
    if isinstance(wire, ServerSentEvents):
        return [data_of(event) for event in encoded]
    return [json.loads(line) for line in encoded]


TEXTUAL = [ServerSentEvents, JsonLines, JsonChunks]


@pytest.mark.parametrize("kind", TEXTUAL)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")), st.data())
def test_bytes_cut_inside_a_character_are_one_text(
    kind: type[StreamFormat], text: str, data: st.DataObject
) -> None:
    """Wherever they are cut: the character is sent as soon as it is whole."""
    body = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)))))
    chunks = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert "".join(decoded(kind(), chunks)) == text


@pytest.mark.parametrize("kind", TEXTUAL)
def test_bytes_that_end_inside_a_character_are_not_complete(kind: type[StreamFormat]) -> None:
    """Neither at the end of the stream, nor before a chunk that is no bytes."""
    wire = kind()
    wire.encode("é".encode()[:1])
    with pytest.raises(UnserializableOutput, match="middle of a character"):
        wire.check_complete()
    with pytest.raises(UnserializableOutput, match="middle of a character"):
        wire.encode("a")
