"""Batches with the client of OpenAI's own against real servers, some of which die."""

import io
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from e2e.server import Server, serve_source, wait_until

openai = pytest.importorskip("openai")

APP = """
    import asyncio
    import os
    import time
    from pathlib import Path

    from potassium import Potassium
    from potassium.openai import ChatRequest, OpenAI, Storage

    app = Potassium("toy", api_keys=["secret"])
    api = OpenAI(app, model="toy", files=Storage("kept", in_flight=4))


    @api.chat()
    def chat(cache, request: ChatRequest):
        said = request.conversation[-1]["content"]
        with Path("asked").open("a") as asked:
            asked.write(said + "\\n")
        time.sleep(0.02)
        while said == "hold" and not Path("go").exists():
            time.sleep(0.01)
        yield "You said " + said


    @api.chat(model="mortal", concurrency=8)
    async def mortal(cache, request: ChatRequest):
        if request.conversation[-1]["content"] == "die":
            await asyncio.sleep(0.02)
            os._exit(9)
        await asyncio.sleep(0.1)
        return "alive"


    @app.background("/other")
    async def other(cache, item: dict):
        return "done"


    if __name__ == "__main__":
        app.serve()
"""

CHATS = "/v1/chat/completions"


def sdk_of(server: Server) -> Any:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0)


def requests(names: list[str], model: str = "toy") -> io.BytesIO:
    lines = [
        {
            "custom_id": name,
            "method": "POST",
            "url": CHATS,
            "body": {"model": model, "messages": [{"role": "user", "content": name}]},
        }
        for name in names
    ]
    file = io.BytesIO("\n".join(map(json.dumps, lines)).encode())
    file.name = "requests.jsonl"
    return file


def submit(sdk: Any, names: list[str], model: str = "toy") -> Any:
    file = sdk.files.create(file=requests(names, model), purpose="batch")
    return sdk.batches.create(input_file_id=file.id, endpoint=CHATS, completion_window="24h")


def ended(sdk: Any, batch: Any) -> Any:
    found = [batch]

    def has_ended() -> bool:
        found[0] = sdk.batches.retrieve(batch.id)
        return found[0].status in ("completed", "failed", "cancelled", "expired")

    wait_until(has_ended, "the batch has ended", seconds=60)
    return found[0]


def results(sdk: Any, file_id: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in sdk.files.content(file_id).text.splitlines()]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve_source(APP, tmp_path) as server:
        yield server


def test_a_batch_from_its_file_to_its_results(server: Server) -> None:
    sdk = sdk_of(server)
    file = sdk.files.create(file=requests(["a", "b"]), purpose="batch")
    assert sdk.files.wait_for_processing(file.id).id == file.id
    assert [one.id for one in sdk.files.list(purpose="batch")] == [file.id]
    batch = sdk.batches.create(
        input_file_id=file.id,
        endpoint=CHATS,
        completion_window="24h",
        metadata={"night": "monday"},
    )
    batch = ended(sdk, batch)
    assert (batch.status, batch.metadata) == ("completed", {"night": "monday"})
    assert batch.request_counts.completed == batch.request_counts.total == 2
    found = {one["custom_id"]: one["response"] for one in results(sdk, batch.output_file_id)}
    text = found["b"]["body"]["choices"][0]["message"]["content"]
    assert (found["b"]["status_code"], text) == (200, "You said b")
    assert [one.id for one in sdk.batches.list(limit=1)] == [batch.id]
    assert sdk.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        sdk.files.retrieve(file.id)
    with pytest.raises(openai.BadRequestError, match="completed cannot be cancelled"):
        sdk.batches.cancel(batch.id)


def test_a_batch_is_cancelled(server: Server) -> None:
    sdk = sdk_of(server)
    batch = submit(sdk, [f"r{number}" for number in range(500)])
    wait_until(lambda: sdk.batches.retrieve(batch.id).request_counts.completed, "one is done")
    assert sdk.batches.cancel(batch.id).status in ("cancelling", "cancelled")
    batch = ended(sdk, batch)
    assert batch.status == "cancelled"
    found = results(sdk, batch.output_file_id)
    assert 0 < len(found) == batch.request_counts.completed < 500


def test_mistakes_are_told(server: Server) -> None:
    sdk = sdk_of(server)
    with pytest.raises(openai.NotFoundError, match="There is no file"):
        sdk.batches.create(input_file_id="file-1", endpoint=CHATS, completion_window="24h")
    empty = sdk.files.create(file=("empty.jsonl", b""), purpose="batch")
    batch = sdk.batches.create(input_file_id=empty.id, endpoint=CHATS, completion_window="24h")
    batch = ended(sdk, batch)
    assert (batch.status, batch.errors.data[0].code) == ("failed", "empty_file")
    wrong = openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        wrong.files.list()


def test_a_batch_goes_on_after_its_server_was_killed(tmp_path: Path) -> None:
    """Each request has one result, and only those that ran at the time were run twice."""
    names = [f"r{number}" for number in range(100)]
    with serve_source(APP, tmp_path) as server:
        sdk = sdk_of(server)
        batch = submit(sdk, names)

        def some_are_done() -> bool:
            return bool(sdk.batches.retrieve(batch.id).request_counts.completed >= 20)

        wait_until(some_are_done, "some requests are done")
        server.process.kill()
        server.process.wait()
    done = finished(tmp_path)
    assert 20 <= len(done) < 100
    with serve_source(APP, tmp_path) as server:
        sdk = sdk_of(server)
        batch = ended(sdk, batch)
        assert batch.status == "completed"
        assert batch.request_counts.completed == 100
        found = results(sdk, batch.output_file_id)
    assert sorted(one["custom_id"] for one in found) == sorted(names)
    asked = Counter((tmp_path / "asked").read_text().split())
    assert asked.keys() == set(names)
    assert all(asked[name] == 1 for name in done)
    assert sum(asked.values()) <= 100 + 4  # those that ran


def test_other_jobs_do_not_wait_for_a_batch_that_goes_on(tmp_path: Path) -> None:
    """After the death of a server, a job that ran then has no other one beside it."""
    with serve_source(APP, tmp_path) as server:
        batch = submit(sdk_of(server), [*(f"r{number}" for number in range(40)), "hold", "last"])
        wait_until(lambda: sdk_of(server).batches.retrieve(batch.id).in_progress_at, "it runs")
        server.process.kill()
        server.process.wait()
    with serve_source(APP, tmp_path) as server:
        wait = {"Prefer": "wait=30", "X-Api-Key": "secret"}
        assert server.post("/other", {}, headers=wait).status_code == 200
        assert sdk_of(server).batches.retrieve(batch.id).status == "in_progress"
        (tmp_path / "go").touch()
        assert ended(sdk_of(server), batch).request_counts.completed == 42


def finished(folder: Path) -> list[str]:
    """Return which requests have a whole line in the output."""
    (output,) = (folder / "kept" / "files").glob("*-output")
    lines = (output / "content").read_bytes().split(b"\n")[:-1]
    return [json.loads(line)["custom_id"] for line in lines]


def test_a_request_that_kills_the_server_is_given_up(tmp_path: Path) -> None:
    """All others are answered, also those that ran beside it each time."""
    names = [*(f"a{number}" for number in range(6)), "die", *(f"b{number}" for number in range(6))]
    with serve_source(APP, tmp_path) as server:
        batch = submit(sdk_of(server), names, "mortal")
        server.process.wait(20)
    for _ in range(12):
        with suppress(AssertionError), serve_source(APP, tmp_path) as server:
            found = survived(server, batch)
            if found is not None:
                break
    else:
        pytest.fail("the server dies again and again")
    assert found == (set(names) - {"die"}, {"die": "interrupted"})


def survived(server: Server, batch: Any) -> tuple[set[str], dict[str, str]] | None:
    """Return which requests have answers and errors; None if the server has died before."""
    sdk = sdk_of(server)
    while server.process.poll() is None:
        with suppress(openai.APIConnectionError):
            batch = sdk.batches.retrieve(batch.id)
            if batch.status == "completed":
                answers = {one["custom_id"] for one in results(sdk, batch.output_file_id)}
                errors = results(sdk, batch.error_file_id)
                return answers, {one["custom_id"]: one["error"]["code"] for one in errors}
        time.sleep(0.02)
    return None
