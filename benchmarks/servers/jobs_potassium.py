"""No-op handlers that are called directly and in the background.

Takes, after the port, where jobs are kept, and the URL that ``/posted`` posts results to. Jobs are
kept in a file, which is given by its path, or in a database, given as ``URL#SCHEMA``.
"""

import asyncio
import os
import sys
import time
from typing import Any

from potassium import Jobs, Limits, Potassium

_, PORT, PLACE, URL = sys.argv
DATABASE, _, SCHEMA = PLACE.partition("#")
JOBS = Jobs(url=DATABASE, schema=SCHEMA, max_queued=10**9) if SCHEMA else Jobs(path=PLACE)

# Stopping the server must not wait for the job that never ends.
app = Potassium("jobs", jobs=JOBS, limits=Limits(grace_period=0.2))


@app.handler
def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return {"out": json_in["x"]}


@app.background("/done")
def done(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return {"out": json_in["x"]}


@app.background("/where")
def where(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    """Return when the job began, and in which process."""
    return {"at": time.time(), "process": os.getpid()}


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
