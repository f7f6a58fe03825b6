"""Files over OpenAI's API, message by message."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from potassium import Potassium, UsageError
from potassium.openai import ChatRequest, OpenAI, Storage
from potassium.openai.files import Files
from potassium.testing import client


def new_app(folder: Path, **options: Any) -> Potassium:
    app = Potassium("files", **options)
    api = OpenAI(app, model="toy", files=Storage(folder, file_size=2 * 1024 * 1024))

    @api.chat()
    def chat(cache: dict[str, Any], request: ChatRequest) -> str:
        return "Hello"

    return app


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # jobs are kept in the working directory


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with client(new_app(tmp_path / "kept")) as http:
        yield http


async def upload(
    http: httpx.AsyncClient,
    content: bytes = b"{}\n",
    *,
    name: str = "in.jsonl",
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> httpx.Response:
    data = {"purpose": "batch", **fields}
    return await http.post("/v1/files", files={"file": (name, content)}, data=data, headers=headers)


def contents(folder: Path) -> list[Path]:
    return list(folder.rglob("content"))


async def test_a_file_is_kept_as_it_was_sent(http: httpx.AsyncClient) -> None:
    content = bytes(range(256)) * 5000  # more than is kept in memory
    answer = await upload(http, content, name="my requests.jsonl")
    assert answer.status_code == 200, answer.text
    file = answer.json()
    assert (file["object"], file["purpose"], file["status"]) == ("file", "batch", "processed")
    assert (file["bytes"], file["filename"]) == (len(content), "my requests.jsonl")
    assert (await http.get(f"/v1/files/{file['id']}")).json() == file
    sent = await http.get(f"/v1/files/{file['id']}/content")
    assert sent.content == content
    assert sent.headers["content-length"] == str(len(content))


async def test_a_deleted_file_is_gone(http: httpx.AsyncClient, tmp_path: Path) -> None:
    file = (await upload(http)).json()
    answer = await http.delete(f"/v1/files/{file['id']}")
    assert answer.json() == {"id": file["id"], "object": "file", "deleted": True}
    for path in (f"/v1/files/{file['id']}", f"/v1/files/{file['id']}/content"):
        answer = await http.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert contents(tmp_path) == []


async def test_a_file_that_is_deleted_meanwhile_is_not_found(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    """What is known of it was read before, but its content is gone."""
    kept, gone = [(await upload(http)).json()["id"] for _ in range(2)]
    (tmp_path / "kept" / "files" / gone / "content").unlink()
    for path in (f"/v1/files/{gone}", f"/v1/files/{gone}/content"):
        answer = await http.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    listed = (await http.get("/v1/files")).json()["data"]
    assert [one["id"] for one in listed] == [kept]


async def test_files_are_listed_newest_first_and_in_pages(http: httpx.AsyncClient) -> None:
    ids = [(await upload(http, name=f"{number}")).json()["id"] for number in range(3)]
    other = (await upload(http, purpose="user_data")).json()["id"]
    listed = (await http.get("/v1/files", params={"purpose": "batch"})).json()
    assert [one["id"] for one in listed["data"]] == ids[::-1]
    assert listed["has_more"] is False
    first = (await http.get("/v1/files", params={"limit": 2})).json()
    assert [one["id"] for one in first["data"]] == [other, ids[2]]
    assert first["has_more"] is True
    rest = (await http.get("/v1/files", params={"limit": 2, "after": ids[2]})).json()
    assert [one["id"] for one in rest["data"]] == [ids[1], ids[0]]
    assert rest["has_more"] is False


async def test_a_page_may_follow_a_file_that_is_gone(http: httpx.AsyncClient) -> None:
    ids = [(await upload(http)).json()["id"] for _ in range(3)]
    await http.delete(f"/v1/files/{ids[1]}")
    rest = (await http.get("/v1/files", params={"after": ids[1]})).json()
    assert [one["id"] for one in rest["data"]] == [ids[0]]


async def test_too_large_a_file_is_refused(http: httpx.AsyncClient) -> None:
    answer = await upload(http, bytes(3 * 1024 * 1024))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"json": {"purpose": "batch"}}, 415, None),
        ({"files": {"other": ("a", b"")}, "data": {"purpose": "batch"}}, 400, "file"),
        ({"files": {"file": ("a", b"x")}}, 400, "purpose"),
        ({"files": {"file": (None, b"x")}, "data": {"purpose": "batch"}}, 400, "file"),
    ],
)
async def test_what_is_no_upload_is_refused(
    http: httpx.AsyncClient, body: Any, status: int, param: str | None
) -> None:
    answer = await http.post("/v1/files", **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


@pytest.mark.parametrize("file_id", ["file-1", "..%2F..%2Fbatches", "file-" + "0" * 40])
async def test_there_are_no_other_files(http: httpx.AsyncClient, file_id: str) -> None:
    answer = await http.get(f"/v1/files/{file_id}/content")
    assert answer.status_code == 404


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "x"}, {"order": "asc"}])
async def test_no_list_is_made_of_nonsense(http: httpx.AsyncClient, query: dict[str, str]) -> None:
    answer = await http.get("/v1/files", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(query)))


async def test_a_file_belongs_to_who_has_sent_it(tmp_path: Path) -> None:
    app = new_app(tmp_path / "kept", api_keys={"one": "key-one", "two": "key-two"})
    mine, other = ({"Authorization": f"Bearer key-{name}"} for name in ("one", "two"))
    async with client(app) as http:
        file = (await upload(http, headers=mine)).json()
        path = f"/v1/files/{file['id']}"
        assert (await http.get(path, headers=mine)).status_code == 200
        assert (await http.get(path, headers=other)).status_code == 404
        assert (await http.get(f"{path}/content", headers=other)).status_code == 404
        assert (await http.delete(path, headers=other)).status_code == 404
        assert (await http.get("/v1/files", headers=other)).json()["data"] == []
        assert len((await http.get("/v1/files", headers=mine)).json()["data"]) == 1


async def test_a_file_expires_when_its_client_says(http: httpx.AsyncClient) -> None:
    expiry: dict[str, Any] = {
        "expires_after[anchor]": "created_at",
        "expires_after[seconds]": "3600",
    }
    file = (await upload(http, **expiry)).json()
    assert file["expires_at"] == file["created_at"] + 3600
    wrong = await upload(http, **(expiry | {"expires_after[seconds]": "5"}))
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "expires_after")


def test_an_expired_file_is_deleted(tmp_path: Path) -> None:
    now = [1000.0]
    files = Files(tmp_path, clock=lambda: now[0])
    file = files.add([b"x"], filename="a", purpose="batch", owner="", expires_after=60)
    now[0] += 59
    assert files.has(file.id)
    now[0] += 1
    assert not files.has(file.id)
    assert not files.content(file).exists()


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    files = Files(tmp_path)

    def broken() -> Any:
        yield b"half of"
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        files.add(broken(), filename="a", purpose="batch", owner="")
    assert list(files.newest_first(None)) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_there_are_no_files_unless_they_have_a_folder() -> None:
    app = Potassium("none")
    api = OpenAI(app, model="toy")

    @api.chat()
    def chat(cache: dict[str, Any], request: ChatRequest) -> str:
        return "Hello"

    async with client(app) as http:
        assert (await http.get("/v1/files")).status_code == 404
        assert (await http.get("/v1/batches")).status_code == 404
        assert (await http.get("/jobs")).status_code == 404


@pytest.mark.parametrize(
    "options", [{"file_size": 0}, {"in_flight": -1}, {"requests": 0}, {"folder": ""}]
)
def test_invalid_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Storage(**{"folder": "kept", **options})
