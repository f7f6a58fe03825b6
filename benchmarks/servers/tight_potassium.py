"""A handler in pure Python that never releases the GIL by itself, behind Potassium."""

import sys
import time
from typing import Any

from potassium import Potassium

app = Potassium("tight")


@app.handler
def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    rounds = 0
    end = time.perf_counter() + json_in["seconds"]
    while time.perf_counter() < end:
        rounds += 1
    return {"rounds": rounds}


if __name__ == "__main__":
    app.serve(port=int(sys.argv[1]), log_level="warning")
