"""Measures how long it takes from saving a file until the new code answers.

The app embeds sentences with a model that init loads. It is served by ``potassium serve --reload``
and, as a plain Starlette app with the same model, by ``uvicorn --reload``. In each round, the
handler, a helper module and a pydantic model are changed, one after the other.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from serving import free_port

ROUNDS = 5
PATIENCE = 60  # seconds
HERE = Path(__file__).parent

HELPER = "VERSION = 0\n\n\ndef version():\n    return VERSION\n"

LOAD = """
    import minilm
    from transformers import AutoModel
    model = AutoModel.from_pretrained(minilm.model_folder())
    tokenizer = minilm.tokenizer()
"""

OURS = f"""
from pydantic import BaseModel
from potassium import Potassium
import torch
import helper

app = Potassium("reload")
NUMBER = 0


class Item(BaseModel):
    text: str = "hello"
    number: int = 0


@app.init
def init():{LOAD}
    return {{"model": model, "tokenizer": tokenizer}}


@app.handler("/")
def handle(cache, item: Item) -> dict:
    cache["model"](torch.tensor([cache["tokenizer"].encode(item.text).ids]))
    return {{"version": [NUMBER, helper.version(), item.number]}}
"""

PLAIN = f"""
from contextlib import asynccontextmanager
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
import torch
import helper

NUMBER = 0
cache = {{}}


class Item(BaseModel):
    text: str = "hello"
    number: int = 0


@asynccontextmanager
async def lifespan(app):{LOAD}
    cache.update(model=model, tokenizer=tokenizer)
    yield


def handle(request):
    item = Item()
    cache["model"](torch.tensor([cache["tokenizer"].encode(item.text).ids]))
    return JSONResponse({{"version": [NUMBER, helper.version(), item.number]}})


app = Starlette(lifespan=lifespan, routes=[Route("/", handle, methods=["POST"])])
"""

# What is changed, and how, from one version to the next.
CHANGES: dict[str, tuple[str, str]] = {
    "a handler's file": ("app.py", "NUMBER = {}"),
    "a helper module": ("helper.py", "VERSION = {}"),
    "a pydantic model": ("app.py", "number: int = {}"),
}


@contextmanager
def served(folder: Path, text: str, command: list[str]) -> Iterator[str]:
    """Serve an app in a process of its own; yield its URL."""
    (folder / "app.py").write_text(text)
    (folder / "helper.py").write_text(HELPER)
    port = free_port()
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "--reload", "--port", str(port)],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)


def wait_for(url: str, version: list[int]) -> float:
    """Return the time at which the first answer of a version arrives."""
    until = time.monotonic() + PATIENCE
    with httpx.Client(trust_env=False, timeout=PATIENCE) as http:
        while time.monotonic() < until:
            try:
                answer = http.post(url, json={})
                if answer.is_success and answer.json()["version"] == version:
                    return time.monotonic()
            except httpx.TransportError:
                pass
            time.sleep(0.005)
    raise TimeoutError(f"version {version} never answered at {url}")


def seconds_of_changes(folder: Path, url: str) -> dict[str, list[float]]:
    """Return how long each kind of change took, in each round."""
    version = [0, 0, 0]
    wait_for(url, version)
    found: dict[str, list[float]] = {kind: [] for kind in CHANGES}
    for _ in range(ROUNDS):
        for position, (kind, (name, line)) in enumerate(CHANGES.items()):
            text = (folder / name).read_text()
            before = line.format(version[position])
            version[position] += 1
            began = time.monotonic()
            (folder / name).write_text(text.replace(before, line.format(version[position])))
            found[kind].append(wait_for(url, version) - began)
            time.sleep(0.5)
    return found


def main() -> None:
    servers = {
        "potassium serve --reload": (OURS, ["potassium", "serve", "app.py"]),
        "uvicorn --reload, plain Starlette": (PLAIN, ["uvicorn", "app:app"]),
    }
    print("| server | change | seconds until the new code answers |\n| --- | --- | --- |")
    for name, (text, command) in servers.items():
        with tempfile.TemporaryDirectory() as folder, served(Path(folder), text, command) as url:
            for kind, seconds in seconds_of_changes(Path(folder), url).items():
                spread = f"({min(seconds):.3f} to {max(seconds):.3f})"
                print(
                    f"| {name} | {kind} | {statistics.median(seconds):.3f} {spread} |", flush=True
                )


if __name__ == "__main__":
    main()
