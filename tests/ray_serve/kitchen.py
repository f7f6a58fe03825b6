"""An app that has a bit of everything."""

SOURCE = '''
import os
import time
from pathlib import Path

from pydantic import BaseModel

from potassium import Batch, Limits, Potassium

marks = Path("MARKS")
app = Potassium("kitchen", limits=Limits(grace_period=5), metrics=True)


class Numbers(BaseModel):
    a: int
    b: int


@app.init
def init():
    return {"pid": os.getpid()}


@app.handler("/add")
def add(cache, numbers: Numbers):
    return {"sum": numbers.a + numbers.b, "pid": cache["pid"]}


@app.handler("/short", timeout=0.5)
def short(cache, json_in: dict):
    time.sleep(json_in["seconds"])
    return {}


@app.handler("/steps", streams=8)
def steps(cache, json_in: dict):
    """Yield each number once the client has said that it has the one before."""
    for number in range(json_in["steps"]):
        until = time.monotonic() + 10
        while number and not (marks / f"{json_in['name']}-{number - 1}").exists():
            if time.monotonic() > until:
                raise TimeoutError
            time.sleep(0.005)
        yield {"number": number}


@app.handler("/endless", streams=8)
def endless(cache, json_in: dict):
    try:
        while True:
            time.sleep(0.01)
            yield {"at": time.time()}
    finally:
        (marks / json_in["name"]).touch()


@app.handler("/batch", batch=Batch(max_size=16, max_delay=0.05))
def batch(cache, items: list[dict]):
    time.sleep(0.1)
    return [{"size": len(items)} for _ in items]
'''
