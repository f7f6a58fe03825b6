"""How much memory a server and its workers take."""

import json
from dataclasses import dataclass

import load
import psutil
import variants
from report import mebibytes, row, table
from serving import Server
from variants import LITSERVE, MOSEC
from workers_plan import Plan


@dataclass(frozen=True)
class Memory:
    """Proportional set sizes (PSS) in bytes: of memory that processes share, each has its part."""

    front: int
    children: list[int]

    @classmethod
    def of(cls, server: Server) -> "Memory":
        """Read the sizes of a server's process and of all below it, as /proc has them."""
        below = [_pss(process) for process in server.seen.children(recursive=True)]
        return cls(_pss(server.seen), sorted(below, reverse=True))

    @property
    def total(self) -> int:
        return self.front + sum(self.children)


def _pss(process: psutil.Process) -> int:
    size: int = process.memory_full_info().pss
    return size


def show(what: str, sizes: dict[str, Memory]) -> None:
    """Print the memory of servers, beside that of the first one."""
    (ours, *_) = sizes.values()
    table(what, "first process", "each below it", "all", "workers / it")
    for name, size in sizes.items():
        below = ", ".join(map(mebibytes, size.children))
        row(
            name,
            mebibytes(size.front),
            below,
            mebibytes(size.total),
            f"{ours.total / size.total:.2f}",
        )


def memory(plan: Plan) -> None:
    """Print the memory of servers with a no-op handler."""
    with variants.started(plan.variants(MOSEC, LITSERVE), "noop") as servers:
        body = json.dumps(variants.BODIES["noop"])
        for server in servers.values():
            load.post(server.port, body, connections=32, seconds=plan.seconds, path="/noop")
        sizes = {name: Memory.of(server) for name, server in servers.items()}
    show("memory (PSS) with a no-op handler", sizes)
