"""Clients of a cluster, who send each request to any server, and do not give up."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import httpx
from cluster.servers import Member
from e2e.jobs import FINAL, Document
from e2e.receiver import Receiver

__all__ = ["HANDLERS", "JOBS", "Load", "SentEvent", "is_last", "sent_events"]

JOBS = 60  # in a round
CLIENTS = 6
PATIENCE = 90.0  # seconds for a request to get its answer, whatever happens meanwhile
PAUSE = 0.1  # seconds until it is sent again
# Of twenty jobs, so many are of a handler.
SHARES = {"/work": 8, "/stream": 4, "/long": 3, "/flaky": 2, "/batch": 2, "/fails": 1}
HANDLERS = [handler for handler, share in SHARES.items() for _ in range(share)]

SentEvent = tuple[int, str]  # the id and the data


class Load:
    """Submits jobs, some of them twice, cancels some, and waits for some.

    Attributes:
        ids: for each number of a job, the ids under which it was acknowledged.
        cancelled: the numbers of the jobs whose cancellation was acknowledged.
        waits: for each wait for a job, the seconds from its end to the answer.
        events: for some numbers, the ids and data of the events that a client got.

    """

    def __init__(
        self, members: Sequence[Member], receiver: Receiver, folder: Path, seed: int
    ) -> None:
        self.ids: dict[int, set[str]] = defaultdict(set)
        self.cancelled: set[int] = set()
        self.waits: list[float] = []
        self.events: dict[int, list[SentEvent]] = {}
        self._members = members
        self._receiver = receiver
        self._folder = folder
        self._seed = seed
        self._lock = threading.Lock()
        self._clients = ThreadPoolExecutor(CLIENTS)
        self._watchers = ThreadPoolExecutor(32)
        self._submitting: list[Future[None]] = []
        self._watching: list[Future[None]] = []

    def submit(self, numbers: range) -> None:
        """Begin to submit the jobs with these numbers."""
        self._submitting += [
            self._clients.submit(self._submit, numbers[client::CLIENTS])
            for client in range(CLIENTS)
        ]

    def settle(self) -> None:
        """Wait until all jobs are acknowledged; raise what a client raised."""
        while self._submitting:
            self._submitting.pop().result()

    def finish(self) -> None:
        """Wait until all that clients wait for has come."""
        self.settle()
        while self._watching:
            self._watching.pop().result()
        self._clients.shutdown()
        self._watchers.shutdown()

    def _submit(self, numbers: range) -> None:
        for number in numbers:
            chance = random.Random(f"{self._seed} {number}")  # noqa: S311 - to be repeated
            handler = HANDLERS[number % len(HANDLERS)]
            body = {
                "number": number,
                "seconds": chance.uniform(0.002, 0.05),
                "folder": str(self._folder / "marks"),
                "gate": str(self._folder / "gate"),
            }
            headers = {
                "Idempotency-Key": f"job-{number}",
                "Prefer": "respond-async",
                "Webhook-Url": f"{self._receiver.url}/{number}",
                "X-Priority": chance.choice(["low", "normal", "high"]),
            }
            for _ in range(2 if chance.random() < 0.3 else 1):
                answer = self._insist("POST", handler, json=body, headers=headers)
                assert answer.status_code == httpx.codes.ACCEPTED, answer.text
                job_id = answer.json()["id"]
                with self._lock:
                    self.ids[number].add(job_id)
            self._watch(number, handler, job_id, chance)

    def _watch(self, number: int, handler: str, job_id: str, chance: random.Random) -> None:
        what: Callable[[int, str], None] | None = None
        if handler == "/long":
            what = self._cancel
        elif chance.random() < 0.15:
            what = self._wait
        elif handler == "/stream" and chance.random() < 0.3:
            what = self._follow
        if what is not None:
            self._watching.append(self._watchers.submit(what, number, job_id))

    def _cancel(self, number: int, job_id: str) -> None:
        time.sleep(random.uniform(0.1, 2.0))  # noqa: S311
        answer = self._insist("DELETE", f"/jobs/{job_id}")
        assert answer.status_code in {200, 202}, answer.text
        with self._lock:
            self.cancelled.add(number)

    def _wait(self, number: int, job_id: str) -> None:
        document: Document = {"status": "queued"}
        while document["status"] not in FINAL:
            document = self._insist("GET", f"/jobs/{job_id}", headers={"Prefer": "wait=10"}).json()
        ended = datetime.fromisoformat(document["finished_at"]).timestamp()
        with self._lock:
            self.waits.append(time.time() - ended)

    def _follow(self, number: int, job_id: str) -> None:
        """Follow the events of a job to its end, from one server after the other."""
        got: list[SentEvent] = []
        deadline = time.monotonic() + PATIENCE
        while not got or not is_last(got[-1][1]):
            assert time.monotonic() < deadline, f"no end among the events of {job_id}: {got}"
            last = {"Last-Event-ID": str(got[-1][0])} if got else {}
            try:
                self._read_events(f"/jobs/{job_id}/events", last, got)
            except httpx.TransportError:
                time.sleep(PAUSE)
        with self._lock:
            self.events[number] = got

    def _read_events(self, path: str, headers: Mapping[str, str], got: list[SentEvent]) -> None:
        with self._client() as http, http.stream("GET", path, headers=headers) as answer:
            if answer.status_code != httpx.codes.OK:
                time.sleep(PAUSE)
                return
            got += sent_events(answer)  # also those that came before it was cut off

    def _insist(
        self,
        method: str,
        path: str,
        *,
        json: Document | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request to one server after the other until one answers it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                with self._client() as http:
                    answer = http.request(method, path, json=json, headers=headers)
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    return answer
                why = answer.text
            except httpx.TransportError as error:
                why = repr(error)
            time.sleep(PAUSE)
        raise AssertionError(f"{method} {path} got no answer: {why}")

    def _client(self) -> httpx.Client:
        member = random.choice(self._members)  # noqa: S311
        return httpx.Client(base_url=member.url, timeout=15, trust_env=False)


def sent_events(answer: httpx.Response) -> Iterator[SentEvent]:
    """Yield the events of a stream as they arrive."""
    event_id = 0
    for line in answer.iter_lines():
        if line.startswith("id: "):
            event_id = int(line.removeprefix("id: "))
        elif line.startswith("data: "):
            yield event_id, line.removeprefix("data: ")


def is_last(data: str) -> bool:
    """Return whether the data of an event says that the job has ended."""
    return any(f'"status":"{status}"' in data for status in FINAL)
