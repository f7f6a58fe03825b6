"""``potassium openapi``."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli.project.conftest import Type

APP = """\
from potassium import Potassium

app = Potassium("shop ü")
print("hello")

@app.init
def init():
    raise RuntimeError("the model was loaded")

@app.handler("/echo")
def echo(cache, item: list[int]) -> list[int]:
    return item

app.serve()
"""


@pytest.fixture
def app_file(folder: Path) -> Path:
    (folder / "app.py").write_text(APP, "utf-8")
    return folder / "app.py"


def test_it_prints_what_the_server_shows_without_loading_the_model(
    type_: Type, app_file: Path
) -> None:
    typed = type_("openapi")

    assert typed.status == 0
    document = json.loads(typed.out)
    assert document["info"]["title"] == "shop ü"
    assert typed.err == "hello\n"
    assert document == asyncio.run(served(app_file))


async def served(app_file: Path) -> object:
    """Return what ``GET /openapi.json`` answers."""
    import app  # type: ignore[import-not-found] # noqa: PLC0415 - which the command has imported
    import httpx  # noqa: PLC0415

    transport = httpx.ASGITransport(app.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        return (await http.get("/openapi.json")).json()


@pytest.mark.parametrize(("indent", "start"), [("0", '{"openapi":'), ("4", '{\n    "openapi":')])
def test_it_is_indented_as_one_likes(type_: Type, app_file: Path, indent: str, start: str) -> None:
    typed = type_("openapi", "app.py", "--indent", indent)

    assert typed.out.startswith(start)
    assert typed.out.endswith("}\n")


def test_it_is_written_to_a_file(type_: Type, app_file: Path, folder: Path) -> None:
    typed = type_("openapi", "-o", "schema.json")

    assert (typed.status, typed.out) == (0, "")
    assert typed.err.endswith("Wrote schema.json.\n")
    assert json.loads((folder / "schema.json").read_text("utf-8"))["openapi"] == "3.1.0"


def test_a_file_that_cannot_be_written_is_said(type_: Type, app_file: Path) -> None:
    typed = type_("openapi", "-o", "no/such/schema.json")

    assert typed.status == 2
    assert "Error: no/such/schema.json cannot be written: No such file or directory." in typed.err


def test_an_app_that_cannot_be_imported_is_shown_where(type_: Type, folder: Path) -> None:
    (folder / "app.py").write_text("import nothing_like_this\n")

    typed = type_("openapi")

    assert typed.status == 1
    assert 'app.py", line 1, in <module>' in typed.err
    assert typed.err.endswith("Error: app could not be imported, see above.\n")
    assert "potassium/cli" not in typed.err


def test_it_can_be_piped(app_file: Path, folder: Path) -> None:
    """A whole process: what the module prints goes to stderr, and the schema to stdout."""
    command = [sys.executable, "-P", "-m", "potassium", "openapi"]

    ran = subprocess.run(command, cwd=folder, capture_output=True, check=True)

    assert json.loads(ran.stdout)["openapi"] == "3.1.0"
    assert ran.stderr == b"hello\n"
