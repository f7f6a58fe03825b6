"""What a server is told about a failed start."""

from pathlib import Path
from typing import Any

import pytest
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

import potassium.serving.services
from potassium import Jobs, Potassium, UsageError

Messages = list[dict[str, Any]]


def load() -> None:
    raise ValueError("no model")


async def run_lifespan(app: Potassium, messages: Messages) -> None:
    """Start and stop ``app`` as a server does, and collect the messages that the app sends."""
    coming = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Any:
        return {"type": next(coming)}

    async def send(message: Any) -> None:
        messages.append(message)

    await app({"type": "lifespan", "state": {}}, receive, send)


async def test_a_failed_start_is_told_by_the_users_lines(app: Potassium) -> None:
    """The message has no frame from a framework, and the error is still raised."""
    app.init(load)
    messages: Messages = []
    with pytest.raises(ValueError, match="no model"):
        await run_lifespan(app, messages)
    (message,) = messages
    assert message["type"] == "lifespan.startup.failed"
    first, *frames, last = message["message"].splitlines()
    assert (first, last) == ("Traceback (most recent call last):", "ValueError: no model")
    assert [line.split(", ")[-1] for line in frames if "File" in line] == ["in load"]


async def test_a_mistake_is_told_by_its_message(app: Potassium) -> None:
    """If the app is incomplete, only the message is sent: frames would lead nowhere."""
    app.result_webhook(url="http://localhost/")(load)
    messages: Messages = []
    with pytest.raises(UsageError):
        await run_lifespan(app, messages)
    assert messages[0]["message"].startswith("potassium.errors.UsageError: load has @app.result")


async def test_what_a_mistake_was_found_out_by_is_not_told(tmp_path: Path) -> None:
    """If a file cannot be opened, the message names the file, without any frames."""
    app = Potassium("test", jobs=Jobs(path=str(tmp_path)))
    messages: Messages = []
    with pytest.raises(UsageError):
        await run_lifespan(app, messages)
    assert messages[0]["message"].startswith("potassium.errors.UsageError: ")
    assert len(messages[0]["message"].splitlines()) == 1


async def test_a_fault_elsewhere_is_told_whole(
    app: Potassium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that is neither init's nor the app's mistake keeps every frame."""
    monkeypatch.setattr(potassium.serving.services, "Engine", lambda *_, **__: load())
    messages: Messages = []
    with pytest.raises(ValueError, match="no model"):
        await run_lifespan(app, messages)
    assert "starlette" in messages[0]["message"]


async def test_a_start_and_stop_that_succeed_are_told(app: Potassium) -> None:
    """All other messages are passed on."""
    messages: Messages = []
    await run_lifespan(app, messages)
    assert [message["type"] for message in messages] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


class Swallow:
    """Middleware that hides errors."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(ValueError, match="no model"):
            await self.app(scope, receive, send)


async def test_a_failure_that_middleware_hides_is_told_all_the_same() -> None:
    """A server that is told nothing would take the app for one that has started."""
    app = Potassium("test", middleware=[Middleware(Swallow)])
    app.init(load)
    messages: Messages = []
    await run_lifespan(app, messages)
    assert [message["type"] for message in messages] == ["lifespan.startup.failed"]
