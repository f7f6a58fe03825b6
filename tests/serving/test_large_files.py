"""Large files in forms and bodies: they stay on disk, also in background jobs."""

import base64
import gzip
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pydantic
import pytest
from starlette.datastructures import UploadFile
from support.bodies import nothing_is_left

from potassium import File, FromFile, Jobs, Potassium, current_request
from potassium.http.spooled import IN_MEMORY
from potassium.testing import client

CONTENT = os.urandom(3 * IN_MEMORY)
FORM: dict[str, Any] = {"files": {"file": ("a.bin", CONTENT)}, "data": {"top": "7"}}


Size = Annotated[int, FromFile(lambda file: len(file.read()), ("*/*",))]


class Item(pydantic.BaseModel):
    file: File
    top: int = 3


@pytest.fixture(params=["memory", "sqlite"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Potassium]:
    path = None if request.param == "memory" else tmp_path / "jobs.db"
    app = Potassium("test", jobs=Jobs(path=path))

    @app.handler
    def handler(cache: dict[str, Any], item: Item) -> Any:
        content = current_request()._message.content
        return [item.file.read() == CONTENT, item.file.name, item.top, type(content).__name__]

    @app.handler("/whole")
    def whole(cache: dict[str, Any], file: File) -> Any:
        content = current_request()._message.content
        return [file.read() == CONTENT, file.size, type(content).__name__]

    yield app
    await nothing_is_left(app)


async def test_a_large_file_of_a_form_stays_on_disk(app: Potassium) -> None:
    async with client(app) as http:
        answer = await http.post("/", **FORM)
        assert answer.json() == [True, "a.bin", 7, "SpooledBody"]


async def test_a_large_body_that_is_a_file_stays_on_disk(app: Potassium) -> None:
    async with client(app) as http:
        headers = {"Content-Type": "application/octet-stream"}
        answer = await http.post("/whole", content=CONTENT, headers=headers)
        assert answer.json() == [True, len(CONTENT), "SpooledBody"]


async def test_a_form_may_be_compressed(app: Potassium) -> None:
    async with client(app) as http:
        request = http.build_request("POST", "/", **FORM)
        headers = {"Content-Type": request.headers["Content-Type"], "Content-Encoding": "gzip"}
        answer = await http.post("/", content=gzip.compress(await request.aread()), headers=headers)
        assert answer.json() == [True, "a.bin", 7, "SpooledBody"]


@pytest.mark.parametrize("headers", [{}, {"Prefer": "respond-async, wait=10"}])
async def test_a_large_file_in_json_is_in_memory(app: Potassium, headers: dict[str, str]) -> None:
    """As all JSON is, and counts as such."""
    async with client(app) as http:
        item = {"file": base64.b64encode(CONTENT).decode()}
        answer = await http.post("/", json=item, headers=headers)
        assert answer.json() == [True, "", 3, "bytes"]


async def test_a_job_has_its_large_file(app: Potassium) -> None:
    """Another attempt to submit it with the same key, and so with another boundary, is the same."""
    async with client(app) as http:
        headers = {"Prefer": "respond-async, wait=10", "Idempotency-Key": "a"}
        answers = [await http.post("/", headers=headers, **FORM) for _ in range(2)]
        assert [one.json() for one in answers] == [[True, "a.bin", 7, "SpooledBody"]] * 2
        assert len((await http.get("/jobs")).json()["jobs"]) == 1


async def test_another_file_with_the_same_key_is_refused(app: Potassium) -> None:
    async with client(app) as http:
        headers = {"Prefer": "respond-async, wait=10", "Idempotency-Key": "a"}
        await http.post("/", headers=headers, **FORM)
        other: dict[str, Any] = {"files": {"file": ("a.bin", CONTENT[:-1] + b"\0")}}
        answer = await http.post("/", headers=headers, data=FORM["data"], **other)
        assert answer.json()["code"] == "idempotency_key_reused"


async def test_a_file_that_is_decoded_is_in_memory(app: Potassium) -> None:
    """As it is read at once, the way to the disk and back would only take time."""

    @app.handler("/decoded")
    def decoded(cache: dict[str, Any], size: Size) -> Any:
        return [size, type(current_request()._message.content).__name__]

    @app.handler("/larger", body_size=20 * IN_MEMORY)
    def larger(cache: dict[str, Any], size: Size) -> Any:
        return [size, type(current_request()._message.content).__name__]

    @app.handler("/upload")
    def upload(cache: dict[str, Any], file: UploadFile) -> Any:
        return [file.size, type(current_request()._message.content).__name__]

    async with client(app) as http:
        headers = {"Content-Type": "application/octet-stream"}
        for path, content, where in [
            ("/decoded", CONTENT, "bytes"),
            ("/larger", CONTENT * 5, "SpooledBody"),
            ("/upload", CONTENT, "SpooledBody"),
        ]:
            answer = await http.post(path, content=content, headers=headers)
            assert answer.json() == [len(content), where]
