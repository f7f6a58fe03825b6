"""Runs the client's flows without a network and without time."""

from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from potassium.client.options import Options, Settings
from potassium.client.steps import Emit, Flow, Load, Read, Send, Sleep

Answer = httpx.Response | Exception


class Script:
    """A server that gives prepared answers, and a clock that only its steps move on.

    Attributes:
        requests: what was sent.
        sleeps: the seconds of each wait.
        took: seconds that each request takes.

    """

    def __init__(self, *answers: Answer | list[bytes | Exception], took: float = 0.0) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.sleeps: list[float] = []
        self.emitted: list[Any] = []
        self.now = 100.0
        self.took = took
        self._body: list[bytes | Exception] = []

    def settings(self, **options: Any) -> Settings:
        """Return the settings of a client whose jitter is always at its most."""
        http = httpx.Client(base_url="http://server", transport=httpx.BaseTransport())
        return Settings(
            build=http.build_request, clock=lambda: self.now, jitter=lambda: 1.0, **options
        )

    def run(self, flow: Flow[Any]) -> Any:
        """Run a flow, and return its result."""
        try:
            step = next(flow)
            while True:
                try:
                    result = self._perform(step)
                except (httpx.RequestError, TimeoutError) as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as end:
            return end.value

    def _perform(self, step: Any) -> Any:
        match step:
            case Send(request, deadline):
                self.requests.append(request)
                self.now += self.took
                if deadline is not None and self.now >= deadline:
                    self.now = deadline
                    raise TimeoutError
                answer = self.answers.pop(0)
                if isinstance(answer, Exception):
                    raise answer
                if isinstance(answer, list):
                    self._body = answer
                    return events()
                return answer
            case Read():
                piece = self._body.pop(0) if self._body else b""
                if isinstance(piece, Exception):
                    raise piece
                return piece
            case Sleep(seconds):
                self.sleeps.append(seconds)
                self.now += seconds
            case Emit(item):
                self.emitted.append(item)
            case _:
                assert isinstance(step, Load)
        return None


def ok(value: Any = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return httpx.Response(200, json=value, headers=headers)


def events() -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream"})


def problem(
    status: int, code: str, *, retry_after: str | None = None, **members: Any
) -> httpx.Response:
    """Return a problem document as the server sends it."""
    headers = {"content-type": "application/problem+json"}
    if retry_after is not None:
        headers["retry-after"] = retry_after
    document = {"status": status, "code": code, "title": "A title", "detail": "A detail."}
    return httpx.Response(status, json={**document, **members}, headers=headers)


def options(**given: Any) -> Options:
    return Options(**given)


def repeated(answer: Answer, times: int) -> Iterable[Answer]:
    return [answer] * times
