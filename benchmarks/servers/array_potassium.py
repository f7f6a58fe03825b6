"""A handler that returns the array that it gets, in whatever form that comes."""

import sys
from typing import Any

from potassium import Array, Limits, Potassium

app = Potassium("array", limits=Limits(body_size=1 << 26, body_memory=1 << 30, json_values=1 << 21))


@app.handler
def handler(cache: dict[str, Any], array: Array) -> Array:
    return array


if __name__ == "__main__":
    app.serve(port=int(sys.argv[1]), log_level="warning")
