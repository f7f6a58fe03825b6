"""Workers are killed at random under load: each call is answered once, and runs at most once.

A test that fails prints the seed of the random moments; ``WORKER_KILL_SEED`` sets it.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from e2e.server import Server
from e2e.streams import NDJSON
from e2e.workers.processes import HEAD, SERVE, Caller, crew, kill, workers

SECONDS = float(os.environ.get("WORKER_KILL_SECONDS", "8"))
SEED = int(os.environ.get("WORKER_KILL_SEED", random.SystemRandom().randrange(10**6)))
CLIENTS = 16
PAUSE = (0.2, 0.9)  # seconds between two kills
pytestmark = pytest.mark.timeout(120 + 2 * SECONDS)

SOURCE = (
    HEAD
    + """
from potassium.workers import restarts

restarts.PAUSES = [0.0] * 1000  # whoever is killed is replaced at once, however often

app = Potassium("server", workers=Workers(["cpu", "cpu"]))


def work(call):
    note(call["name"])
    if call["seconds"]:
        time.sleep(call["seconds"])
    return call["name"]


@app.init
def init():
    note(f"init {os.getpid()}")


@app.handler("/call")
def call(cache, json_in):
    return work(json_in)


@app.handler("/batch", batch=Batch(max_size=8, max_delay=0.01))
def batch(cache, items: list[dict]):
    return [work(item) for item in items]


@app.handler("/prepared", prepare=lambda call: call)
def prepared(cache, json_in):
    return work(json_in)


@app.handler("/stream", streams=8)
def stream(cache, json_in):
    note(json_in["name"])
    for number in range(4):
        yield f"{json_in['name']} {number}"
        time.sleep(json_in["seconds"] / 4)
"""
    + SERVE
)
PATHS = ["/call", "/batch", "/prepared", "/stream"]
CHUNKS = 4


@dataclass
class Outcome:
    """What each call got, and which calls began."""

    server: Server
    answers: dict[str, str] = field(default_factory=dict)  # "own", "failed" or what else, by call
    begun: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    after: list[int] = field(default_factory=list)  # the status of calls after the last kill
    open_calls: int = 0


def send(http: httpx.Client, path: str, name: str, chance: random.Random) -> str:
    """Send one call, and say in a word what it got."""
    body: dict[str, Any] = {"name": name, "seconds": chance.choice([0, 0, 0.001, 0.005, 0.02])}
    headers = dict([NDJSON.split(": ")]) if path == "/stream" else {}
    try:
        answer = http.post(path, json=body, headers=headers)
    except httpx.RemoteProtocolError as error:
        return "failed" if path == "/stream" else repr(error)  # a stream breaks off
    except httpx.TransportError as error:
        return repr(error)
    if answer.status_code == httpx.codes.OK:
        if path == "/stream":
            own = [f'"{name} {number}"' for number in range(CHUNKS)]
            return "own" if answer.text.splitlines() == own else answer.text
        return "own" if answer.json() == name else answer.text
    if (answer.status_code, answer.json()["code"]) == (503, "worker_failed"):
        return "failed"
    return f"{answer.status_code} {answer.text}"


def client(server: Server, number: int, until: float) -> dict[str, str]:
    """Send calls one by one until a moment has come."""
    chance = random.Random(SEED * 1000 + number)  # noqa: S311 - no secret
    answers = {}
    with server.client(timeout=60) as http:
        for count in range(10**6):
            if time.monotonic() > until:
                break
            path = chance.choice(PATHS)
            name = f"call-{number}-{count} {path}"
            answers[name] = send(http, path, name, chance)
    return answers


def kill_at_random(caller: Caller, until: float) -> int:
    """Kill one worker after the other until a moment has come; return how many."""
    chance = random.Random(SEED)  # noqa: S311 - no secret
    kills = 0
    while time.monotonic() < until:
        time.sleep(chance.uniform(*PAUSE))
        alive = workers(caller.server)
        if alive:
            kill(chance.choice(alive))
            kills += 1
    return kills


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    with (
        crew(tmp_path_factory.mktemp("load"), SOURCE) as caller,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        until = time.monotonic() + SECONDS
        clients = [pool.submit(client, caller.server, n, until + 1) for n in range(CLIENTS)]
        found = Outcome(caller.server, kills=kill_at_random(caller, until))
        for one in clients:
            found.answers |= one.result()
        with caller.server.client(timeout=60) as http:
            for number in range(20):
                body = {"name": f"after-{number}", "seconds": 0}
                found.after.append(http.post("/call", json=body).status_code)
        found.begun = Counter(one for one in names(caller.server))
        found.open_calls = caller.server.status()["open_calls"]
        yield found


def names(server: Server) -> list[str]:
    file = server.log_file.parent / "events"
    return [line for line in file.read_text().splitlines() if line.startswith("call-")]


@pytest.fixture
def outcome(killed: Outcome) -> Outcome:
    print(f"WORKER_KILL_SEED={SEED}: {killed.kills} kills, {len(killed.answers)} calls")  # noqa: T201 - pytest shows it where a test fails
    return killed


def test_each_call_gets_its_own_result_or_503(outcome: Outcome) -> None:
    """None is lost, none gets the result of another one, and none gets anything else."""
    wrong = {name: what for name, what in outcome.answers.items() if what not in ("own", "failed")}
    assert wrong == {}


def test_no_call_runs_twice(outcome: Outcome) -> None:
    """Whatever had begun in a worker that was killed does not begin again."""
    assert [name for name, times in outcome.begun.items() if times > 1] == []


def test_each_call_with_a_result_has_run(outcome: Outcome) -> None:
    """Once."""
    served = [name for name, what in outcome.answers.items() if what == "own"]
    assert served
    assert [name for name in served if outcome.begun[name] != 1] == []


def test_only_calls_that_had_begun_fail(outcome: Outcome) -> None:
    """Whatever had not begun runs elsewhere.

    A batch has begun with the first of its calls. Besides those, at most one call of each kill
    fails that has left no trace: it was about to begin.
    """
    failed = [name for name, what in outcome.answers.items() if what == "failed"]
    traceless = [name for name in failed if outcome.begun[name] == 0]
    assert failed
    assert len([name for name in traceless if "/batch" not in name]) <= outcome.kills


def test_kills_fail_few_calls(outcome: Outcome) -> None:
    """At most what a worker can have begun at one time: a batch, its streams, and a call."""
    failed = [name for name, what in outcome.answers.items() if what == "failed"]
    assert len(failed) <= outcome.kills * (8 + 8 + 1)


def test_nothing_is_left_open_after_the_kills(outcome: Outcome) -> None:
    """The server serves as before, and counts no call that has ended."""
    assert outcome.after == [200] * 20
    assert outcome.open_calls == 0
    assert outcome.server.get("/healthz").status_code == 200
