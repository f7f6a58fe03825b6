"""Rounds of jobs on a cluster in each of which something breaks, and what came of the jobs."""

import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cluster.faults import FAULTS, Faults
from cluster.load import JOBS, Load, SentEvent, sent_events
from cluster.servers import Cluster, clustered
from e2e.jobs import FINAL, Document
from e2e.receiver import Received, Receiver, Reply, receive
from standardwebhooks import WebhookVerificationError

__all__ = ["Outcome", "Rounds"]

SERVERS = 3
ENDED_IN = 120.0  # seconds after the last round for all jobs to end and all webhooks to arrive
REFUSED = 0.4  # of first attempts are answered 500
IGNORED = 0.05  # of first attempts are not answered in time
SILENCE = 5.0  # seconds, longer than servers wait for an answer
AT_REST = """
    SELECT NOT EXISTS (SELECT FROM potassium.jobs WHERE status IN ('queued', 'running'))
    AND NOT EXISTS (SELECT FROM potassium.deliveries WHERE due_at IS NOT NULL)
"""
# Those that live, and those that have left something: the rest is kept for a while.
SERVERS_LEFT = """
    SELECT count(*) FROM potassium.servers WHERE heir IS NULL OR EXISTS (
        SELECT FROM potassium.jobs WHERE status = 'running' AND claimant = servers.id
    ) OR EXISTS (SELECT FROM potassium.deliveries WHERE taken_by = servers.id)
"""
JOBS_BY_STATUS = "SELECT handler, status, count(*) FROM potassium.jobs GROUP BY 1, 2"


@dataclass
class Outcome:
    """What came of all rounds.

    Attributes:
        submitted: the numbers of the jobs.
        load: what the clients were told.
        faults: what happened to the servers.
        documents: for each id, the job's document as each of the servers has it at the end.
        events: for each id, the job's events, in the same way.
        received: for each number, what its receiver got.
        accepted: the numbers whose receiver has answered 200 to an attempt.
        forged: the requests whose signature did not verify.
        counts: how many jobs there are by handler and status.
        census: the same, as each of the servers says.
        servers: how many servers live at the end, or have left something.
        records: the lines of the logs, apart from that of requests and jobs.
        seconds: how long the rounds took.

    """

    submitted: range
    load: Load
    faults: Faults
    documents: dict[str, list[Document]] = field(default_factory=dict)
    events: dict[str, list[list[SentEvent]]] = field(default_factory=dict)
    received: dict[int, list[Received]] = field(default_factory=dict)
    accepted: set[int] = field(default_factory=set)
    forged: list[Received] = field(default_factory=list)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    census: list[dict[tuple[str, str], int]] = field(default_factory=list)
    servers: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def document(self, number: int) -> Document:
        """Return the document of a job, as the first server has it."""
        (job_id,) = self.load.ids[number]
        return self.documents[job_id][0]

    def summary(self) -> str:
        """Return what has happened, for whoever wants to know how hard the test was."""
        faults, waits = self.faults, sorted(self.load.waits)
        attempts = sum(len(received) for received in self.received.values())
        cuts = sum(member.proxy.cuts for member in faults.cluster.members)
        return (
            f"{len(self.submitted)} jobs and {attempts} attempts at webhooks in"
            f" {self.seconds:.0f} s; {faults.counts}, {cuts} commits cut off."
            f" Lease {faults.cluster.lease:.0f} s: {faults.victims} jobs of killed servers were"
            f" taken up after {max(faults.taken_up, default=0):.1f} s at most, and ran again after"
            f" {max(faults.run_again, default=0):.1f} s. Stops took"
            f" {max((seconds for seconds, _ in faults.stops), default=0):.1f} s at most. Of"
            f" {len(waits)} who waited, half were told within {waits[len(waits) // 2]:.2f} s."
        )

    def complaints(self) -> list[dict[str, Any]]:
        """Return the warnings and errors on the logs that are not about what the test does."""
        return [
            record
            for record in self.records
            if record["level"] != "INFO"
            and "handler_error" not in record["message"]
            and "webhook to" not in record["message"]
        ]


class Rounds:
    """A cluster, its clients and their receiver; owns their records."""

    def __init__(self, rounds: int, seed: int) -> None:
        self._rounds = rounds
        self._seed = seed
        self._random = random.Random(seed)  # noqa: S311 - it has to be repeatable
        self._lock = threading.Lock()
        self._refused: set[str] = set()

    def run(self, folder: Path) -> Outcome:
        """Run every round, wait for the end of all jobs, and return what came of them."""
        (folder / "marks").mkdir()
        began = time.monotonic()
        with receive(self._answer) as receiver, clustered(folder, servers=SERVERS) as cluster:
            self.outcome = self._new_outcome(cluster, receiver, folder)
            kinds: list[str] = []
            for first in self.outcome.submitted[::JOBS]:
                self.outcome.load.settle()
                self.outcome.load.submit(range(first, first + JOBS))
                time.sleep(self._random.uniform(0, 1.0))
                kinds = kinds or self._random.sample(list(FAULTS), len(FAULTS))
                self.outcome.faults.cause(kinds.pop())
            self.outcome.load.finish()
            self._wait_for_the_end(cluster)
            self.outcome.seconds = time.monotonic() - began
            self._read(cluster)
        return self.outcome

    def _new_outcome(self, cluster: Cluster, receiver: Receiver, folder: Path) -> Outcome:
        load = Load(cluster.members, receiver, folder, self._seed)
        return Outcome(range(self._rounds * JOBS), load, Faults(cluster, self._random))

    def _answer(self, received: Received) -> Reply:
        number = int(received.path.removeprefix("/"))
        with self._lock:
            self.outcome.received.setdefault(number, []).append(received)
            try:
                received.verify()
            except WebhookVerificationError:
                self.outcome.forged.append(received)
            chance = random.Random(f"{self._seed} {number}").random()  # noqa: S311
            if received.id not in self._refused and chance < REFUSED + IGNORED:
                self._refused.add(received.id)
                return Reply(500) if chance < REFUSED else Reply(delay=SILENCE)
            self.outcome.accepted.add(number)
            return Reply()

    def _wait_for_the_end(self, cluster: Cluster) -> None:
        deadline = time.monotonic() + ENDED_IN
        with cluster.connect() as connection:
            # The tests report what has not come to its end by the deadline.
            while time.monotonic() < deadline:
                (is_at_rest,) = connection.execute(AT_REST).fetchone() or (False,)
                if is_at_rest:
                    break
                time.sleep(0.1)
        time.sleep(2 * cluster.lease)  # time for whatever is wrong to happen once more

    def _read(self, cluster: Cluster) -> None:
        outcome = self.outcome
        with cluster.connect() as connection:
            rows = connection.execute(JOBS_BY_STATUS).fetchall()
            outcome.counts = {(handler, status): count for handler, status, count in rows}
            row = connection.execute(SERVERS_LEFT).fetchone()
            outcome.servers = row[0] if row else 0
        urls = [member.url for member in cluster.members]
        with ThreadPoolExecutor(SERVERS) as pool:
            for jobs in pool.map(self._jobs, urls):
                for job_id, (document, events) in jobs.items():
                    outcome.documents.setdefault(job_id, []).append(document)
                    outcome.events.setdefault(job_id, []).append(events)
        outcome.census = [census(url) for url in urls]
        outcome.records = [
            record
            for log in cluster.logs()
            for record in map(json.loads, log.read_text().splitlines())
            if record["logger"] != "potassium.access"
        ]

    def _jobs(self, url: str) -> dict[str, tuple[Document, list[SentEvent]]]:
        """Return each job and its events, as a server has them."""
        found: dict[str, tuple[Document, list[SentEvent]]] = {}
        with httpx.Client(base_url=url, timeout=20, trust_env=False) as http:
            for job_id in [job_id for own in self.outcome.load.ids.values() for job_id in own]:
                document, events = http.get(f"/jobs/{job_id}").json(), []
                if document.get("status") in FINAL:  # otherwise they have no end
                    with http.stream("GET", f"/jobs/{job_id}/events") as answer:
                        events = list(sent_events(answer))
                found[job_id] = document, events
        return found


def census(url: str) -> dict[tuple[str, str], int]:
    """Return how many jobs there are by handler and status, as the metrics of a server say."""
    counts = Counter[tuple[str, str]]()
    for line in httpx.get(f"{url}/metrics", trust_env=False).text.splitlines():
        if line.startswith("potassium_jobs{"):
            labels, _, value = line.removeprefix("potassium_jobs{").partition("} ")
            named = dict(label.split("=") for label in labels.replace('"', "").split(","))
            counts[named["handler"], named["state"]] += int(float(value))
    return {key: count for key, count in counts.items() if count}
