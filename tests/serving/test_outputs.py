"""What a handler may return beside JSON, and in which form it is sent."""

import asyncio
import base64
import io
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import PIL.Image
import pyarrow as pa
import pyarrow.csv
import pytest
import safetensors.numpy
import safetensors.torch
import soundfile
import torch
from matplotlib.figure import Figure
from starlette.background import BackgroundTask
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    StreamingResponse,
)
from support.ids import shown

from potassium import Batch, Potassium, Response
from potassium.http.representations import choice
from potassium.media.audio import Audio
from potassium.testing import client

mpl.use("Agg")

RED = PIL.Image.new("RGB", (8, 4), (255, 0, 0))
ROWS = np.arange(6, dtype="float32").reshape(2, 3)
FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
TONE = Audio(np.linspace(-1, 1, 80, dtype="float32"), 8000)
PNG, JPEG, WEBP, SVG = "image/png", "image/jpeg", "image/webp", "image/svg+xml"
NPY, SAFETENSORS = "application/x-npy", "application/safetensors"
ARROW, CSV, JSON = "application/vnd.apache.arrow.stream", "text/csv", "application/json"


async def answer(function: Any, accept: str | None = None, **options: Any) -> httpx.Response:
    app = Potassium("test")
    app.handler(**options)(function)
    asks = {} if accept is None else {"Accept": accept}
    async with client(app) as http:
        return await http.post("/", json={}, headers=asks)


def returning(value: Any) -> Any:
    def handler(cache: Any, json_in: Any) -> Any:
        return value

    return handler


def figure() -> Figure:
    drawn = Figure(figsize=(1, 1))
    drawn.subplots().plot([1, 2])
    return drawn


def picture(content: bytes) -> PIL.Image.Image:
    opened = PIL.Image.open(io.BytesIO(content))
    opened.load()
    return opened


@pytest.mark.parametrize(
    ("value", "accept", "sent"),
    [
        (RED, None, PNG),
        (RED, "*/*", PNG),
        (RED, JPEG, JPEG),
        (RED, f"text/html, {WEBP};q=0.9, */*;q=0.1", WEBP),
        (RED, JSON, JSON),
        (figure(), None, PNG),
        (figure(), SVG, SVG),
        (TONE, None, "audio/wav"),
        (TONE, "audio/flac", "audio/flac"),
        (ROWS, None, JSON),
        (ROWS, "*/*", JSON),
        (ROWS, f"{JSON}, {NPY};q=0.5", JSON),
        (ROWS, NPY, NPY),
        (ROWS, SAFETENSORS, SAFETENSORS),
        (ROWS, ARROW, ARROW),
        (ROWS, "text/html", JSON),
        (torch.ones(2), NPY, NPY),
        (FRAME, None, JSON),
        (FRAME, CSV, CSV),
        (FRAME, ARROW, ARROW),
        (pa.table({"a": [1]}), CSV, CSV),
        (pa.table({"a": [1]}), ARROW, ARROW),
    ],
)
@pytest.mark.parametrize("way", ["plain", "async", "batch", "finish", "body"])
async def test_the_form_is_the_one_that_the_request_prefers(
    way: str, value: Any, accept: str | None, sent: str
) -> None:
    """However the value is returned; caches are told that it depends on ``Accept``."""

    async def on_loop(cache: Any, json_in: Any) -> Any:
        return value

    ways: dict[str, tuple[Any, dict[str, Any]]] = {
        "plain": (returning(value), {}),
        "async": (on_loop, {}),
        "batch": (lambda cache, items: [value], {"batch": Batch()}),
        "finish": (returning({}), {"finish": lambda _: value}),
        "body": (returning(Response(body=value)), {}),
    }
    function, options = ways[way]
    got = await answer(function, accept, **options)
    assert (got.status_code, got.headers["content-type"]) == (200, sent)
    assert got.headers["vary"] == "Accept"
    assert int(got.headers["content-length"]) == len(got.content)


@pytest.mark.parametrize("value", [{"a": 1}, [1], "a", 1, None, True, b"a"], ids=repr)
async def test_what_has_one_form_does_not_look_at_accept(
    monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    """A plain result costs nothing more, and is sent whatever the request accepts."""
    monkeypatch.setattr(choice, "preferred", None)
    got = await answer(returning(value), "image/png")
    assert got.status_code == 200
    assert "vary" not in got.headers


@pytest.mark.parametrize("value", [RED, figure(), TONE], ids=lambda value: type(value).__name__)
async def test_a_request_that_takes_no_form_of_a_result_is_told_which_there_are(
    value: Any,
) -> None:
    """406, and the detail lists the types."""
    got = await answer(returning(value), "text/html")
    assert (got.status_code, got.json()["code"]) == (406, "not_acceptable")
    assert choice.kind_of(value).forms[0].media_type in got.json()["detail"]  # type: ignore[union-attr]  # it has one


@pytest.mark.parametrize("accept", [PNG, JPEG, WEBP])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "HSV", "F", "I;16"])
async def test_a_picture_of_any_mode_is_sent(accept: str, mode: str) -> None:
    """In a mode that the format can hold."""
    got = await answer(returning(PIL.Image.new(mode, (3, 2))), accept)
    assert (got.status_code, picture(got.content).size) == (200, (3, 2))


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B", "I;16L"])
async def test_a_picture_of_sixteen_bits_keeps_them(mode: str) -> None:
    """As PNG; a JPEG has the upper eight of them, and is not white."""
    depths = PIL.Image.new(mode, (8, 8))
    for column in range(8):
        for row in range(8):
            depths.putpixel((column, row), 25_000)
    got = picture((await answer(returning(depths))).content)
    assert (got.mode, got.getpixel((4, 4))) == ("I;16", 25_000)
    if mode != "I":  # which may be of any range
        got = picture((await answer(returning(depths), JPEG)).content)
        assert got.convert("L").getpixel((4, 4)) == pytest.approx(25_000 / 256, abs=2)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa"])
async def test_transparency_stays(mode: str) -> None:
    """In a PNG and a WebP, whatever the picture's own mode is."""
    for accept in (PNG, WEBP):
        got = await answer(returning(PIL.Image.new(mode, (8, 8))), accept)
        assert picture(got.content).convert("RGBA").getpixel((4, 4))[3] == 0  # type: ignore[index]  # of RGBA


async def test_white_shines_through_a_picture_that_becomes_a_jpeg() -> None:
    """Otherwise, whatever color was below would show."""
    got = await answer(returning(PIL.Image.new("RGBA", (8, 8), (0, 0, 0, 0))), JPEG)
    assert picture(got.content).getpixel((4, 4)) == (255, 255, 255)


async def test_a_picture_comes_back_to_the_pixel() -> None:
    """PNG loses nothing."""
    noise = np.random.default_rng(1).integers(0, 255, (16, 9, 3), "uint8")
    got = await answer(returning(PIL.Image.fromarray(noise)))
    assert np.array_equal(np.asarray(picture(got.content)), noise)


@pytest.mark.parametrize(
    "array",
    [
        ROWS,
        np.asfortranarray(ROWS),
        ROWS[:, ::2],
        np.float64(ROWS).astype(">f8"),
        np.array(5),
        np.empty((0, 3)),
        np.array(["2024", "NaT"], "datetime64[s]"),
        np.array([True, False]),
        np.array([1j]),
        torch.arange(6).reshape(2, 3).T,
        torch.ones(2, requires_grad=True),
    ],
    ids=str,
)
async def test_an_array_comes_back_as_it_was(array: Any) -> None:
    """Of any layout, by the library that people read such files with."""
    right = array.detach().numpy() if isinstance(array, torch.Tensor) else array
    got = np.load(io.BytesIO((await answer(returning(array), NPY)).content))
    assert got.dtype == right.dtype.newbyteorder("=")
    assert got.shape == right.shape
    assert np.array_equal(got, right, equal_nan=got.dtype.kind in "fmM")
    if right.dtype.kind in "fi":
        tensors = safetensors.numpy.load((await answer(returning(array), SAFETENSORS)).content)
        assert np.array_equal(tensors["array"], right)


async def test_an_array_is_a_column_in_arrow() -> None:
    """Its rows are lists of a fixed size."""
    got = pa.ipc.open_stream((await answer(returning(ROWS), ARROW)).content).read_all()
    assert got.column("array").to_pylist() == ROWS.tolist()


async def test_a_tensor_that_numpy_does_not_know_is_sent_as_safetensors() -> None:
    """In its own type; as .npy it is refused, and the detail says so."""
    tensor = torch.tensor([1.5], dtype=torch.bfloat16)
    got = await answer(returning(tensor), SAFETENSORS)
    assert safetensors.torch.load(got.content)["array"].dtype is torch.bfloat16
    refused = await answer(returning(tensor), NPY)
    assert (refused.status_code, refused.json()["code"]) == (500, "unserializable_output")
    assert "safetensors" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("array", "accept"),
    [
        (np.array([object()]), NPY),
        (np.ma.array([1.0], mask=[True]), NPY),
        (np.array(["a"]), SAFETENSORS),
        (np.array(["a"], np.dtypes.StringDType()), NPY),
        (torch.empty(3, device="meta"), NPY),
        (torch.empty(3, device="meta"), SAFETENSORS),
        (np.array(1.0), ARROW),
        (np.array([1j]), ARROW),
        (Audio(np.zeros((2, 2, 2), "float32"), 8000), "audio/wav"),
        (Audio(np.zeros(2, "float32"), 2**40), "audio/wav"),
        (Audio(np.full(2, np.nan, "float32"), 8000), "audio/flac"),
        (Audio(np.array(0.5), 8000), "audio/wav"),
        (PIL.Image.new("RGB", (70000, 1)), JPEG),
        (PIL.Image.new("RGB", (0, 1)), WEBP),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ARROW),
        (pd.DataFrame({"a": [2**70]}), ARROW),
        (pd.DataFrame({"a": pd.Series(["\ud800"], dtype=object)}), CSV),
        (pa.table({"a": [[1]]}), CSV),
    ],
    ids=shown,
)
async def test_what_a_form_cannot_hold_is_not_sent(array: Any, accept: str) -> None:
    """500 ``unserializable_output``, whatever the reason; nothing is pickled or dropped."""
    got = await answer(returning(array), accept)
    assert (got.status_code, got.json()["code"]) == (500, "unserializable_output")


async def test_a_dict_of_arrays_is_sent_as_safetensors() -> None:
    """If the handler is annotated with it: other dicts are always JSON."""

    def arrays(cache: Any, json_in: Any) -> dict[str, np.ndarray]:
        return {"a": ROWS, "b": torch.ones(1), "c": ROWS}

    got = safetensors.numpy.load((await answer(arrays, SAFETENSORS)).content)
    assert {name: one.tolist() for name, one in got.items()} == {
        "a": ROWS.tolist(),
        "b": [1.0],
        "c": ROWS.tolist(),
    }
    assert (await answer(arrays)).json()["b"] == [1.0]
    plain = await answer(returning({"a": ROWS}), SAFETENSORS)
    assert plain.headers["content-type"] == JSON


async def test_tables_come_back_as_they_were() -> None:
    """As records, Arrow and CSV."""
    assert (await answer(returning(FRAME))).json() == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    arrow = pa.ipc.open_stream((await answer(returning(FRAME), ARROW)).content).read_all()
    assert arrow.to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    assert (await answer(returning(FRAME), CSV)).text == "a,b\n1,x\n2,\n"
    table = pa.table({"a": [1, 2]})
    assert (await answer(returning(table))).json() == [{"a": 1}, {"a": 2}]
    assert (await answer(returning(table), CSV)).text == '"a"\n1\n2\n'


async def test_a_table_of_polars_is_a_table() -> None:
    """As one of pandas."""
    polars = pytest.importorskip("polars")
    table = polars.DataFrame({"a": [1, None]})
    assert (await answer(returning(table))).json() == [{"a": 1}, {"a": None}]
    assert (await answer(returning(table), CSV)).text == "a\n1\n\n"
    arrow = pa.ipc.open_stream((await answer(returning(table), ARROW)).content).read_all()
    assert arrow.to_pylist() == [{"a": 1}, {"a": None}]


@pytest.mark.parametrize("shape", [(80,), (40, 2)])
@pytest.mark.parametrize("accept", ["audio/wav", "audio/flac"])
async def test_sound_comes_back_as_it_was(accept: str, shape: tuple[int, ...]) -> None:
    """To the sixteenth bit; what is too loud is clipped and does not wrap around."""
    sound = Audio(TONE.samples.reshape(shape) * 1.5, 8000)
    content = (await answer(returning(sound), accept)).content
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert rate == 8000
    assert np.allclose(samples, sound.samples.clip(-1, 1), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("way", ["alone", "inside JSON", "streamed"])
async def test_sound_may_be_a_tensor(way: str, dtype: torch.dtype) -> None:
    """As models return it, wherever it is in the result."""
    samples = torch.full((80,), 0.5, dtype=dtype, requires_grad=True)

    def stream(cache: Any, json_in: Any) -> Iterator[Audio]:
        yield Audio(samples, 8000)

    sound = Audio(samples, 8000)
    ways = {"alone": returning(sound), "inside JSON": returning([sound]), "streamed": stream}
    got = await answer(ways[way])
    content = (
        base64.b64decode(got.json()[0].partition(",")[2]) if got.text[:1] == "[" else got.content
    )
    assert soundfile.read(io.BytesIO(content))[0] == pytest.approx(np.full(80, 0.5), abs=1e-4)


async def test_a_sparse_tensor_is_sent_from_an_async_handler() -> None:
    """Nobody knows how many bytes it has."""

    async def handler(cache: Any, json_in: Any) -> torch.Tensor:
        return torch.eye(2).to_sparse()

    assert (await answer(handler)).json() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("value", "mode", "pixel"),
    [
        (np.full((4, 8, 3), 7, "uint8"), "RGB", (7, 7, 7)),
        (np.full((4, 8, 1), 7, "uint8"), "L", 7),
        (np.full((4, 8), 0.5, "float32"), "L", 128),
        (np.full((4, 8), True), "L", 255),
        (torch.full((3, 4, 8), 2.0), "RGB", (255, 255, 255)),
        (torch.zeros((4, 8), dtype=torch.uint8), "L", 0),
        (torch.zeros((1, 4, 8), dtype=torch.bfloat16), "L", 0),
    ],
    ids=lambda value: str(getattr(value, "shape", value)),
)
async def test_an_array_becomes_a_picture_if_the_annotation_says_so(
    value: Any, mode: str, pixel: Any
) -> None:
    """Height, width and channels; channels first in a tensor."""

    def handler(cache: Any, json_in: Any) -> PIL.Image.Image:
        return value  # type: ignore[no-any-return]  # what is tested

    sent = picture((await answer(handler)).content)
    assert (sent.size, sent.mode, sent.getpixel((0, 0))) == ((8, 4), mode, pixel)


async def test_an_array_of_another_shape_is_no_picture() -> None:
    """The call fails."""

    def handler(cache: Any, json_in: Any) -> PIL.Image.Image | None:
        return np.zeros((2, 2, 2))  # type: ignore[return-value]  # what is tested

    assert (await answer(handler)).status_code == 500


async def test_the_annotation_of_an_array_makes_one_of_a_list() -> None:
    """So that it has the forms of an array."""

    def handler(cache: Any, json_in: Any) -> np.ndarray:
        return [[1, 2]]  # type: ignore[return-value]  # what is tested

    assert np.load(io.BytesIO((await answer(handler, NPY)).content)).tolist() == [[1, 2]]


async def test_the_annotation_of_finish_decides_if_there_is_one() -> None:
    """It makes the result."""

    def finish(result: Any) -> PIL.Image.Image:
        return np.zeros((2, 2))  # type: ignore[return-value]  # what is tested

    got = await answer(returning({}), finish=finish)
    assert got.headers["content-type"] == PNG


async def test_the_annotation_of_a_batched_handler_is_that_of_its_items() -> None:
    """As its results are those of the calls."""

    def handler(cache: Any, items: list[Any]) -> list[PIL.Image.Image]:
        return [np.zeros((2, 2)) for _ in items]  # type: ignore[misc]  # what is tested

    got = await answer(handler, batch=Batch())
    assert got.headers["content-type"] == PNG


async def test_the_content_type_of_a_response_decides_the_form() -> None:
    """Whatever the request accepts."""
    response = Response(201, body=RED, headers={"Content-Type": "image/jpeg"})
    got = await answer(returning(response), "image/png")
    assert (got.status_code, got.headers["content-type"], got.content[:2]) == (
        201,
        JPEG,
        b"\xff\xd8",
    )
    assert "vary" not in got.headers
    impossible = Response(body=RED, headers={"Content-Type": "text/csv"})
    assert (await answer(returning(impossible))).json()["code"] == "unserializable_output"


@pytest.mark.parametrize(
    ("value", "start"),
    [(RED, "data:image/png;base64,"), (TONE, "data:audio/wav;base64,")],
    ids=["picture", "sound"],
)
async def test_a_file_inside_json_is_a_data_url(value: Any, start: str) -> None:
    """As the inputs take it."""
    url: str = (await answer(returning({"it": [value]}))).json()["it"][0]
    assert url.startswith(start)
    content = (await answer(returning(value))).content
    assert base64.b64decode(url.removeprefix(start)) == content


# Where values are encoded.


def threads_that_encode(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    save = PIL.Image.Image.save

    def noted(image: PIL.Image.Image, *args: Any, **options: Any) -> None:
        names.append(threading.current_thread().name)
        save(image, *args, **options)

    monkeypatch.setattr(PIL.Image.Image, "save", noted)
    return names


@pytest.mark.parametrize("value", [RED, Response(body=RED)], ids=["alone", "response"])
async def test_a_picture_is_encoded_beside_the_gpu_thread(
    monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    """In the pool, though the handler has no ``finish``."""
    names = threads_that_encode(monkeypatch)
    await answer(returning(value))
    assert names == ["potassium-pool"]


@pytest.mark.parametrize("way", ["plain", "async", "batch", "response"])
async def test_a_figure_is_drawn_on_the_thread_of_its_handler(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """While another thread draws the next one, the two would get letters of each other."""
    threads: list[int] = []
    save = Figure.savefig

    def noted(drawn: Figure, *args: Any, **options: Any) -> None:
        threads.append(threading.get_ident())
        save(drawn, *args, **options)

    def drawn() -> Figure:
        threads.append(threading.get_ident())
        return figure()

    async def on_loop(cache: Any, json_in: Any) -> Figure:
        return drawn()

    monkeypatch.setattr(Figure, "savefig", noted)
    ways: dict[str, tuple[Any, dict[str, Any]]] = {
        "plain": (lambda cache, json_in: drawn(), {}),
        "async": (on_loop, {}),
        "batch": (lambda cache, items: [drawn() for _ in items], {"batch": Batch()}),
        "response": (lambda cache, json_in: Response(body=drawn()), {}),
    }
    function, options = ways[way]
    assert (await answer(function, **options)).headers["content-type"] == PNG
    assert (len(threads), len(set(threads))) == (2, 1)


async def test_a_figure_of_pyplot_is_closed_once_it_is_drawn() -> None:
    """Otherwise, pyplot would keep the figures of all calls."""

    def handler(cache: Any, json_in: Any) -> dict[str, Any]:
        return {"figure": plt.subplots()[0]}

    before = plt.get_fignums()
    assert (await answer(handler)).status_code == 200
    assert plt.get_fignums() == before


async def test_the_gpu_thread_goes_on_while_a_picture_is_encoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call that comes later is answered first."""
    encoding, may_end = threading.Event(), threading.Event()
    save = PIL.Image.Image.save

    def held(image: PIL.Image.Image, *args: Any, **options: Any) -> None:
        encoding.set()
        assert may_end.wait(10)
        save(image, *args, **options)

    monkeypatch.setattr(PIL.Image.Image, "save", held)
    app = Potassium("test")
    app.handler("/picture")(returning(RED))
    app.handler("/short")(returning({}))
    async with client(app) as http:
        picture = asyncio.ensure_future(http.post("/picture", json={}))
        assert await asyncio.to_thread(encoding.wait, 10)
        assert (await http.post("/short", json={})).status_code == 200
        assert not picture.done()
        may_end.set()
        assert (await picture).headers["content-type"] == PNG


async def test_an_async_handler_does_not_encode_on_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither its result nor its chunks."""

    async def handler(cache: Any, json_in: Any) -> PIL.Image.Image:
        return RED

    async def chunks(cache: Any, json_in: Any) -> AsyncIterator[PIL.Image.Image]:
        yield RED

    names = threads_that_encode(monkeypatch)
    await answer(handler)
    await answer(chunks)
    assert len(names) == 2
    assert threading.current_thread().name not in names


async def test_a_picture_may_be_drawn_over_as_soon_as_it_was_returned() -> None:
    """What is sent is what was returned, though it is encoded later."""
    canvas = PIL.Image.new("RGB", (64, 64))

    def draw(cache: Any, json_in: dict[str, Any]) -> PIL.Image.Image:
        canvas.paste((json_in["shade"],) * 3, (0, 0, 64, 64))
        return canvas

    app = Potassium("test")
    app.handler(draw)
    async with client(app) as http:
        calls = [http.post("/", json={"shade": shade}) for shade in range(32)]
        shades = [
            picture(got.content).getpixel((0, 0))[0]  # type: ignore[index]  # of RGB
            for got in await asyncio.gather(*calls)
        ]
    assert shades == list(range(32))


async def test_a_picture_that_fails_in_the_pool_fails_its_call_alone() -> None:
    """The next call is served."""
    app = Potassium("test")
    app.handler("/bad")(returning(PIL.Image.new("RGB", (70000, 1))))
    app.handler("/good")(returning(RED))
    async with client(app) as http:
        bad = await http.post("/bad", json={}, headers={"Accept": JPEG})
        good = await http.post("/good", json={})
    assert (bad.status_code, good.status_code) == (500, 200)


async def test_a_call_in_the_process_gets_the_value_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is encoded, copied, or made what the annotation says."""
    names = threads_that_encode(monkeypatch)
    app = Potassium("test")
    app.handler("/picture")(returning(RED))

    @app.handler("/annotated", finish=lambda result: result)
    def annotated(cache: Any, json_in: Any) -> PIL.Image.Image:
        return ROWS  # type: ignore[return-value]  # what is tested

    @app.handler("/arrays")
    def arrays(cache: Any, json_in: Any) -> dict[str, np.ndarray]:
        return {"a": ROWS}

    @app.handler("/async")
    async def on_loop(cache: Any, json_in: Any) -> np.ndarray:
        return [1]  # type: ignore[return-value]  # what is tested

    async with app.lifespan():
        assert await app.call("/picture", {}) is RED
        assert await app.call("/annotated", {}) is ROWS
        assert await app.call("/arrays", {}) == {"a": ROWS}
        assert await app.call("/async", {}) == [1]
    assert names == []


# Streams.


def frames(cache: Any, json_in: Any) -> Iterator[Any]:
    yield RED
    yield PIL.Image.new("RGB", (2, 2))


async def test_a_raw_stream_of_pictures_is_one_file_after_the_other() -> None:
    """In the form that the request prefers."""
    got = await answer(frames, WEBP)
    assert got.headers["content-type"] == WEBP
    assert got.content.count(b"WEBPVP8") == 2


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
async def test_a_picture_in_a_stream_of_texts_is_a_data_url(accept: str) -> None:
    """As inside of JSON."""
    got = await answer(frames, accept)
    assert got.text.count('"data:image/png;base64,') == 2


def parts(content: bytes) -> list[bytes]:
    *some, end = content.split(b"--frame")
    assert (some[0], end) == (b"", b"--\r\n")
    found = []
    for part in some[1:]:
        head, _, rest = part.partition(b"\r\n\r\n")
        length = int(head.split(b"Content-Length: ")[1])
        assert rest[length:] == b"\r\n"
        found.append(rest[:length])
    return found


async def test_pictures_may_replace_one_another() -> None:
    """A browser shows such a stream as a film; each part has its type and length."""
    got = await answer(frames, "multipart/x-mixed-replace")
    assert got.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
    assert [picture(part).size for part in parts(got.content)] == [(8, 4), (2, 2)]
    assert got.content.count(b"Content-Type: image/jpeg") == 2


async def test_the_app_may_say_that_its_pictures_replace_one_another() -> None:
    """By the content type of its response; other chunks are parts, too."""

    def chunks() -> Iterator[Any]:
        yield RED
        yield b"abc"
        yield {"a": 1}

    content_type = 'multipart/x-mixed-replace; boundary="frame"'
    response = Response(body=chunks(), headers={"Content-Type": content_type})
    got = await answer(returning(response))
    first, *others = parts(got.content)
    assert (picture(first).format, others) == ("JPEG", [b"abc", b'{"a":1}'])
    without = Response(body=chunks(), headers={"Content-Type": "multipart/x-mixed-replace"})
    assert (await answer(returning(without))).status_code == 500


# Responses of Starlette's, and headers.


@pytest.mark.parametrize(
    ("response", "status", "header", "body"),
    [
        (PlainTextResponse("hi", 201), 201, ("content-type", "text/plain; charset=utf-8"), b"hi"),
        (JSONResponse({"a": 1}, headers={"X-A": "b"}), 200, ("x-a", "b"), b'{"a":1}'),
        (RedirectResponse("/other"), 307, ("location", "/other"), b""),
        (
            StreamingResponse(iter(["a", "b"]), 202, {"X-Request-Id": "own"}),
            202,
            ("x-request-id", "id"),
            b"ab",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_response_of_starlettes_is_sent_as_it_is(
    response: Any, status: int, header: tuple[str, str], body: bytes
) -> None:
    """Its status, headers and body, with the request's id."""
    app = Potassium("test")
    app.handler(returning(response))
    async with client(app) as http:
        got = await http.post("/", json={}, headers={"X-Request-Id": "id"})
    assert (got.status_code, got.headers[header[0]], got.content) == (status, header[1], body)
    assert got.headers.get_list("x-request-id") == ["id"]


async def test_a_file_is_sent_without_being_loaded(tmp_path: Path) -> None:
    """Piece by piece."""
    (tmp_path / "a.bin").write_bytes(bytes(200_000))
    app = Potassium("test")
    app.handler(returning(FileResponse(tmp_path / "a.bin", filename="a.bin")))
    sizes: list[int] = []

    async def send(message: Any) -> None:
        sizes.append(len(message.get("body", b"")))

    bodies = iter([{"type": "http.request", "body": b"{}"}])

    async def receive() -> Any:
        for one in bodies:
            return one
        return await asyncio.get_running_loop().create_future()

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "root_path": ""}
    async with app.lifespan():
        await app(scope, receive, send)
    assert sum(sizes) == 200_000
    assert max(sizes) < 100_000


async def test_a_file_that_is_not_there_is_an_error_of_the_server() -> None:
    """With a problem document, as for any other failure."""
    got = await answer(returning(FileResponse("/nothing/there")))
    assert (got.status_code, got.headers["content-type"]) == (500, "application/problem+json")


async def test_a_background_task_that_fails_does_not_break_its_response(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Which is complete by then; the log has the error."""

    def task() -> None:
        raise ValueError("no")

    got = await answer(returning(JSONResponse({}, background=BackgroundTask(task))))
    assert (got.status_code, got.json()) == (200, {})
    assert "/ failed: internal_error" in caplog.text
    assert "ended early" not in caplog.text


async def test_what_a_response_of_starlettes_does_afterwards_is_done() -> None:
    """Its background task runs once it is sent."""
    done: list[str] = []
    task = BackgroundTask(done.append, "done")
    got = await answer(returning(JSONResponse({}, background=task)))
    assert (got.json(), done) == ({}, ["done"])


async def test_a_header_may_be_sent_several_times() -> None:
    """If the headers are given as pairs."""
    cookies = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    got = await answer(returning(Response(json={}, headers=cookies)))
    assert got.headers.get_list("set-cookie") == ["a=1", "b=2"]


async def test_a_library_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what to install; the client learns nothing of it."""
    for name, value, accept in (
        ("soundfile", TONE, "audio/wav"),
        ("safetensors", ROWS, SAFETENSORS),
        ("pyarrow.csv", FRAME, ARROW),
    ):
        monkeypatch.setitem(sys.modules, name, None)
        got = await answer(returning(value), accept)
        assert (got.status_code, got.json()["code"]) == (500, "handler_error")
        assert 'pip install "potassium[' in caplog.text
        caplog.clear()
