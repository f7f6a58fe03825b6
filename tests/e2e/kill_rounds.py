"""Rounds of jobs that are submitted to a server that gets killed, and the outcome of each job.

Every client retries with the same ``Idempotency-Key`` until each of its jobs is acknowledged, as a
client does whose connection broke. Each job names its own receiver. About half of the delivery
attempts are answered 500, each drawn independently. An attempt that follows a refusal is accepted,
because the schedule puts the third attempt five minutes later.
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

JOBS = 200  # per round
CLIENTS = 16
ASKED_AGAIN = 10  # every tenth job is submitted again at the very end, with its old key
LATEST_KILL = 1.2  # seconds after the start of a round
REFUSED_FIRST = 0.9  # of first attempts, so that about half of all attempts are refused
ACCEPTED_IN = 60.0  # seconds for a client to get all its jobs acknowledged, including all kills
ENDED_IN = 90.0  # seconds after the last restart for all jobs to end and all webhooks to arrive
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
    """The outcome of all rounds.

    Attributes:
        seed: the seed of the random moments.
        submitted: the numbers of the jobs.
        ids: for each number, the acknowledged ids: exactly one, if all is well.
        documents: for each id, the job's document at the very end.
        received: for each number, what its receiver got.
        accepted: the numbers whose receiver has answered 200 to an attempt.
        forged: the requests whose signature did not verify.
        unfinished: for each kill, how many acknowledged jobs had not been delivered.

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
    """A receiver, clients, and a server on one file and one port; owns their records."""

    def __init__(self, rounds: int, seed: int) -> None:
        self.outcome = Outcome(seed, range(rounds * JOBS))
        self._random = random.Random(seed)  # noqa: S311 - it has to be repeatable
        self._lock = threading.Lock()
        self._refused: set[str] = set()

    def run(self, folder: Path) -> Outcome:
        """Run every round, wait for the end of all jobs, and return the outcome."""
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
            # The tests report what has not arrived by the deadline.
            while time.monotonic() < deadline and not (
                self.outcome.accepted >= wanted and is_idle(http)
            ):
                time.sleep(0.1)
        time.sleep(0.5)  # time for a second end of a job to be reported, which would be wrong

    def _read_documents(self, server: Server, pool: ThreadPoolExecutor) -> None:
        ids = [job_id for own in self.outcome.ids.values() for job_id in own]

        def read(some: list[str]) -> dict[str, Document]:
            with server.client() as http:
                return {job_id: http.get(f"/jobs/{job_id}").json() for job_id in some}

        for documents in pool.map(read, [ids[n::CLIENTS] for n in range(CLIENTS)]):
            self.outcome.documents.update(documents)


def settle(clients: list[Future[None]]) -> None:
    """Wait until each client has had all of its jobs acknowledged; raise what a client raised."""
    for client in clients:
        client.result()


def is_idle(http: httpx.Client) -> bool:
    """Return whether no job waits or runs."""
    lists = [http.get(f"/jobs?limit=1&status={status}") for status in ("queued", "running")]
    return not any(answer.json()["jobs"] for answer in lists)


def ends(outcome: Outcome, number: int) -> set[tuple[str, str, str]]:
    """Return every end that was reported for a job: by webhooks, and by its document."""
    told = [received.body for received in outcome.received.get(number, [])]
    kept = [outcome.documents[job_id] for job_id in outcome.ids[number]]
    return {(one["id"], one["status"], str(one.get("finished_at"))) for one in [*told, *kept]}


def is_final(document: Document) -> bool:
    """Return whether a job is in a terminal state."""
    return document.get("status") in FINAL
