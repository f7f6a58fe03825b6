"""(a) A no-op handler behind Potassium, with everything on."""

import sys
from typing import Any

from potassium import Potassium

app = Potassium("noop")


@app.handler
def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return {"out": json_in["x"]}


if __name__ == "__main__":
    app.serve(port=int(sys.argv[1]), log_level=sys.argv[2] if sys.argv[2:] else "warning")
