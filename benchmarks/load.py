"""Put load on a server of this machine, from separate processes, and return the results."""

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRK = shutil.which("wrk")

LUA = """
wrk.method = "POST"
wrk.body = %(body)s
wrk.headers["Content-Type"] = "application/json"
done = function(summary, latency, requests)
  local errors = summary.errors.status + summary.errors.read + summary.errors.write
               + summary.errors.connect + summary.errors.timeout
  io.write(string.format('RESULT {"requests": %%d, "seconds": %%f, "p50": %%f, "p99": %%f, '
    .. '"errors": %%d}\\n', summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6, errors))
end
"""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a load generator saw. Latencies are in seconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds


def generator() -> str:
    """Return the name of the load generator."""
    return "wrk" if WRK else "benchmarks/raw_load.py"


def post(port: int, body: str, *, connections: int, seconds: float, path: str = "/") -> Load:
    """Send ``body`` as JSON to ``path`` repeatedly on keep-alive connections."""
    if WRK is None:
        script = str(Path(__file__).with_name("raw_load.py"))
        arguments = (port, path, body, connections, seconds)
        seen = result([sys.executable, script, *map(str, arguments)])
    else:
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as lua:
            lua.write(LUA % {"body": json.dumps(body)})
            lua.flush()
            url = f"http://127.0.0.1:{port}{path}"
            duration = f"{max(1, round(seconds))}s"
            seen = result([WRK, "-t1", f"-c{connections}", f"-d{duration}", "-s", lua.name, url])
    return Load(**seen)


def result(command: list[str]) -> dict[str, Any]:
    """Run a load generator and return the result from its line of JSON."""
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    line = next(line for line in output.splitlines() if line.startswith("RESULT "))
    seen: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return seen
