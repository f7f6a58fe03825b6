"""A 20 ms handler behind a short queue."""

import sys
import time
from typing import Any

from potassium import Limits, Potassium

app = Potassium("slow", limits=Limits(queue_size=64))


@app.handler
def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    time.sleep(0.02)
    return {"out": json_in["x"]}


if __name__ == "__main__":
    app.serve(port=int(sys.argv[1]), log_level="warning")
