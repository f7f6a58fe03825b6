"""Batches of servers that share their jobs and a folder: any of them answers for any batch."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.servers import Cluster, Member, clustered
from e2e.server import wait_until

# Servers are started first; on a machine that has other work, that takes long.
pytestmark = pytest.mark.timeout(300)

SOURCE = """
    import os
    import time
    from pathlib import Path

    from potassium import Jobs, Potassium
    from potassium.openai import ChatRequest, OpenAI, Storage

    app = Potassium(
        os.environ["NAME"], jobs=Jobs(url=os.environ["DATABASE"], lease=float(os.environ["LEASE"]))
    )
    api = OpenAI(app, model="toy", files=Storage("kept", in_flight=4))


    @api.chat()
    def chat(cache, request: ChatRequest):
        said = request.conversation[-1]["content"]
        with Path("asked").open("a") as asked:
            asked.write(f"{said} {os.environ['NAME']}\\n")
        time.sleep(0.02)
        return "You said " + said


    if __name__ == "__main__":
        app.serve()
"""
CHATS = "/v1/chat/completions"

Document = dict[str, Any]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Cluster]:
    with clustered(tmp_path, servers=2, lease=2.0, source=SOURCE) as cluster:
        yield cluster


def submitted(member: Member, names: list[str]) -> Document:
    """Upload requests and begin a batch of them."""
    lines = [
        {
            "custom_id": name,
            "method": "POST",
            "url": CHATS,
            "body": {"model": "toy", "messages": [{"role": "user", "content": name}]},
        }
        for name in names
    ]
    with member.server.client() as http:
        content = "\n".join(map(json.dumps, lines)).encode()
        given = {"file": ("requests.jsonl", content)}
        file = http.post("/v1/files", files=given, data={"purpose": "batch"}).json()
        asked = {"input_file_id": file["id"], "endpoint": CHATS, "completion_window": "24h"}
        batch: Document = http.post("/v1/batches", json=asked).raise_for_status().json()
    return batch


def seen(member: Member, batch: Document) -> Document:
    document: Document = member.server.get(f"/v1/batches/{batch['id']}").json()
    return document


def ended(member: Member, batch: Document) -> Document:
    ends = ("completed", "failed", "cancelled", "expired")
    wait_until(lambda: seen(member, batch)["status"] in ends, "the batch has ended", seconds=60)
    return seen(member, batch)


def results(member: Member, batch: Document) -> list[Document]:
    answer = member.server.get(f"/v1/files/{batch['output_file_id']}/content")
    return [json.loads(line) for line in answer.text.splitlines()]


def runner(cluster: Cluster) -> Member:
    """Return the server that was asked first."""
    name = (cluster.folder / "asked").read_text().split()[1]
    (member,) = [one for one in cluster.members if one.name == name]
    return member


def test_any_server_shows_and_cancels_a_batch(pair: Cluster) -> None:
    batch = submitted(pair.members[0], [f"r{number}" for number in range(500)])
    for member in pair.members:
        wait_until(lambda: seen(member, batch)["request_counts"]["completed"], "one is done")  # noqa: B023
    (other,) = pair.others(runner(pair))
    cancelled = other.server.post(f"/v1/batches/{batch['id']}/cancel", {}).json()
    assert cancelled["status"] in ("cancelling", "cancelled")
    documents = [ended(member, batch) for member in pair.members]
    assert [document["status"] for document in documents] == ["cancelled"] * 2
    counts = documents[0]["request_counts"]
    for member in pair.members:
        assert 0 < len(results(member, documents[0])) == counts["completed"] < 500


def test_another_server_goes_on_with_a_batch(pair: Cluster) -> None:
    """After the one that ran it was killed, once its lease has ended."""
    names = [f"r{number}" for number in range(200)]
    batch = submitted(pair.members[0], names)
    wait_until(
        lambda: seen(pair.members[0], batch)["request_counts"]["completed"] >= 20, "some are done"
    )
    first = runner(pair)
    (other,) = pair.others(first)
    first.kill()
    done = finished(pair.folder)
    assert 20 <= len(done) < len(names)
    document = ended(other, batch)
    counts = document["request_counts"]
    assert (document["status"], counts["completed"], counts["failed"]) == ("completed", 200, 0)
    assert sorted(one["custom_id"] for one in results(other, document)) == sorted(names)
    lines = [line.split() for line in (pair.folder / "asked").read_text().splitlines()]
    asked = Counter(name for name, _ in lines)
    assert asked.keys() == set(names)
    assert all(asked[name] == 1 for name in done)
    assert asked.total() <= len(names) + 4  # those that ran
    assert {server for _, server in lines} == {one.name for one in pair.members}


def finished(folder: Path) -> list[str]:
    """Return which requests have a whole line in the output."""
    (output,) = (folder / "kept" / "files").glob("*-output")
    lines = (output / "content").read_bytes().split(b"\n")[:-1]
    return [json.loads(line)["custom_id"] for line in lines]
