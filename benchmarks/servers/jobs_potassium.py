"""No-op handlers that are called directly and in the background.

Takes, after the port, the path of the jobs file and the URL that ``/posted`` posts results to.
"""

import asyncio
import sys
from typing import Any

from potassium import Jobs, Limits, Potassium

_, PORT, PATH, URL = sys.argv

# Stopping the server must not wait for the job that never ends.
app = Potassium("jobs", jobs=Jobs(path=PATH), limits=Limits(grace_period=0.2))


@app.handler
def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return {"out": json_in["x"]}


@app.background("/done")
def done(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return {"out": json_in["x"]}


@app.background("/stuck", concurrency=1)
async def stuck(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
    """Never return, so that no other job of this handler runs."""
    await asyncio.Event().wait()


@app.result_webhook(url=URL)
@app.background("/posted")
def posted(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return {"out": json_in["x"]}


if __name__ == "__main__":
    app.serve(port=int(PORT), log_level="critical")
