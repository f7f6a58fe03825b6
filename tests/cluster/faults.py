"""What happens to the servers of a cluster, and to their database."""

import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from cluster.servers import Cluster, Member
from e2e.server import wait_until

__all__ = ["FAULTS", "Faults"]

VICTIMS = """
    SELECT seq, attempts FROM potassium.jobs
    WHERE status = 'running' AND claimant IN (SELECT id FROM potassium.servers WHERE name LIKE %s)
"""
NOW = "SELECT seq, attempts, status FROM potassium.jobs WHERE seq = ANY(%s)"
TAKEN_UP_IN = 60.0  # seconds
STOPPED_IN = 60.0  # seconds


@dataclass
class Faults:
    """Causes faults, and remembers what came of them.

    Attributes:
        counts: how many there were of each kind.
        victims: how many jobs the servers ran that were killed.
        taken_up: for each kill, the seconds until all of these had been taken up.
        run_again: for each kill, the seconds until all of these had begun again, or ended.
        stops: for each server that was asked to stop, the seconds that it took, and its status.

    """

    cluster: Cluster
    random: random.Random
    counts: dict[str, int] = field(default_factory=dict)
    victims: int = 0
    taken_up: list[float] = field(default_factory=list)
    run_again: list[float] = field(default_factory=list)
    stops: list[tuple[float, int]] = field(default_factory=list)

    def cause(self, kind: str) -> None:
        """Cause a fault, and return when it is over."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        FAULTS[kind](self, self.random.choice(self.cluster.members))

    def kill(self, member: Member) -> None:
        """Kill a server, and start it again some time later."""
        with ThreadPoolExecutor(1) as pool:
            member.kill()
            watching = pool.submit(self._watch_victims, member)
            time.sleep(self.random.uniform(0, 1.5 * self.cluster.lease))
            member.start()
            watching.result()

    def pause(self, member: Member) -> None:
        """Stop a server for longer than its lease, and let it go on."""
        with member.paused():
            time.sleep(self.cluster.lease + self.random.uniform(1, 2))

    def drain(self, member: Member) -> None:
        """Ask a server to stop, and start it again."""
        began = time.monotonic()
        member.server.process.send_signal(signal.SIGTERM)
        status = member.ended(STOPPED_IN)
        self.stops.append((time.monotonic() - began, status))
        member.start()

    def crash(self, _: Member) -> None:
        """Let the database crash, and start it again."""
        self.cluster.postgres.stop("immediate")
        time.sleep(self.random.uniform(0, self.cluster.lease))
        self.cluster.postgres.start()

    def cut(self, member: Member) -> None:
        """Cut a server from its database in the middle of some commits."""
        wanted = member.proxy.cuts + 5
        # Most reach the database, so that only the answers are lost.
        member.proxy.cut_commits(*(self.random.random() < 0.7 for _ in range(5)))
        deadline = time.monotonic() + 5
        while member.proxy.cuts < wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        member.proxy.cut_no_more()

    def swallow(self, member: Member) -> None:
        """Swallow all that a server and the database tell each other for a while."""
        member.proxy.swallow()
        time.sleep(self.random.uniform(0.5, 2 * self.cluster.lease))
        member.proxy.pass_on()

    def _watch_victims(self, member: Member) -> None:
        """Note when the jobs of a server that has died have been taken up, and when they run."""
        began = time.monotonic()
        with self.cluster.connect() as connection:
            before = dict(connection.execute(VICTIMS, [f"{member.name} %"]).fetchall())
            self.victims += len(before)
            if not before:
                return

            def rows() -> list[tuple[Any, ...]]:
                return connection.execute(NOW, [list(before)]).fetchall()

            def are_taken_up() -> bool:
                return all(
                    attempts > before[seq] or status != "running"
                    for seq, attempts, status in rows()
                )

            def run_again() -> bool:
                return all(
                    attempts > before[seq] or status not in {"queued", "running"}
                    for seq, attempts, status in rows()
                )

            wait_until(are_taken_up, "jobs are taken up", seconds=TAKEN_UP_IN)
            self.taken_up.append(time.monotonic() - began)
            wait_until(run_again, "jobs run again", seconds=TAKEN_UP_IN)
            self.run_again.append(time.monotonic() - began)


FAULTS: dict[str, Callable[[Faults, Member], None]] = {
    "kill": Faults.kill,
    "cut": Faults.cut,
    "crash": Faults.crash,
    "pause": Faults.pause,
    "swallow": Faults.swallow,
    "drain": Faults.drain,
}
