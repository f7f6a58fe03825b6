"""Transcriptions over OpenAI's API, message by message."""

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
import soundfile

from potassium import Audio, Potassium
from potassium.http.form import Form, form_of
from potassium.http.message import Message
from potassium.http.spooled import SpooledBody
from potassium.openai import OpenAI, Segment, Transcript, TranscriptionRequest
from potassium.serving.composition import parts_of
from potassium.testing import client

PATH = "/v1/audio/transcriptions"
SEGMENTS = [
    Segment(start=0, end=1.25, text=" You & I"),
    Segment(start=3661.0015, end=3662, text=" say\n\nhello."),
]


class Spoken(TranscriptionRequest):
    file: Audio  # type: ignore[assignment] # decoded


def new_app() -> Potassium:
    app = Potassium("transcriptions")
    api = OpenAI(app, model="segments")

    @api.transcriptions()
    def segments(cache: dict[str, Any], request: TranscriptionRequest) -> Iterator[Any]:
        yield from SEGMENTS
        yield Transcript(language="en", duration=4000.0)

    @api.transcriptions(model="silent")
    def silent(cache: dict[str, Any], request: TranscriptionRequest) -> Iterator[Segment]:
        yield from ()

    @api.transcriptions(model="text", body_size=4 * 2**20)
    def text(cache: dict[str, Any], request: TranscriptionRequest) -> str:
        return f"{request.file.name}: {len(request.file.read())}, {request.prompt}"

    @api.transcriptions(model="pieces", body_size=2**20)
    def pieces(cache: dict[str, Any], request: TranscriptionRequest) -> Iterator[Any]:
        yield "You "
        if request.prompt == "break":
            raise RuntimeError("broken")
        yield "said"
        yield Transcript(text="You said", language="en")

    @api.transcriptions(model="whole")
    def whole(cache: dict[str, Any], request: TranscriptionRequest) -> Transcript:
        return Transcript(segments=SEGMENTS)

    @api.transcriptions(model="sound")
    def sound(cache: dict[str, Any], request: Spoken) -> str:
        return f"{len(request.file.samples)} at {request.file.rate}"

    @api.transcriptions(model="wrong")
    def wrong(cache: dict[str, Any], request: TranscriptionRequest) -> int:
        return 7

    return app


@pytest.fixture
def app() -> Potassium:
    return new_app()


@pytest.fixture
async def http(app: Potassium) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app) as http:
        yield http


async def ask(
    http: httpx.AsyncClient, model: str = "segments", size: int = 5, **fields: Any
) -> httpx.Response:
    files = {"file": ("a.wav", bytes(size), "audio/wav")}
    return await http.post(PATH, data={"model": model, **fields}, files=files)


async def events(http: httpx.AsyncClient, model: str, **fields: Any) -> list[dict[str, Any]]:
    answer = await ask(http, model, stream="true", **fields)
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    *blocks, last, _ = answer.text.split("\n\n")
    assert last == "data: [DONE]"
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


async def test_a_handler_may_return_the_text(http: httpx.AsyncClient) -> None:
    answer = await ask(http, "text", prompt="Listen")
    assert answer.json() == {"text": "a.wav: 5, Listen"}


async def test_pieces_are_joined(http: httpx.AsyncClient) -> None:
    answer = await ask(http, "pieces", response_format="text")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "You said"


@pytest.mark.parametrize("model", ["segments", "whole"])
async def test_segments_say_the_text(http: httpx.AsyncClient, model: str) -> None:
    assert (await ask(http, model)).json() == {"text": " You & I say\n\nhello."}


@pytest.mark.parametrize("model", ["segments", "whole"])
async def test_it_is_told_as_it_is_heard(http: httpx.AsyncClient, model: str) -> None:
    *deltas, done = await events(http, model)
    assert {event["type"] for event in deltas} == {"transcript.text.delta"}
    assert "".join(event["delta"] for event in deltas) == done["text"] == " You & I say\n\nhello."
    assert done["type"] == "transcript.text.done"
    assert len(deltas) == (2 if model == "segments" else 1)


async def test_the_document_has_segments_if_asked(http: httpx.AsyncClient) -> None:
    fields: dict[str, Any] = {"response_format": "verbose_json", "temperature": "0.2"}
    answer = (await ask(http, **fields)).json()
    assert (answer["language"], answer["duration"]) == ("en", 4000.0)
    assert [one["id"] for one in answer["segments"]] == [0, 1]
    assert answer["segments"][0]["temperature"] == 0.2
    found = (await ask(http, "whole", language="no", **fields)).json()
    assert (found["language"], found["duration"]) == ("no", 3662)


async def test_subtitles(http: httpx.AsyncClient) -> None:
    found = await ask(http, response_format="srt")
    assert found.text == (
        "1\n00:00:00,000 --> 00:00:01,250\nYou & I\n\n"
        "2\n01:01:01,002 --> 01:01:02,000\nsay hello.\n"
    )
    found = await ask(http, response_format="vtt")
    assert found.headers["content-type"].startswith("text/vtt")
    assert found.text == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nYou &amp; I\n\n"
        "01:01:01.002 --> 01:01:02.000\nsay hello.\n"
    )


@pytest.mark.parametrize("form", ["srt", "vtt", "verbose_json"])
@pytest.mark.parametrize("model", ["pieces", "text"])
async def test_what_is_made_of_segments_needs_them(
    http: httpx.AsyncClient, form: str, model: str
) -> None:
    answer = await ask(http, model, response_format=form)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "response_format"
    assert f"which {form} is made of" in answer.json()["error"]["message"]


async def test_a_silent_recording_has_no_subtitles(http: httpx.AsyncClient) -> None:
    assert (await ask(http, "silent", response_format="srt")).text == ""
    assert (await events(http, "silent")) == [{"type": "transcript.text.done", "text": ""}]


async def test_an_error_in_the_middle(http: httpx.AsyncClient) -> None:
    *_, last = await events(http, "pieces", prompt="break")
    assert last["error"]["code"] == "handler_error"
    answer = await ask(http, "pieces", prompt="break", response_format="text")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "handler_error")


async def test_a_handler_may_take_decoded_sound(http: httpx.AsyncClient) -> None:
    with io.BytesIO() as wav:
        soundfile.write(wav, [0.0] * 80, 8000, format="WAV")
        files = {"file": ("a.wav", wav.getvalue(), "audio/wav")}
    answer = await http.post(PATH, data={"model": "sound"}, files=files)
    assert answer.json() == {"text": "80 at 8000"}


async def test_the_schema_shows_the_form(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    body = document["paths"]["/models/text/transcriptions"]["post"]["requestBody"]
    assert "multipart/form-data" in body["content"]


async def test_what_a_handler_may_not_return(http: httpx.AsyncClient) -> None:
    answer = await ask(http, "wrong")
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"temperature": "7"}, "temperature"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities[]"),
        ({"include[]": "logprobs"}, "include[]"),
        ({"model": "other"}, "model"),
    ],
)
async def test_what_is_not_offered_is_refused(
    http: httpx.AsyncClient, changed: dict[str, Any], param: str
) -> None:
    answer = await ask(http, **changed)
    assert answer.status_code == (404 if param == "model" else 400)
    assert answer.json()["error"]["param"] == param


async def test_a_file_is_needed(http: httpx.AsyncClient) -> None:
    answer = await http.post(PATH, data={"model": "text"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")


async def test_json_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post(PATH, json={"model": "text", "file": "aaaa"})
    assert answer.status_code == 415
    assert "multipart form" in answer.json()["error"]["message"]


@pytest.fixture
def bodies(app: Potassium, monkeypatch: pytest.MonkeyPatch) -> list[SpooledBody]:
    """The bodies that were written to disk."""
    made: list[SpooledBody] = []
    new = SpooledBody.new

    def noted(on_close: Callable[[], object] | None = None) -> SpooledBody:
        made.append(new(on_close))
        return made[-1]

    monkeypatch.setattr(SpooledBody, "new", noted)
    return made


async def nothing_is_held(app: Potassium) -> None:
    held = parts_of(app).plan.bodies
    while held.disk.held or held.memory.held:  # noqa: ASYNC110 - a thread closes files
        await asyncio.sleep(0.01)


async def test_a_large_form_is_written_once_and_read_on_other_threads(
    http: httpx.AsyncClient,
    app: Potassium,
    bodies: list[SpooledBody],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The route and the handler share one body on disk, which is gone at the end."""
    threads: list[threading.Thread] = []

    def parsed(message: Message) -> Form:
        threads.append(threading.current_thread())
        return form_of(message)

    monkeypatch.setattr("potassium.handlers.form_fields.form_of", parsed)
    answer = await ask(http, "text", 3 * 2**20)
    assert answer.json()["text"].startswith("a.wav: 3145728")
    assert len(threads) == 2
    assert threading.current_thread() not in threads
    assert len(bodies) == 1
    await nothing_is_held(app)


@pytest.mark.parametrize(("model", "status"), [("other", 404), ("pieces", 413)])
async def test_what_is_refused_leaves_nothing_on_disk(
    http: httpx.AsyncClient, app: Potassium, bodies: list[SpooledBody], model: str, status: int
) -> None:
    answer = await ask(http, model, 3 * 2**20)
    assert answer.status_code == status
    assert len(bodies) == 1
    await nothing_is_held(app)
