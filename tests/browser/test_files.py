"""Files are chosen, dropped, pasted or recorded, shown, and sent."""

import io
import re
from typing import Any

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from e2e.server import Start
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect

APP = """
from pydantic import BaseModel

from potassium import Array, Audio, File, Image, Potassium

app = Potassium("server")

def told(file):
    return file and {"name": file.name, "size": file.size, "type": file.content_type}

class Box(BaseModel):
    x: int

class Cover(BaseModel):
    file: File
    note: str = ""

class Item(BaseModel):
    image: File
    extra: File | None = None
    more: list[File] = []
    box: Box | None = None
    numbers: list[int] = []
    words: list[str] = []
    cover: Cover | None = None

@app.handler("/file")
def file(cache, file: File) -> dict:
    return told(file)

@app.handler("/files")
def files(cache, files: list[File]) -> list:
    return [told(one) for one in files]

@app.handler("/image")
def image(cache, image: Image) -> list[int]:
    return [image.width, image.height]

@app.handler("/audio")
def audio(cache, audio: Audio) -> dict:
    loudest = float(abs(audio.samples).max())
    seconds = len(audio.samples) / audio.rate
    return {"rate": audio.rate, "seconds": seconds, "loud": loudest > 0.01}

@app.handler("/array")
def array(cache, array: Array) -> dict:
    return {"shape": list(array.shape)}

@app.handler("/raw")
def raw(cache, body: bytes) -> int:
    return len(body)

@app.handler("/item")
def item(cache, item: Item) -> dict:
    return {
        "image": told(item.image),
        "extra": told(item.extra),
        "more": [told(one) for one in item.more],
        "cover": item.cover and told(item.cover.file) | {"note": item.cover.note},
        "box": item.box and item.box.x,
        "numbers": item.numbers,
        "words": item.words,
    }

class Note(BaseModel):
    image: Image
    text: str = "a"

@app.handler("/note")
def note(cache, item: Note) -> list:
    return [item.image.width, item.text]

app.serve()
"""
HOSTILE = "<img src=x onerror=alert(1)>.txt"


def payload(name: str, kind: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": content}


def png(width: int = 8, height: int = 4) -> FilePayload:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "PNG")
    return payload("red.png", "image/png", file.getvalue())


def sent(page: Page, kind: str) -> Any:
    """Press Call, check that the request has this kind of body, and return the result."""
    with page.expect_response(lambda one: one.request.method == "POST") as response:
        page.get_by_role("button", name="Call", exact=True).click()
    assert response.value.request.headers["content-type"].startswith(kind)
    assert response.value.status == 200, response.value.text()
    return response.value.json()


TEXT = payload("a.txt", "text/plain", b"four")


def test_a_picture_that_the_browser_cannot_display_is_shown_by_its_name(
    start: Start, page: Page
) -> None:
    """There is no icon of a broken picture."""
    page.goto(f"{start(APP).url}/docs#file")
    picture = payload("a.pgm", "image/x-portable-graymap", b"P5 1 1 255 a")
    page.get_by_label("Input *").set_input_files(picture)
    expect(page.get_by_text("a.pgm")).to_be_visible()
    expect(page.locator("article img")).to_have_count(0)


def test_a_file_that_is_the_whole_input_is_the_body(start: Start, page: Page) -> None:
    page.goto(f"{start(APP).url}/docs#file")
    page.get_by_label("Input *").set_input_files(TEXT)
    assert sent(page, "text/plain") == {"name": "", "size": 4, "type": "text/plain"}


def test_bytes_are_sent_as_they_are(start: Start, page: Page) -> None:
    page.goto(f"{start(APP).url}/docs#raw")
    page.locator("input[type=file]").set_input_files(TEXT)
    assert sent(page, "text/plain") == 4
    page.get_by_label("Type").select_option("Text")
    page.get_by_role("textbox", name="Text").fill("äö")
    assert sent(page, "text/plain") == 4


def test_several_files_are_several_parts(start: Start, page: Page) -> None:
    page.goto(f"{start(APP).url}/docs#files")
    field = page.get_by_label("Input *")
    field.set_input_files([TEXT, payload("b.txt", "text/plain", b"b")])
    field.set_input_files(payload("a.txt", "text/plain", b"another"))  # of the same name
    page.get_by_role("button", name="Remove b.txt").click()
    got = sent(page, "multipart/form-data")
    assert [(one["name"], one["size"]) for one in got] == [("a.txt", 4), ("a.txt", 7)]


def test_a_model_with_files_is_sent_as_a_form(start: Start, page: Page) -> None:
    page.goto(f"{start(APP).url}/docs#item")
    page.get_by_label("Image *").set_input_files(png())
    page.get_by_label("More").set_input_files([TEXT, png()])
    page.get_by_role("button", name="Add Box").click()
    page.get_by_role("group", name="Box").get_by_label("X *").fill("5")
    for group, value in (("Numbers", "1"), ("Words", "a, b")):
        fields = page.get_by_role("group", name=group)
        fields.get_by_role("button", name="Add").click()
        fields.get_by_label(f"{group} 1").fill(value)
    got = sent(page, "multipart/form-data")
    assert got["image"] == {"name": "red.png", "size": len(png()["buffer"]), "type": "image/png"}
    assert [one["name"] for one in got["more"]] == ["a.txt", "red.png"]
    assert got["extra"] is None
    assert (got["box"], got["numbers"], got["words"]) == (5, [1], ["a, b"])


def test_a_file_within_a_nested_model_is_sent_within_json(start: Start, page: Page) -> None:
    page.goto(f"{start(APP).url}/docs#item")
    page.get_by_label("Image *").set_input_files(png())
    page.get_by_role("button", name="Add Cover").click()
    cover = page.get_by_role("group", name="Cover", exact=True)
    cover.get_by_label("File *").set_input_files(TEXT)
    cover.get_by_label("Note").fill("see")
    got = sent(page, "application/json")
    assert got["image"]["size"] == len(png()["buffer"])
    assert (got["cover"]["size"], got["cover"]["note"]) == (4, "see")


def test_pictures_sound_and_arrays_are_decoded_by_their_handlers(start: Start, page: Page) -> None:
    url = start(APP).url
    page.goto(f"{url}/docs#image")
    page.get_by_label("Input *").set_input_files(png(9, 3))
    assert sent(page, "image/png") == [9, 3]
    sound = io.BytesIO()
    soundfile.write(sound, np.full(800, 0.5), 8000, format="WAV")
    page.goto(f"{url}/docs#audio")
    page.get_by_label("Input *").set_input_files(payload("a.wav", "audio/wav", sound.getvalue()))
    assert sent(page, "audio/wav") == {"rate": 8000, "seconds": 0.1, "loud": True}
    array = io.BytesIO()
    np.save(array, np.zeros((2, 3)))
    page.goto(f"{url}/docs#array")
    page.locator("input[type=file]").set_input_files(
        payload("a.npy", "application/x-other", array.getvalue())
    )
    assert sent(page, "application/octet-stream") == {"shape": [2, 3]}
    page.get_by_label("Type").select_option("List")
    page.get_by_placeholder("JSON").fill("[[1], [2]]")
    assert sent(page, "application/json") == {"shape": [2, 1]}


def test_what_was_chosen_is_shown_and_can_be_removed(start: Start, page: Page) -> None:
    page.goto(f"{start(APP).url}/docs#item")
    image = page.get_by_label("Image *")
    image.set_input_files(png(8, 4))
    shown = page.get_by_role("img", name="red.png")
    expect(shown).to_be_visible()
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") == 8
    extra = page.get_by_label("Extra")
    extra.set_input_files(payload("a.wav", "audio/wav", b"RIFF"))
    expect(page.locator("audio[aria-label='a.wav']")).to_be_visible()
    extra.set_input_files(payload("a.mp4", "video/mp4", b"0" * 1500))
    expect(page.locator("video[aria-label='a.mp4']")).to_be_visible()
    expect(page.get_by_text("1.5 kB")).to_be_visible()
    extra.set_input_files(payload(HOSTILE, "text/plain", b"x"))
    expect(page.get_by_text(HOSTILE, exact=True)).to_be_visible()
    page.get_by_role("button", name=f"Remove {HOSTILE}").click()
    expect(page.get_by_text(HOSTILE, exact=True)).to_have_count(0)
    assert sent(page, "multipart/form-data")["extra"] is None


TRANSFER = """(name) => {
  const data = new DataTransfer();
  data.items.add(new File(["dropped"], name, { type: "text/plain" }));
  return data;
}"""


def test_a_file_may_be_dropped(start: Start, page: Page) -> None:
    page.goto(f"{start(APP).url}/docs#item")
    data = page.evaluate_handle(TRANSFER, "c.txt")
    place = page.locator(".chooser").first
    place.dispatch_event("dragover", {"dataTransfer": data})
    expect(place).to_have_class(re.compile("over"))
    place.dispatch_event("drop", {"dataTransfer": data})
    expect(page.get_by_text("c.txt")).to_be_visible()
    assert sent(page, "multipart/form-data")["image"]["size"] == 7


PASTE = """(to, name) => {
  const data = new DataTransfer();
  data.items.add(new File(["pasted"], name, { type: "image/png" }));
  const event = { clipboardData: data, bubbles: true, cancelable: true };
  to.dispatchEvent(new ClipboardEvent("paste", event));
}"""


def test_a_file_may_be_pasted_anywhere_if_one_field_takes_files(start: Start, page: Page) -> None:
    url = start(APP).url
    page.goto(f"{url}/docs#note")
    page.get_by_label("Text", exact=True).evaluate(PASTE, "d.png")
    expect(page.get_by_role("button", name="Remove d.png")).to_be_visible()
    page.goto(f"{url}/docs#item")
    page.get_by_role("button", name="Call", exact=True).evaluate(PASTE, "e.png")
    page.get_by_label("Extra").evaluate(PASTE, "f.png")
    expect(page.get_by_role("button", name="Remove f.png")).to_be_visible()
    expect(page.get_by_role("button", name="Remove e.png")).to_have_count(0)


def test_in_json_a_file_is_its_name(start: Start, page: Page) -> None:
    page.goto(f"{start(APP).url}/docs#note")
    page.get_by_label("Image *").set_input_files(png(6))
    page.get_by_role("button", name="JSON").click()
    text = page.get_by_label("Input as JSON")
    expect(text).to_have_value('{\n  "image": "@red.png",\n  "text": "a"\n}')
    text.fill('{"image": "@red.png", "text": "@b"}')
    assert sent(page, "multipart/form-data") == [6, "@b"]


def test_sound_is_recorded_in_a_form_that_the_server_reads(start: Start, page: Page) -> None:
    page.goto(f"{start(APP).url}/docs#audio")
    expect(page.get_by_role("button", name="Use camera")).to_have_count(0)
    page.get_by_role("button", name="Record audio").click()
    expect(page.get_by_role("timer")).to_have_text("2 s")
    page.get_by_role("button", name="Stop recording").click()
    expect(page.locator("audio")).to_be_visible()
    got = sent(page, "audio/wav")
    assert got["seconds"] > 1
    assert got["loud"]


def test_a_picture_is_taken_with_the_camera(start: Start, page: Page) -> None:
    page.goto(f"{start(APP).url}/docs#note")
    expect(page.get_by_role("button", name="Record audio")).to_have_count(0)
    page.get_by_role("button", name="Use camera").click()
    video = page.get_by_label("Camera preview")
    expect(video).to_have_js_property("readyState", 4)  # it shows the camera
    width = video.evaluate("video => video.videoWidth")
    page.get_by_role("button", name="Take picture").click()
    expect(page.get_by_role("img", name=re.compile("^picture-"))).to_be_visible()
    assert sent(page, "multipart/form-data") == [width, "a"]


def test_a_microphone_that_may_not_be_used_is_a_sentence(start: Start, page: Page) -> None:
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = () =>"
        " Promise.reject(new DOMException('Permission denied', 'NotAllowedError'))"
    )
    page.goto(f"{start(APP).url}/docs#audio")
    page.get_by_role("button", name="Record audio").click()
    expect(page.get_by_role("alert")).to_have_text(
        "The microphone cannot be used: Permission denied"
    )


def test_a_file_that_is_too_large_is_refused_by_the_server(start: Start, page: Page) -> None:
    page.goto(f"{start(APP).url}/docs#file")
    large = payload("large.bin", "application/octet-stream", bytes(11 * 2**20))
    page.get_by_label("Input *").set_input_files(large)
    page.get_by_role("button", name="Call", exact=True).click()
    expect(page.get_by_role("region", name="Answer")).to_contain_text("body_too_large")


def test_a_required_file_is_missed(start: Start, page: Page) -> None:
    page.goto(f"{start(APP).url}/docs#note")
    page.get_by_role("button", name="Call", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("image: Required")
    expect(page.get_by_label("Image *")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fields_for_files_are_accessible(start: Start, page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{start(APP).url}/docs#item")
    page.get_by_label("Image *").set_input_files(png())
    page.get_by_label("More").set_input_files([TEXT])
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []
