"""Which modules are imported anew, and what becomes of those that nobody asked for again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.reload import Workshop, imports_of

APP = """
from potassium import Potassium
{imports}
app = Potassium("app")

@app.init
def init():
    {init}
    return {{}}

@app.handler("/")
def handle(cache: dict, json_in: dict) -> dict:
    {handler}
"""
WORDS = "def greet():\n    return 'hello'\n"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    shop = Workshop(tmp_path)
    shop.write(runs="RUNS = []\n")
    with imports_of(tmp_path):
        yield shop


def app(*, imports: str = "", init: str = "pass", handler: str) -> str:
    init = f"import runs; runs.RUNS.append(1); {init}"
    return APP.format(imports=imports, init=init, handler=handler)


@pytest.mark.parametrize("package", ["bare", "spread"])
async def test_a_module_that_its_package_does_not_import_is_replaced(
    shop: Workshop, package: str
) -> None:
    if package == "bare":  # the other one has no __init__.py
        shop.write(**{"bare/__init__": ""})
    shop.write(
        app=app(imports=f"from {package} import words", handler="return words.greet()"),
        **{f"{package}/words": WORDS},
    )
    async with shop.serving() as http:
        await shop.save(**{f"{package}/words": WORDS.replace("hello", "hi")})

        assert (await http.post("/", json={})).json() == "hi"


LAZY = """
MODEL = None
def load():
    global MODEL
    MODEL = 'loaded'
def other():
    return 1
"""


async def test_what_only_init_has_imported_is_imported_anew_with_its_globals(
    shop: Workshop,
) -> None:
    shop.write(
        lazy=LAZY,
        words=WORDS,
        app=app(
            imports="import words",
            init="import lazy; lazy.load()",
            handler="import lazy; return [lazy.MODEL, lazy.other(), words.greet()]",
        ),
    )
    async with shop.serving() as http:
        await shop.save(lazy=LAZY.replace("1", "2"))
        assert (await http.post("/", json={})).json() == ["loaded", 2, "hello"]
        await shop.save(words=WORDS.replace("hello", "hi"))
        assert (await http.post("/", json={})).json() == ["loaded", 2, "hi"]

    assert shop.module("runs").RUNS == [1]


async def test_what_is_saved_while_it_is_imported_is_imported_once_more(shop: Workshop) -> None:
    own = app(handler="return words.greet()", imports="import words, saver")
    shop.write(app=own, words=WORDS, saver="")
    path = str(shop.folder / "words.py")
    text = WORDS.replace("hello", "later")
    async with shop.serving() as http:
        await shop.save(
            saver=f"from pathlib import Path\nPath({path!r}).write_text({text!r})\n",
            words=WORDS.replace("hello", "hi"),
        )
        await shop.save()

        assert (await http.post("/", json={})).json() == "later"


async def test_an_error_that_is_no_exception_is_shown_too(
    shop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.write(app=app(imports="import words", handler="return words.greet()"), words=WORDS)
    async with shop.serving() as http:
        await shop.save(words="class Stop(BaseException): pass\nraise Stop('here')\n")
        assert "here" in caplog.text
        await shop.save(words=WORDS.replace("hello", "hi"))

        assert (await http.post("/", json={})).json() == "hi"


@pytest.mark.parametrize("content", [b"x = 1\0\n", b"x = '\xe9'\n", b"\xff\xfe"])
async def test_a_file_that_is_no_text_is_an_error(shop: Workshop, content: bytes) -> None:
    shop.write(app=app(imports="import words", handler="return words.greet()"), words=WORDS)
    async with shop.serving() as http:
        (shop.folder / "words.py").write_bytes(content)
        await shop.save()
        assert (await http.post("/", json={})).json() == "hello"
        await shop.save(words=WORDS.replace("hello", "hi"))

        assert (await http.post("/", json={})).json() == "hi"


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b"# coding: latin-1\nX = '\xe9'\r\n"])
async def test_other_encodings_are_read(shop: Workshop, prefix: bytes) -> None:
    shop.write(app=app(imports="import words", handler="return words.greet()"), words=WORDS)
    async with shop.serving() as http:
        text = WORDS.replace("hello", "hi").replace("\n", "\r\n")
        (shop.folder / "words.py").write_bytes(prefix + text.encode())
        await shop.save()

        assert (await http.post("/", json={})).json() == "hi"


async def test_a_file_that_becomes_a_folder_becomes_a_package(shop: Workshop) -> None:
    shop.write(app=app(imports="import words", handler="return words.greet()"), words=WORDS)
    async with shop.serving() as http:
        (shop.folder / "words.py").unlink()
        await shop.save()
        assert (await http.post("/", json={})).json() == "hello"
        (shop.folder / "words").mkdir()
        await shop.save(**{"words/__init__": WORDS.replace("hello", "hi")})
        assert (await http.post("/", json={})).json() == "hi"
        (shop.folder / "words" / "__init__.py").unlink()
        (shop.folder / "words").rmdir()
        (shop.folder / "words").write_text("")
        await shop.save()
        assert (await http.post("/", json={})).json() == "hi"
        await shop.save(words=WORDS)

        assert (await http.post("/", json={})).json() == "hello"


async def test_a_file_in_whose_place_there_is_a_folder_is_gone(shop: Workshop) -> None:
    shop.write(app=app(imports="import words", handler="return words.greet()"), words=WORDS)
    async with shop.serving() as http:
        (shop.folder / "words.py").unlink()
        (shop.folder / "words.py").mkdir()
        await shop.save()
        assert (await http.post("/", json={})).json() == "hello"
