"""Send texts to a server that embeds them, and measure it."""

import json
import os
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import load
import minilm
import texts
from batch_log import Batches
from disturbance import Patience
from report import p99
from serving import Server

LOAD = str(Path(__file__).with_name("bodies_load.py"))


@dataclass(frozen=True)
class Measured:
    """A server's measurements under load.

    Latencies are in seconds; ``others`` is the share of the machine that other processes took.
    """

    rate: float
    token_rate: float
    latencies: list[float]
    batches: Batches
    others: float

    @property
    def median(self) -> float:
        return statistics.median(self.latencies)

    @property
    def p99(self) -> float:
        return p99(self.latencies)


class Texts:
    """Texts of equal and of mixed lengths, in files for the load generator.

    Servers started after this object is created write a log of their batches.
    """

    def __init__(self, folder: Path, patience: Patience) -> None:
        self._folder = folder
        self._patience = patience
        self._log = folder / "batches"
        os.environ[minilm.LOG] = str(self._log)
        tokenizer = minilm.tokenizer()
        for name, made in ("equal", texts.equal(tokenizer)), ("mixed", texts.mixed(tokenizer)):
            bodies = [(tokens, json.dumps({"text": text})) for tokens, text in made]
            (folder / name).write_text(json.dumps(bodies))

    def send(
        self, server: Server, lengths: str, connections: int, seconds: float, route: str = "/embed"
    ) -> Measured:
        """Send the texts to a server for ``seconds``, after a warm-up that does not count.

        Raises:
            SystemExit: a text was not embedded.

        """
        arguments = (server.port, route, self._folder / lengths, connections, seconds)
        command = [sys.executable, LOAD, *map(str, arguments)]
        seen, others = self._patience.measure(lambda: load.result(command), server.seen)
        if seen["errors"]:
            raise SystemExit(f"{server.name}: {seen['errors']}")
        spent = seen["ended"] - seen["began"]
        return Measured(
            rate=len(seen["latencies"]) / spent,
            token_rate=seen["tokens"] / spent,
            latencies=seen["latencies"],
            batches=Batches.read(self._log, seen["began"], seen["ended"]),
            others=others,
        )
