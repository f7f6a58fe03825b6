"""Rounds of jobs that are submitted to a server which is killed, and what became of each job.

Every client goes on until each of its jobs is acknowledged, with the same ``Idempotency-Key``, as
a client does whose connection broke off. Each job names a receiver of its own. Of the attempts to
deliver about half are answered 500, each drawn by itself; an attempt that follows a refusal is
taken, because the schedule puts the third one five minutes off.
"""

import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from e2e.jobs import FINAL, IMPORTS, SERVE, Document
from e2e.receiver import SECRET, Received, Receiver, Reply, receive
from e2e.server import Server, free_port, serve_source
from standardwebhooks import WebhookVerificationError

JOBS = 200  # of a round
CLIENTS = 16
ASKED_AGAIN = 10  # the how-manieth job is submitted again at the very end, with its old key
LATEST_KILL = 1.2  # seconds after the beginning of a round
REFUSED_FIRST = 0.9  # of first attempts, so that of all attempts about half are
ACCEPTED_IN = 60.0  # seconds in which a client gets its jobs acknowledged, over all kills
ENDED_IN = 90.0  # seconds after the last restart in which all has ended and arrived
SOURCE = (
    IMPORTS
    + f"""
app = Potassium(
    "server",
    jobs=Jobs(),
    webhooks=Webhooks(secret="{SECRET}", client_urls=True, allow=["127.0.0.0/8"], per_host=32),
)


@app.background("/work")
def work(cache, json_in):
    time.sleep(json_in["seconds"])
    return json_in["number"]
"""
    + SERVE
)


@dataclass
class Outcome:
    """What became of all rounds.

    Attributes:
        seed: of the random moments.
        submitted: the numbers of the jobs.
        ids: of each number, the ids that were acknowledged: one, if all is well.
        documents: of each id, how the job stands at the very end.
        received: of each number, what its receiver got.
        accepted: the numbers whose receiver has answered 200 to one.
        forged: what did not verify.
        unfinished: at each kill, how many acknowledged jobs had not been delivered.

    """

    seed: int
    submitted: range
    ids: dict[int, set[str]] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)
    received: dict[int, list[Received]] = field(default_factory=dict)
    accepted: set[int] = field(default_factory=set)
    forged: list[Received] = field(default_factory=list)
    unfinished: list[int] = field(default_factory=list)


class KillRounds:
    """A receiver, a server on one file and one port, and clients; owns what they note down."""

    def __init__(self, rounds: int, seed: int) -> None:
        self.outcome = Outcome(seed, range(rounds * JOBS))
        self._random = random.Random(seed)  # noqa: S311 - it has to be repeatable
        self._lock = threading.Lock()
        self._refused: set[str] = set()

    def run(self, folder: Path) -> Outcome:
        """Run every round, wait for the end of all jobs, and return what became of them."""
        port = free_port()
        with receive(self._answer) as receiver, ThreadPoolExecutor(CLIENTS) as pool:
            clients: list[Future[None]] = []
            for first in self.outcome.submitted[::JOBS]:
                with serve_source(SOURCE, folder, port=port) as server:
                    settle(clients)
                    numbers = range(first, first + JOBS)
                    clients = [
                        pool.submit(self._submit, server.url, receiver, numbers[client::CLIENTS])
                        for client in range(CLIENTS)
                    ]
                    time.sleep(self._random.uniform(0, LATEST_KILL))
                    server.process.kill()
                    server.process.wait()
                    self._note_unfinished()
            with serve_source(SOURCE, folder, port=port) as server:
                settle(clients)
                self._submit(server.url, receiver, self.outcome.submitted[::ASKED_AGAIN])
                self._wait_for_the_end(server)
                self._read_documents(server, pool)
        return self.outcome

    def _submit(self, url: str, receiver: Receiver, numbers: range) -> None:
        deadline = time.monotonic() + ACCEPTED_IN
        with httpx.Client(base_url=url, timeout=10, trust_env=False) as http:
            for number in numbers:
                body = {"number": number, "seconds": 0.002 + number % 7 / 1000}
                headers = {
                    "Idempotency-Key": f"job-{number}",
                    "Webhook-Url": f"{receiver.url}/{number}",
                }
                while not self._is_acknowledged(http, number, body, headers):
                    assert time.monotonic() < deadline, f"job {number} was not accepted"
                    time.sleep(0.05)

    def _is_acknowledged(
        self, http: httpx.Client, number: int, body: Document, headers: dict[str, str]
    ) -> bool:
        try:
            response = http.post("/work", json=body, headers=headers)
        except httpx.TransportError:
            return False
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return False
        assert response.status_code == httpx.codes.ACCEPTED, response.text
        with self._lock:
            self.outcome.ids.setdefault(number, set()).add(response.json()["id"])
        return True

    def _answer(self, received: Received) -> Reply:
        number = int(received.path.removeprefix("/"))
        with self._lock:
            self.outcome.received.setdefault(number, []).append(received)
            try:
                received.verify()
            except WebhookVerificationError:
                self.outcome.forged.append(received)
            is_first = received.id not in self._refused
            if is_first and self._random.random() < REFUSED_FIRST:
                self._refused.add(received.id)
                return Reply(500)
            self.outcome.accepted.add(number)
            return Reply()

    def _note_unfinished(self) -> None:
        with self._lock:
            self.outcome.unfinished.append(len(self.outcome.ids.keys() - self.outcome.accepted))

    def _wait_for_the_end(self, server: Server) -> None:
        deadline = time.monotonic() + ENDED_IN
        wanted = set(self.outcome.submitted)
        with server.client() as http:
            # What has not come by then is for the tests to tell.
            while time.monotonic() < deadline and not (
                self.outcome.accepted >= wanted and is_idle(http)
            ):
                time.sleep(0.1)
        time.sleep(0.5)  # for a second, wrong end of a job to be told

    def _read_documents(self, server: Server, pool: ThreadPoolExecutor) -> None:
        ids = [job_id for own in self.outcome.ids.values() for job_id in own]

        def read(some: list[str]) -> dict[str, Document]:
            with server.client() as http:
                return {job_id: http.get(f"/jobs/{job_id}").json() for job_id in some}

        for documents in pool.map(read, [ids[n::CLIENTS] for n in range(CLIENTS)]):
            self.outcome.documents.update(documents)


def settle(clients: list[Future[None]]) -> None:
    """Wait until each client has had all of its jobs acknowledged; raise what it met."""
    for client in clients:
        client.result()


def is_idle(http: httpx.Client) -> bool:
    """Return whether no job waits or runs."""
    lists = [http.get(f"/jobs?limit=1&status={status}") for status in ("queued", "running")]
    return not any(answer.json()["jobs"] for answer in lists)


def ends(outcome: Outcome, number: int) -> set[tuple[str, str, str]]:
    """Return every end that was told of a job: by webhooks, and by its document."""
    told = [received.body for received in outcome.received.get(number, [])]
    kept = [outcome.documents[job_id] for job_id in outcome.ids[number]]
    return {(one["id"], one["status"], str(one.get("finished_at"))) for one in [*told, *kept]}


def is_final(document: Document) -> bool:
    """Return whether a job has come to one of its ends."""
    return document.get("status") in FINAL
