"""Batches over OpenAI's API, in one process."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from potassium import InvalidInput, Limits, Potassium
from potassium.errors import PotassiumError, QueueFull
from potassium.handlers.validated import Validated
from potassium.openai import (
    ChatRequest,
    EmbeddingRequest,
    Finish,
    OpenAI,
    Storage,
    ToolCall,
    batch_run,
    front,
)
from potassium.openai.batch_jobs import BatchJobs
from potassium.openai.batch_results import Results, let_results_expire
from potassium.openai.batches import Batch, Batches
from potassium.openai.files import Files
from potassium.serving import calls
from potassium.serving.composition import parts_of
from potassium.testing import client

CHATS = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")


class Toy:
    """A model that says what it was asked, and can be held."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.most = self.running = 0
        self.may_go = threading.Event()
        self.may_go.set()
        self.is_held = asyncio.Event()

    async def answer(self, text: str) -> str:
        self.asked.append(text)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            while text.startswith("hold") and not self.may_go.is_set():
                self.is_held.set()
                await asyncio.sleep(0.005)
            return f"You said {text}"
        finally:
            self.running -= 1


def new_app(
    folder: Path, toy: Toy, *, in_flight: int = 4, requests: int = 50, **options: Any
) -> Potassium:
    app = Potassium("batches", **options)
    storage = Storage(folder / "kept", in_flight=in_flight, requests=requests)
    api = OpenAI(app, model="toy", files=storage)

    @api.chat(concurrency=16)
    async def chat(cache: dict[str, Any], request: ChatRequest) -> AsyncIterator[Any]:
        said = request.conversation[-1]["content"]
        if said == "too long":
            raise InvalidInput("The chat is too long.")
        if said == "break":
            raise RuntimeError("broken")
        if said == "no room" and toy.asked.count(said) < 5:
            toy.asked.append(said)
            raise QueueFull("The queue is full.")
        yield await toy.answer(said)
        yield Finish(reason="length", prompt_tokens=3, completion_tokens=2)

    @api.chat(model="hurried", timeout=0.02)
    async def hurried(cache: dict[str, Any], request: ChatRequest) -> str:
        return await toy.answer(request.conversation[-1]["content"])

    @api.chat(model="plain")
    def plain(cache: dict[str, Any], request: ChatRequest) -> Iterator[Any]:
        yield ToolCall(id="call_1", name="weather", arguments='{"city": "Oslo"}')

    @api.embeddings()
    def embed(cache: dict[str, Any], request: EmbeddingRequest) -> list[list[float]]:
        return [[float(len(one))] for one in request.inputs]

    return app


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # jobs are kept in the working directory


@pytest.fixture
async def toy() -> Toy:
    return Toy()


@pytest.fixture
async def http(tmp_path: Path, toy: Toy) -> AsyncIterator[httpx.AsyncClient]:
    async with client(new_app(tmp_path, toy)) as http:
        yield http
        toy.may_go.set()


def line(custom_id: str, text: str = "", *, url: str = CHATS, **body: Any) -> str:
    messages = [{"role": "user", "content": text or custom_id}]
    asked = {"model": "toy", "messages": messages, **body}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": asked})


async def upload(http: httpx.AsyncClient, *lines: str, **options: Any) -> str:
    fields = {"purpose": options.pop("purpose", "batch")}
    content = "\n".join(lines).encode()
    answer = await http.post("/v1/files", files={"file": ("in", content)}, data=fields, **options)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def submit(
    http: httpx.AsyncClient, *lines: str, headers: dict[str, str] | None = None, **asked: Any
) -> dict[str, Any]:
    file_id = await upload(http, *lines, headers=headers)
    body = {"input_file_id": file_id, "endpoint": CHATS, "completion_window": "24h", **asked}
    answer = await http.post("/v1/batches", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def until(
    http: httpx.AsyncClient, batch: dict[str, Any], *statuses: str, **options: Any
) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = (await http.get(f"/v1/batches/{batch['id']}", **options)).json()
        if found["status"] in statuses:
            return found
        assert found["status"] not in ENDED, found
        await asyncio.sleep(0.01)


async def when(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what it is about is told to nobody
        await asyncio.sleep(0.005)


async def lines_of(http: httpx.AsyncClient, file_id: str | None) -> dict[Any, dict[str, Any]]:
    assert file_id is not None
    content = (await http.get(f"/v1/files/{file_id}/content")).text
    found = [json.loads(one) for one in content.splitlines()]
    by_id = {one["custom_id"]: one for one in found}
    assert len(by_id) == len(found)
    return by_id


async def ended_job(http: httpx.AsyncClient) -> dict[str, Any]:
    """Wait until the only job has ended, which is a moment after its batch has."""
    (job,) = (await http.get("/jobs")).json()["jobs"]
    ended = await http.get(f"/jobs/{job['id']}", headers={"Prefer": "wait=10"})
    document: dict[str, Any] = ended.json()
    return document


async def test_each_request_has_its_answer(http: httpx.AsyncClient) -> None:
    names = [f"r{number}" for number in range(20)]
    batch = await submit(http, *map(line, names), metadata={"for": "me"})
    assert (batch["object"], batch["endpoint"]) == ("batch", CHATS)
    assert batch["expires_at"] == batch["created_at"] + 24 * 60 * 60
    ended = await until(http, batch, "completed")
    assert ended["request_counts"] == {"total": 20, "completed": 20, "failed": 0}
    assert (ended["metadata"], ended["error_file_id"]) == ({"for": "me"}, None)
    for moment in ("in_progress_at", "finalizing_at", "completed_at"):
        assert ended[moment] >= batch["created_at"]
    found = await lines_of(http, ended["output_file_id"])
    assert found.keys() == set(names)
    one = found["r7"]
    assert (one["error"], one["response"]["status_code"]) == (None, 200)
    assert one["id"].startswith("batch_req_")
    assert one["response"]["request_id"]
    body = one["response"]["body"]
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["content"] == "You said r7"
    assert body["usage"]["total_tokens"] == 5
    file = (await http.get(f"/v1/files/{ended['output_file_id']}")).json()
    assert file["purpose"] == "batch_output"


async def test_calls_of_tools_and_vectors_are_answers_too(http: httpx.AsyncClient) -> None:
    batch = await submit(http, line("a", model="plain"))
    ended = await until(http, batch, "completed")
    (one,) = (await lines_of(http, ended["output_file_id"])).values()
    (call,) = one["response"]["body"]["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'}
    asked = {"custom_id": "v", "url": "/v1/embeddings", "body": {"model": "toy", "input": "abc"}}
    batch = await submit(http, json.dumps(asked), endpoint="/v1/embeddings")
    ended = await until(http, batch, "completed")
    (one,) = (await lines_of(http, ended["output_file_id"])).values()
    assert one["response"]["body"]["data"][0]["embedding"] == [3.0]


async def test_what_is_wrong_with_a_request_is_its_error(http: httpx.AsyncClient) -> None:
    batch = await submit(
        http,
        line("fine"),
        "",
        "not JSON",
        '{"url": "/v1/chat/completions"}',
        line("fine", "again"),
        line("elsewhere", url="/v1/embeddings"),
        line("unknown", model="other"),
        line("invalid", n=2),
        line("streams", stream=True),
        line("long", "too long"),
        line("breaks", "break"),
    )
    ended = await until(http, batch, "completed")
    assert ended["request_counts"] == {"total": 10, "completed": 1, "failed": 9}
    assert (await lines_of(http, ended["output_file_id"])).keys() == {"fine"}
    content = (await http.get(f"/v1/files/{ended['error_file_id']}/content")).text
    found = [json.loads(one) for one in content.splitlines()]
    refused = {one["error"]["code"]: one for one in found if one["error"]}
    assert refused.keys() == {
        "invalid_json_line",
        "missing_required_parameter",
        "duplicate_custom_id",
        "invalid_url",
    }
    assert refused["duplicate_custom_id"]["custom_id"] == "fine"
    assert all(one["response"] is None for one in refused.values())
    answered = {one["custom_id"]: one["response"] for one in found if one["response"]}
    status = {name: response["status_code"] for name, response in answered.items()}
    expected = {"unknown": 404, "invalid": 400, "streams": 400, "long": 422, "breaks": 500}
    assert status == expected
    assert answered["unknown"]["body"]["error"]["code"] == "model_not_found"
    assert answered["streams"]["body"]["error"]["param"] == "stream"
    assert answered["long"]["body"]["error"]["message"] == "The chat is too long."


@pytest.mark.parametrize(
    ("lines", "purpose", "code"), [([], "batch", "empty_file"), (["{}"], "vision", "invalid_value")]
)
async def test_a_file_that_is_none_of_requests_fails_the_batch(
    http: httpx.AsyncClient, lines: list[str], purpose: str, code: str
) -> None:
    file_id = await upload(http, *lines, purpose=purpose)
    body = {"input_file_id": file_id, "endpoint": CHATS, "completion_window": "24h"}
    batch = (await http.post("/v1/batches", json=body)).json()
    ended = await until(http, batch, "failed")
    assert ended["failed_at"] >= ended["created_at"]
    (error,) = ended["errors"]["data"]
    assert error["code"] == code


@pytest.mark.parametrize(
    ("changed", "status", "param"),
    [
        ({"endpoint": "/v1/moderations"}, 400, "endpoint"),
        ({"completion_window": "soon"}, 400, "completion_window"),
        ({"input_file_id": "file-x"}, 404, None),
        ({"input_file_id": None}, 400, "input_file_id"),
        ({"metadata": {"a": 1}}, 400, "metadata.a"),
        ({"output_expires_after": {"seconds": 1}}, 400, "output_expires_after"),
    ],
)
async def test_an_invalid_batch_is_refused(
    http: httpx.AsyncClient, changed: dict[str, Any], status: int, param: str | None
) -> None:
    file_id = await upload(http, line("a"))
    body = {"input_file_id": file_id, "endpoint": CHATS, "completion_window": "24h", **changed}
    answer = await http.post("/v1/batches", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert (await http.get("/v1/batches")).json()["data"] == []


async def test_a_file_is_named_by_nothing_but_its_id(http: httpx.AsyncClient) -> None:
    file_id = await upload(http, line("a"))
    body = {"input_file_id": f"../files/{file_id}", "endpoint": CHATS, "completion_window": "24h"}
    assert (await http.post("/v1/batches", json=body)).status_code == 404


def a_batch(**options: Any) -> Batch:
    return Batch(
        owner="",
        input_file_id="",
        endpoint=CHATS,
        completion_window="24h",
        metadata=None,
        created_at=0,
        expires_at=0,
        **options,
    )


def test_a_result_that_was_not_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = a_batch()
    files = Files(tmp_path)
    results = Results(files, batch)
    results.error(1, "a", "code", "message")
    write = os.write

    def full(descriptor: int, data: Any) -> int:
        write(descriptor, data[:10])
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("potassium.openai.batch_results.os.write", full)
        with pytest.raises(OSError, match="full"):
            results.error(2, "b", "code", "message")
    results.error(3, "c", "code", "message")
    results.close()
    again = Results(files, batch)
    assert again.done == {1, 3}
    again.close()


async def test_no_more_requests_than_allowed_run_at_once(http: httpx.AsyncClient, toy: Toy) -> None:
    """Those of all batches together, so that direct calls have the rest of the server."""
    toy.may_go.clear()
    batches = [await submit(http, *(line(f"hold {n}") for n in range(10))) for _ in range(2)]
    await when(lambda: toy.running == 4)
    await asyncio.sleep(0.03)  # in which more would begin
    assert toy.running == 4
    toy.may_go.set()
    for batch in batches:
        await until(http, batch, "completed")
    assert toy.most == 4


async def test_direct_calls_are_neither_refused_nor_kept_waiting(tmp_path: Path, toy: Toy) -> None:
    """A batch takes none of the places of the queue, although it has more requests than those."""
    limits = Limits(queue_size=20)
    app = new_app(tmp_path, toy, in_flight=40, limits=limits)
    async with client(app) as http:
        toy.may_go.clear()
        batch = await submit(http, *(line(f"hold {n}") for n in range(40)))
        await when(lambda: toy.running == 16)  # all that the handler takes; others are queued
        direct = asyncio.create_task(
            http.post(CHATS, json=json.loads(line("direct"))["body"]), name="direct"
        )
        await asyncio.sleep(0.03)
        assert toy.asked[-1] != "direct"
        toy.may_go.set()
        assert (await direct).status_code == 200
        assert toy.asked.index("direct") <= 20  # a low place is one behind as many direct calls
        await until(http, batch, "completed")
        services = parts_of(app).runtime.services
        assert services is not None
        assert services.engine.calls.counts.refused == 0


async def test_progress_is_shown(http: httpx.AsyncClient, toy: Toy) -> None:
    toy.may_go.clear()
    batch = await submit(http, line("a"), line("b", "too long"), line("c", "hold c"))
    await toy.is_held.wait()
    while True:
        found = await until(http, batch, "in_progress")
        if found["request_counts"] == {"total": 3, "completed": 1, "failed": 1}:
            break
        await asyncio.sleep(0.01)
    assert found["output_file_id"] is None
    toy.may_go.set()
    await until(http, batch, "completed")


async def test_a_cancelled_batch_keeps_what_is_done(http: httpx.AsyncClient, toy: Toy) -> None:
    toy.may_go.clear()
    batch = await submit(http, line("a"), *(line(f"hold {n}") for n in range(8)))
    await toy.is_held.wait()
    answer = await http.post(f"/v1/batches/{batch['id']}/cancel")
    assert answer.status_code == 200
    assert answer.json()["status"] in ("cancelling", "cancelled")
    ended = await until(http, batch, "cancelled")
    assert ended["cancelled_at"] >= ended["cancelling_at"] >= batch["created_at"]
    assert (await lines_of(http, ended["output_file_id"])).keys() == {"a"}
    assert ended["request_counts"] == {"total": 9, "completed": 1, "failed": 0}
    await when(lambda: not toy.running)
    again = await http.post(f"/v1/batches/{batch['id']}/cancel")
    assert (again.status_code, again.json()["error"]["code"]) == (400, "batch_has_ended")


async def test_what_is_left_expires_with_the_window(
    tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.may_go.clear()
    held = [f"hold {n}" for n in range(9)]
    limits = Limits(grace_period=0.05)
    async with client(new_app(tmp_path, toy, limits=limits)) as http:
        batch = await submit(http, line("a"), "nonsense", *map(line, held))
        await toy.is_held.wait()
    monkeypatch.setattr(Batches, "seconds_left", lambda *_: 0.05)
    async with client(new_app(tmp_path, toy)) as http:
        ended = await until(http, batch, "expired")
        assert ended["expired_at"] >= ended["created_at"]
        assert ended["request_counts"] == {"total": 11, "completed": 1, "failed": 10}
        assert (await lines_of(http, ended["output_file_id"])).keys() == {"a"}
        found = await lines_of(http, ended["error_file_id"])
        codes = {custom_id: one["error"]["code"] for custom_id, one in found.items()}
        assert codes == {None: "invalid_json_line"} | dict.fromkeys(held, "batch_expired")


async def test_the_next_server_goes_on_where_the_last_one_stopped(tmp_path: Path, toy: Toy) -> None:
    toy.may_go.clear()
    names = [*"abc", *(f"hold {n}" for n in range(6)), *"xyz"]
    limits = Limits(grace_period=0.05)
    async with client(new_app(tmp_path, toy, in_flight=2, limits=limits)) as http:
        batch = await submit(http, *map(line, names))
        await toy.is_held.wait()
    assert toy.asked[:3] == [*"abc"]
    toy.may_go.set()
    async with client(new_app(tmp_path, toy)) as http:
        ended = await until(http, batch, "completed")
        assert (await lines_of(http, ended["output_file_id"])).keys() == set(names)
    assert [toy.asked.count(name) for name in "abcxyz"] == [1] * 6


async def test_a_request_waits_for_room_as_long_as_it_takes(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("potassium.openai.batch_call.PAUSE", 0.001)
    batch = await submit(http, line("no room"))
    ended = await until(http, batch, "completed")
    assert ended["request_counts"] == {"total": 1, "completed": 1, "failed": 0}


async def test_a_request_that_is_never_done_in_time_is_tried_three_times(
    http: httpx.AsyncClient, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("potassium.openai.batch_call.PAUSE", 0.001)
    toy.may_go.clear()
    batch = await submit(http, line("hold", model="hurried"))
    ended = await until(http, batch, "completed")
    found = await lines_of(http, ended["error_file_id"])
    assert found["hold"]["response"]["status_code"] == 504
    assert toy.asked == ["hold"] * 3


async def test_a_batch_that_was_being_cancelled_when_the_server_died_is_cancelled(
    tmp_path: Path, toy: Toy
) -> None:
    toy.may_go.clear()
    limits = Limits(grace_period=0.05)
    async with client(new_app(tmp_path, toy, limits=limits)) as http:
        batch = await submit(http, line("a"), line("hold"))
        await toy.is_held.wait()
    batches = Batches(tmp_path / "kept")
    batches.keep(replace(batches.get(batch["id"], None), cancelling_at=batches.now()))
    async with client(new_app(tmp_path, toy)) as http:
        ended = await until(http, batch, "cancelled")
        assert (await lines_of(http, ended["output_file_id"])).keys() == {"a"}
    assert toy.asked.count("hold") == 1


async def test_the_document_of_a_batch_outlives_its_job(http: httpx.AsyncClient) -> None:
    batch = await submit(http, line("a"))
    ended = await until(http, batch, "completed")
    await ended_job(http)
    assert (await http.delete("/jobs", params={"status": "succeeded"})).json()["deleted"] == 1
    assert (await http.get(f"/v1/batches/{batch['id']}")).json() == ended


async def test_a_full_disk_delays_a_batch(
    http: httpx.AsyncClient, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = os.write, [3]

    def full(descriptor: int, data: Any) -> int:
        if bytes(data).startswith(b'{"id":"batch_req') and left[0]:
            left[0] -= 1
            write(descriptor, data[:10])
            raise OSError("the disk is full")
        return write(descriptor, data)

    monkeypatch.setattr("potassium.openai.batch_results.os.write", full)
    batch = await submit(http, *map(line, "abc"))
    ended = await until(http, batch, "completed")
    assert left == [0]
    assert (await lines_of(http, ended["output_file_id"])).keys() == set("abc")


async def test_a_server_that_stops_lets_what_runs_end(tmp_path: Path, toy: Toy) -> None:
    toy.may_go.clear()
    names = [f"hold {n}" for n in range(20)]
    async with client(new_app(tmp_path, toy, in_flight=2)) as http:
        batch = await submit(http, *map(line, names))
        await toy.is_held.wait()
        asyncio.get_running_loop().call_later(0.05, toy.may_go.set)
    assert len(toy.asked) < 20  # it has begun no others
    async with client(new_app(tmp_path, toy)) as http:
        ended = await until(http, batch, "completed")
        assert (await lines_of(http, ended["output_file_id"])).keys() == set(names)
    assert sorted(toy.asked) == sorted(names)


async def test_a_line_that_was_cut_off_is_run_again(tmp_path: Path, toy: Toy) -> None:
    async with client(new_app(tmp_path, toy)) as http:
        batch = await submit(http, *map(line, "abcd"))
        ended = await until(http, batch, "completed")
        output = tmp_path / "kept" / "files" / ended["output_file_id"] / "content"
        progress = tmp_path / "kept" / "batches" / batch["id"] / "progress.json"
        *lines, last = output.read_bytes().splitlines(keepends=True)
        output.write_bytes(b"".join(lines) + last[:20])
        progress.write_text("")  # as if the power had failed
        assert (await ended_job(http))["status"] == "succeeded"
    await run_again(tmp_path, toy, batch["id"])
    async with client(new_app(tmp_path, toy)) as http:
        found = await until(http, batch, "completed")
        assert (await lines_of(http, found["output_file_id"])).keys() == set("abcd")
    assert len(toy.asked) == 5


async def run_again(folder: Path, toy: Toy, batch_id: str) -> None:
    """Run a batch once more, as the job of one that was killed does."""
    asked = folder / "kept" / "batches" / batch_id / "asked.json"
    document = json.loads(asked.read_bytes())
    app = new_app(folder, toy)
    async with client(app) as http:
        del document["job_id"]
        asked.write_text(json.dumps(document))
        job = await app.submit("/v1/batches/run", {"batch": batch_id})
        asked.write_text(json.dumps({**document, "job_id": job["id"]}))
        wait = {"Prefer": "wait=20"}
        ended = await http.get(f"/jobs/{job['id']}", headers=wait)
        assert ended.json()["status"] == "succeeded"


async def test_nobody_else_can_run_a_batch(http: httpx.AsyncClient, toy: Toy) -> None:
    batch = await submit(http, line("a"))
    await until(http, batch, "completed")
    wait = {"Prefer": "wait=20"}
    for asked in ({"batch": batch["id"]}, {"batch": "batch_x"}, ["x"]):
        answer = await http.post("/v1/batches/run", json=asked, headers=wait)
        assert answer.status_code == 422, answer.text


async def test_batches_are_listed_newest_first_and_in_pages(http: httpx.AsyncClient) -> None:
    ids = [(await submit(http, line("a")))["id"] for _ in range(3)]
    first = (await http.get("/v1/batches", params={"limit": 2})).json()
    assert [one["id"] for one in first["data"]] == [ids[2], ids[1]]
    assert (first["has_more"], first["last_id"]) == (True, ids[1])
    rest = (await http.get("/v1/batches", params={"after": ids[1]})).json()
    assert [one["id"] for one in rest["data"]] == [ids[0]]
    assert rest["has_more"] is False


async def test_a_batch_belongs_to_who_has_asked_for_it(tmp_path: Path, toy: Toy) -> None:
    app = new_app(tmp_path, toy, api_keys={"one": "key-one", "two": "key-two"})
    mine, other = ({"Authorization": f"Bearer key-{name}"} for name in ("one", "two"))
    async with client(app) as http:
        batch = await submit(http, line("a"), headers=mine)
        path = f"/v1/batches/{batch['id']}"
        for method, where in (("GET", path), ("POST", f"{path}/cancel")):
            answer = await http.request(method, where, headers=other)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert (await http.get("/v1/batches", headers=other)).json()["data"] == []
        body = {"input_file_id": batch["input_file_id"], "endpoint": CHATS}
        body["completion_window"] = "24h"
        assert (await http.post("/v1/batches", json=body, headers=other)).status_code == 404
        found = await until(http, batch, "completed", headers=mine)
        output = f"/v1/files/{found['output_file_id']}/content"
        assert (await http.get(output, headers=mine)).status_code == 200
        assert (await http.get(output, headers=other)).status_code == 404


async def test_a_batch_may_be_of_responses(http: httpx.AsyncClient) -> None:
    """What the route turns into a chat, it does for batches, too."""
    body = {"model": "toy", "input": "Hello"}
    asked = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body}
    batch = await submit(http, json.dumps(asked), endpoint="/v1/responses")
    ended = await until(http, batch, "completed")
    answer = (await lines_of(http, ended["output_file_id"]))["a"]["response"]["body"]
    assert answer["object"] == "response"
    assert answer["output"][0]["content"][0]["text"] == "You said Hello"


async def test_what_takes_forms_has_no_batches(http: httpx.AsyncClient) -> None:
    file_id = await upload(http, line("a"))
    body = {"input_file_id": file_id, "completion_window": "24h"}
    body["endpoint"] = "/v1/audio/transcriptions"
    answer = await http.post("/v1/batches", json=body)
    assert answer.status_code == 400
    assert "transcriptions" not in answer.json()["error"]["message"]


KEPT: dict[str, Any] = {"output_expires_after": {"anchor": "created_at", "seconds": 3600}}


async def test_results_expire_from_the_end_of_their_batch_on(
    http: httpx.AsyncClient, tmp_path: Path, toy: Toy
) -> None:
    toy.may_go.clear()
    batch = await submit(http, line("a"), "nonsense", line("hold"), **KEPT)
    await toy.is_held.wait()
    files = Files(tmp_path / "kept")
    names = [f"file-{batch['id'].removeprefix('batch_')}-{kind}" for kind in ("output", "errors")]
    await when(lambda: all(files.has(name) for name in names))
    assert [files.get(name, None).expires_at for name in names] == [None, None]
    toy.may_go.set()
    ended = await until(http, batch, "completed")
    await ended_job(http)
    expected = ended["completed_at"] + 3600
    assert [files.get(name, None).expires_at for name in names] == [expected] * 2


async def test_results_of_a_cancelled_batch_expire(
    http: httpx.AsyncClient, tmp_path: Path, toy: Toy
) -> None:
    toy.may_go.clear()
    batch = await submit(http, line("a"), line("hold"), **KEPT)
    files = Files(tmp_path / "kept")
    output = f"file-{batch['id'].removeprefix('batch_')}-output"
    await when(lambda: files.has(output))
    await http.post(f"/v1/batches/{batch['id']}/cancel")
    ended = await until(http, batch, "cancelled")
    expires_at = files.get(output, None).expires_at
    assert expires_at is not None
    assert expires_at >= ended["cancelling_at"] + 3600 - 1


def test_results_of_a_batch_that_goes_on_do_not_expire(tmp_path: Path) -> None:
    """Its last server died while it stored that the batch had ended."""
    batch = a_batch(keeps_results=3600)
    files = Files(tmp_path)
    results = Results(files, batch)
    results.error(1, "a", "code", "message")
    results.close()
    let_results_expire(files, batch, batch.created_at)  # long ago
    files = Files(tmp_path, clock=lambda: 0)
    assert files.get(batch.errors_id, None).expires_at == 3600
    Results(files, batch).close()
    assert files.get(batch.errors_id, None).expires_at is None


async def test_no_file_is_deleted_while_its_batch_runs(
    http: httpx.AsyncClient, tmp_path: Path, toy: Toy
) -> None:
    toy.may_go.clear()
    batch = await submit(http, line("a"), line("hold"))
    await toy.is_held.wait()
    output = f"file-{batch['id'].removeprefix('batch_')}-output"
    await when(lambda: Files(tmp_path / "kept").has(output))
    names = [batch["input_file_id"], output]
    for name in names:
        answer = await http.delete(f"/v1/files/{name}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "file_in_use")
    toy.may_go.set()
    await until(http, batch, "completed")
    for name in names:
        assert (await http.delete(f"/v1/files/{name}")).status_code == 200


async def test_a_batch_of_too_many_requests_fails(tmp_path: Path, toy: Toy) -> None:
    async with client(new_app(tmp_path, toy, requests=3)) as http:
        batch = await submit(http, line("a"), "", "1", line("c"))
        await until(http, batch, "completed")
        batch = await submit(http, line("a"), "", "1", line("c"), line("d"))
        (error,) = (await until(http, batch, "failed"))["errors"]["data"]
        assert (error["code"], error["message"]) == (
            "too_many_requests",
            "A batch may have 3 requests.",
        )
    assert toy.asked == ["a", "c"]


async def test_a_batch_whose_job_is_noted_late_runs(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("potassium.openai.batch_jobs.LOOKS", 1)
    monkeypatch.setattr("potassium.openai.batch_jobs.PAUSE", 0.001)
    keep, asked = Batches.keep, BatchJobs._asked
    has_failed = threading.Event()

    def late(self: Batches, batch: Batch) -> None:
        if batch.job_id:
            assert has_failed.wait(10)
        keep(self, batch)

    async def looked(self: BatchJobs, request: Any) -> Batch:
        try:
            return await asked(self, request)
        except PotassiumError:
            has_failed.set()
            raise

    monkeypatch.setattr(Batches, "keep", late)
    monkeypatch.setattr(BatchJobs, "_asked", looked)
    batch = await submit(http, line("a"))
    ended = await until(http, batch, "completed")
    assert ended["request_counts"]["completed"] == 1


@pytest.mark.parametrize(("spaces", "codes"), [(300_000, []), (400_000, ["line_too_long"] * 2)])
async def test_long_lines_of_spaces_do_not_keep_a_batch_from_ending(
    tmp_path: Path, toy: Toy, spaces: int, codes: list[str]
) -> None:
    async with client(new_app(tmp_path, toy, limits=Limits(body_size=350_000))) as http:
        blank = " " * spaces
        batch = await submit(http, line("a"), blank, blank + line("b"))
        ended = await until(http, batch, "completed")
        counts = {"total": 3, "completed": 1, "failed": 2}
        if codes:
            content = (await http.get(f"/v1/files/{ended['error_file_id']}/content")).text
            found = [json.loads(one)["error"]["code"] for one in content.splitlines()]
            assert found == codes
        else:
            counts = {"total": 2, "completed": 2, "failed": 0}
        assert ended["request_counts"] == counts


async def test_a_batch_whose_requests_expire_before_it_does_expires(
    http: httpx.AsyncClient, tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Batches, "seconds_left", lambda *_: 1.0)
    toy.may_go.clear()
    batch = await submit(http, line("a"), line("hold"))
    await toy.is_held.wait()
    files = Files(tmp_path / "kept")
    files.remove(files.get(batch["input_file_id"], None))
    ended = await until(http, batch, "expired")
    assert ended["request_counts"] == {"total": 2, "completed": 1, "failed": 0}


async def test_large_requests_are_read_off_the_event_loop(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, threading.Thread] = {}

    def watch(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*args: Any) -> Any:
            threads[name] = threading.current_thread()
            return original(*args)

        monkeypatch.setattr(owner, name, watched)

    watch(batch_run, "parsed")
    watch(front, "encode")
    watch(Validated, "__call__")
    watch(calls, "bound")
    text = "x" * 3_000_000
    # Submitting a batch is validated, too, but before its requests are.
    batch = await submit(http, line("a", text))
    ended = await until(http, batch, "completed")
    assert ended["request_counts"]["completed"] == 1
    assert threads.keys() == {"parsed", "encode", "__call__", "bound"}
    assert threading.main_thread() not in threads.values()


async def test_a_request_may_have_as_many_values_as_a_direct_call(tmp_path: Path, toy: Toy) -> None:
    async with client(new_app(tmp_path, toy, limits=Limits(json_values=10_000))) as http:
        many = [{"role": "user", "content": "a"}] * 10_000
        batch = await submit(http, line("a", messages=many), line("b"))
        ended = await until(http, batch, "completed")
        (one,) = (await lines_of(http, ended["error_file_id"])).values()
        body = {"model": "toy", "messages": many}
        direct = await http.post(CHATS, json=body)
        assert one["response"]["status_code"] == direct.status_code == 413
