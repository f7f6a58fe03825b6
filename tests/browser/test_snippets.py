"""The call as curl, Python and JavaScript does what the page does, when it is run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from e2e.server import Server, Start
from playwright.sync_api import Page, expect

APP = """
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from potassium import ApiKeys, File, Potassium

app = Potassium("server"{options})

def told(file):
    return file and [file.name, file.content_type, file.read().decode()]

class Box(BaseModel):
    x: int

class Form(BaseModel):
    image: File
    text: str = ""
    words: list[str] = []
    box: Box | None = None

class Pair(BaseModel):
    left: File
    right: File

class Cover(BaseModel):
    file: File

class Deep(BaseModel):
    cover: Cover
    text: str

class Query(BaseModel):
    q: str
    tags: list[str] = []

@app.handler("/echo")
def echo(cache, item: Any) -> dict:
    return {{"got": item}}

@app.handler("/file")
def file(cache, file: File) -> dict:
    return {{"got": told(file)[1:]}}

@app.handler("/form")
def form(cache, item: Form) -> dict:
    box = item.box and item.box.x
    return {{"got": [told(item.image), item.text, item.words, box]}}

@app.handler("/several")
def several(cache, item: Pair) -> dict:
    return {{"got": [told(item.left)[2], told(item.right)[2]]}}

@app.handler("/deep")
def deep(cache, item: Deep) -> dict:
    return {{"got": [told(item.cover.file)[1:], item.text]}}

@app.handler("/search", methods=["GET", "POST"])
def search(cache, item: Query) -> dict:
    return {{"got": item.model_dump()}}

@app.handler("/raw")
def raw(cache, body: bytes) -> dict:
    return {{"got": body.decode()}}

@app.handler("/odd[1-3]%2f'c d")
def odd(cache, item: Any) -> dict:
    return {{"got": item}}

@app.handler("/stream")
def stream(cache, item: str) -> Iterator[str]:
    yield from (item, "-", item)

app.serve()
"""
LANGUAGES = ("curl", "Python", "JavaScript")
# Characters that are special in shells, forms and languages.
NASTY = 'it\'s "$HOME" `id` \\ \\n\n<b>&amp; ü 猫 🐈 ${x} %s */ </script> !'
CONTENT = "content"
NAME = 'it\'s a "cat"; $x, ü.txt'


def snippet(page: Page, language: str) -> str:
    page.get_by_role("button", name=language, exact=True).click()
    code = page.get_by_label("The call as code")
    expect(code).to_contain_text("curl" if language == "curl" else "response")
    text: str = code.inner_text()
    return text


def run(language: str, code: str, folder: Path, key: str = "none") -> str:
    """Run a snippet in a folder and return what it has printed."""
    command = {
        "curl": ["sh", "-c", code],
        "Python": [sys.executable, "-c", code],
        "JavaScript": ["node", "--input-type=module", "-e", code],
    }[language]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "API_KEY": key, "no_proxy": "*"},
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 0, (code, done.stderr.decode())
    return done.stdout.decode()


def served(start: Start, **options: Any) -> Server:
    return start(APP.format(options="", **options))


def show(page: Page, server: Server, handler: str, value: object) -> None:
    """Open a handler, write its input as JSON, and open its snippets."""
    page.goto(f"{server.url}/docs#{handler}")
    page.get_by_role("button", name="JSON").click()
    page.get_by_label("Input as JSON").fill(json.dumps(value))
    page.get_by_text("Call it from code").click()


def choose(page: Page, label: str, folder: Path) -> None:
    """Choose a file whose name is full of special characters."""
    (folder / NAME).write_text(CONTENT)
    page.get_by_label(label).set_input_files(folder / NAME)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "value", [{"text": NASTY, NASTY: [1, 2.5, True, None, {}]}, "@cat", 7], ids=["all", "at", "7"]
)
def test_json_arrives_as_it_is(
    start: Start, page: Page, tmp_path: Path, language: str, value: object
) -> None:
    show(page, served(start), "echo", value)
    printed = run(language, snippet(page, language), tmp_path)
    assert json.loads(printed) == {"got": value}


UNSEEN = "".join(
    map(chr, [*range(1, 10), *range(11, 32), *range(127, 160), 0x202E, 0x2066, 0x2028])
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_members_of_any_name_arrive(
    start: Start, page: Page, tmp_path: Path, language: str
) -> None:
    """In JavaScript, "__proto__" is something else within braces."""
    value = {"__proto__": {"a": [1]}, '"__proto__': 1, "constructor": None, "\\": "__proto__"}
    show(page, served(start), "echo", value)
    printed = run(language, snippet(page, language), tmp_path)
    assert json.loads(printed) == {"got": value}


@pytest.mark.parametrize("language", LANGUAGES)
def test_half_a_character_is_sent_as_the_page_sends_it(
    start: Start, page: Page, tmp_path: Path, language: str
) -> None:
    """JSON can have one, though no encoding of text can."""
    show(page, served(start), "raw", {"a": "x"})
    page.get_by_label("Input as JSON").fill(r'{"a":["\ud83d","\"\\"]}')
    code = snippet(page, language)
    page.locator("article button[type=submit]").click()
    answer = page.get_by_role("region", name="Answer")
    expect(answer).to_contain_text(r'got: "{\"a\":[\"\\ud83d\"')
    printed = json.loads(run(language, code, tmp_path))["got"]
    assert json.loads(printed) == {"a": ["\ud83d", '"\\']}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("handler", ["echo", "raw"])
def test_what_terminals_obey_and_editors_hide_is_written_as_codes(
    start: Start, page: Page, tmp_path: Path, language: str, handler: str
) -> None:
    text = f"a{UNSEEN}'b"
    server = served(start)
    if handler == "echo":
        show(page, server, handler, text)
    else:
        show(page, server, handler, "x")
        page.get_by_label("Input as JSON").fill(json.dumps(text))
    code = snippet(page, language)
    expect(page.get_by_label("The call as code")).to_contain_text(re.compile("'?b['\"]"))
    assert not set(UNSEEN) & set(code.replace("\r", ""))
    assert json.loads(run(language, code, tmp_path)) == {"got": text}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_path_is_called_as_it_is(start: Start, page: Page, tmp_path: Path, language: str) -> None:
    show(page, served(start), "odd", 3)
    printed = run(language, snippet(page, language), tmp_path)
    assert json.loads(printed) == {"got": 3}
    page.locator("article button[type=submit]").click()
    expect(page.get_by_role("region", name="Answer")).to_contain_text("got: 3")


# Each would end what contains it, and run a command or code: a here-document or a string.
COMMAND = "touch pwned"
NAMES = [
    f"a\nEND\n{COMMAND}\n",
    f"a\nEND\n{COMMAND}\nEND_\n{COMMAND}\nEND\n",
    f"$({COMMAND})`{COMMAND}`';{COMMAND};'\";{COMMAND};\"",
    'a"+process.exit(3)+"',
    'a"+exit(3)+"',
    " a\x1b[201~\r\u202e ",
    "-",
]


@pytest.mark.parametrize("handler", ["deep", "form", "file"])
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_no_name_of_a_file_is_run(
    start: Start, page: Page, tmp_path: Path, handler: str, name: str
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / name).write_text(CONTENT)
    page.goto(f"{served(start).url}/docs#{handler}")
    chosen = {"name": name, "mimeType": "text/plain", "buffer": CONTENT.encode()}
    page.locator("input[type=file]").set_input_files(chosen)
    if handler == "deep":
        page.get_by_label("Text *").fill("END")
    page.get_by_text("Call it from code").click()
    for language in LANGUAGES:
        code = snippet(page, language)
        printed = json.loads(run(language, code, folder))["got"]
        assert CONTENT in json.dumps(printed)
        assert [path.name for path in folder.iterdir()] == [name]


def test_no_type_of_a_file_is_run(start: Start, page: Page, tmp_path: Path) -> None:
    """The browser says what it is."""
    (tmp_path / "a").write_text(CONTENT)
    page.goto(f"{served(start).url}/docs#deep")
    page.get_by_label("Text *").fill("x")
    page.locator("input[type=file]").evaluate(
        """(input) => {
          const chosen = new DataTransfer();
          chosen.items.add(new File(["content"], "a", { type: "x/$(touch pwned)`touch pwned`" }));
          input.files = chosen.files;
          input.dispatchEvent(new Event("change"));
        }"""
    )
    page.get_by_text("Call it from code").click()
    run("curl", snippet(page, "curl"), tmp_path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_file_is_the_body(start: Start, page: Page, tmp_path: Path, language: str) -> None:
    page.goto(f"{served(start).url}/docs#file")
    choose(page, "Input *", tmp_path)
    page.get_by_text("Call it from code").click()
    printed = run(language, snippet(page, language), tmp_path)
    assert json.loads(printed) == {"got": ["text/plain", CONTENT]}


@pytest.mark.parametrize("language", LANGUAGES)
def test_files_and_texts_are_a_form(
    start: Start, page: Page, tmp_path: Path, language: str
) -> None:
    page.goto(f"{served(start).url}/docs#form")
    choose(page, "Image *", tmp_path)
    page.get_by_label("Text", exact=True).fill(f"@{NASTY}")
    page.get_by_role("group", name="Words").get_by_role("button", name="Add").click()
    page.get_by_label("Words 1").fill("<a; type=b")
    page.get_by_role("button", name="Add Box").click()
    page.get_by_label("X *").fill("3")
    page.get_by_text("Call it from code").click()
    printed = json.loads(run(language, snippet(page, language), tmp_path))["got"]
    (name, kind, content), text, words, box = printed
    assert name.endswith("ü.txt")
    assert (kind, content) == ("text/plain", CONTENT)
    assert (text.replace("\r\n", "\n"), words, box) == (f"@{NASTY}", ["<a; type=b"], 3)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_file_has_its_own_name(
    start: Start, page: Page, tmp_path: Path, language: str
) -> None:
    page.goto(f"{served(start).url}/docs#several")
    for name in ("one.txt", NAME):
        (tmp_path / name).write_text(f"content of {name}")
    page.get_by_label("Left *").set_input_files(tmp_path / "one.txt")
    page.get_by_label("Right *").set_input_files(tmp_path / NAME)
    page.get_by_text("Call it from code").click()
    printed = run(language, snippet(page, language), tmp_path)
    assert json.loads(printed) == {"got": ["content of one.txt", f"content of {NAME}"]}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_file_deep_inside_is_a_data_url(
    start: Start, page: Page, tmp_path: Path, language: str
) -> None:
    page.goto(f"{served(start).url}/docs#deep")
    choose(page, "File *", tmp_path)
    page.get_by_label("Text *").fill(NASTY)
    page.get_by_text("Call it from code").click()
    printed = run(language, snippet(page, language), tmp_path)
    assert json.loads(printed) == {"got": [["text/plain", CONTENT], NASTY]}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_query_is_part_of_the_url(
    start: Start, page: Page, tmp_path: Path, language: str
) -> None:
    value = {"q": NASTY, "tags": ["a b", "'"]}
    show(page, served(start), "get_search", value)
    printed = run(language, snippet(page, language), tmp_path)
    assert json.loads(printed) == {"got": value}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_is_the_body_of_a_handler_that_takes_bytes(
    start: Start, page: Page, tmp_path: Path, language: str
) -> None:
    page.goto(f"{served(start).url}/docs#raw")
    page.get_by_label("Type").select_option("Text")
    page.get_by_role("textbox", name="Text").fill(f"@{NASTY}")
    page.get_by_text("Call it from code").click()
    printed = run(language, snippet(page, language), tmp_path)
    assert json.loads(printed) == {"got": f"@{NASTY}"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_stream_is_read_as_it_comes(
    start: Start, page: Page, tmp_path: Path, language: str
) -> None:
    show(page, served(start), "stream", "ü")
    code = snippet(page, language)
    assert run(language, code, tmp_path).replace("\n", "") == "ü-ü"
    sign = {"curl": "curl -N", "Python": "httpx.stream(", "JavaScript": "response.body"}
    assert sign[language] in code


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_key_is_named_and_never_shown(
    start: Start, page: Page, tmp_path: Path, language: str
) -> None:
    key = "a-key-that-nobody-may-see"
    server = start(
        APP.format(options=', api_keys=ApiKeys([os.environ["KEY"]])').replace(
            "from typing", "import os\nfrom typing", 1
        ),
        env={"KEY": key},
    )
    page.add_init_script(f"sessionStorage.setItem('potassium-api-key /', '{key}')")
    show(page, server, "echo", 1)
    code = snippet(page, language)
    assert key not in code
    assert json.loads(run(language, code, tmp_path, key)) == {"got": 1}


JOBS = """
from collections.abc import Iterator

from potassium import Jobs, Potassium

app = Potassium("server", jobs=Jobs(path="jobs.db"))

@app.background("/double")
def double(cache, item: int) -> int:
    return 2 * item

@app.handler("/half")
def half(cache, item: int) -> float:
    return item / 2

@app.handler("/count")
def count(cache, item: int) -> Iterator[int]:
    yield from range(item)

app.serve()
"""


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_background_job_is_waited_for(
    start: Start, page: Page, tmp_path: Path, language: str
) -> None:
    show(page, start(JOBS), "double", 21)
    expect(page.get_by_role("button", name="Run in the background")).to_be_visible()
    printed = run(language, snippet(page, language), tmp_path)
    if language == "curl":  # which shows where the job is
        assert re.search(r"location: /jobs/\w+", printed)
    else:
        assert re.search(r"""['"]?output['"]?: ?42""", printed)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("handler", ["half", "count"])
def test_a_call_in_the_background_is_waited_for(
    start: Start, page: Page, tmp_path: Path, language: str, handler: str
) -> None:
    """The code follows the check mark, as the call does."""
    show(page, start(JOBS), handler, 42)
    before = snippet(page, language)
    assert "respond-async" not in before
    page.get_by_label("Run in the background").check()
    expect(page.get_by_label("The call as code")).to_contain_text("respond-async")
    printed = run(language, snippet(page, language), tmp_path)
    if language == "curl":
        assert re.search(r"location: /jobs/\w+", printed)
    else:
        output = {"half": r"21(\.0)?", "count": r"\[ ?0, ?1, ?2.*"}[handler]
        assert re.search(rf"""['"]?output['"]?: ?{output}""", re.sub(r"\s+", " ", printed))


def test_the_code_follows_the_form_and_is_copied(start: Start, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{served(start).url}/docs#search")
    page.get_by_text("Call it from code").click()
    page.get_by_label("Q *").fill("one")
    code = page.get_by_label("The call as code")
    expect(code).to_contain_text('"q":"one"')
    page.get_by_label("Q *").fill("two")
    expect(code).to_contain_text('"q":"two"')
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == code.inner_text()
