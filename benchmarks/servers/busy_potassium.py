"""A 5 ms handler that records when the GPU thread is in it."""

import sys
import time
from typing import Any

from potassium import Potassium

app = Potassium("busy")


@app.init
def init() -> dict[str, Any]:
    return {"began": [], "ended": []}


@app.handler
def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    cache["began"].append(time.perf_counter())
    time.sleep(0.005)
    cache["ended"].append(time.perf_counter())
    return {"out": json_in["x"]}


@app.handler("/share")
def share(cache: dict[str, Any], json_in: dict[str, Any]) -> float:
    """Return the share of time spent in the handler while calls were waiting."""
    began, ended = cache["began"][100:-100], cache["ended"][100:-100]
    inside = sum(end - begin for begin, end in zip(began, ended, strict=True))
    return float(inside / (ended[-1] - began[0]))


if __name__ == "__main__":
    app.serve(port=int(sys.argv[1]), log_level="warning")
