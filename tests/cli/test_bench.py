"""``potassium bench``, with real servers."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cli.conftest import Run, new_app
from support.serving import serving

from potassium import Limits, Potassium
from potassium.cli.load import report
from potassium.cli.load.figures import Figures, Spread
from potassium.cli.load.generator import Load, Terms
from potassium.cli.load.target import Target, target_of
from potassium.cli.remote.inputs import Input
from potassium.cli.remote.server import Server


def terms(**given: Any) -> Terms:
    defaults: dict[str, Any] = {
        "connections": 1,
        "seconds": None,
        "calls": None,
        "warmup": 0.0,
        "rate": None,
        "waits": False,
        "timeout": 10.0,
    }
    return Terms(**{**defaults, **given})


def bench(run: Run, *arguments: str) -> dict[str, Any]:
    """Return the figures of a load, which must succeed."""
    result = run("bench", *arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    figures: dict[str, Any] = json.loads(result.stdout)
    return figures


class Answers:
    """A server that answers each request as it says, and remembers what it got."""

    def __init__(self, *answers: bytes, delay: float = 0.0, closes: bool = False) -> None:
        self._answers = answers
        self._closes = closes  # each connection after its first answer, without saying so
        self._delay = delay
        self.requests: list[bytes] = []
        self.connections = 0

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while data := await reader.read(65536):
                answer = self._answers[len(self.requests) % len(self._answers)]
                self.requests.append(data)
                await asyncio.sleep(self._delay)
                writer.write(answer)
                if self._closes or b"close" in answer or not answer:
                    break
        finally:
            writer.close()

    async def load(self, **given: Any) -> Figures:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        async with server:
            _, port = server.sockets[0].getsockname()
            request = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
            target = Target(url="", request=request, host="127.0.0.1", port=port, is_tls=False)
            return await Load(target, terms(**given), lambda *_: None).run()


def answer(status: int, body: bytes = b"", *headers: bytes) -> bytes:
    head = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*head, b"", body])


def problem(code: bytes) -> bytes:
    return b'{"code": "%b"}' % code


def test_calls_are_counted_and_timed(run: Run, url: str) -> None:
    """As many as are wanted, from as many connections."""
    figures = bench(run, url, "/typed", "text=a", "count=2", "-n", "50", "-c", "4")
    assert (figures["calls"], figures["connections"], figures["unfinished"]) == (50, 4, 0)
    assert figures["url"] == f"http://{url}/typed"
    times = [figures["latency"][name] for name in ("p50", "p90", "p95", "p99", "max")]
    assert times == sorted(times)
    assert 0 < times[0] < 10
    assert figures["bytes"] > 50 * 50
    assert (figures["refused"], figures["failed"], figures["ended_early"]) == ({}, {}, False)
    assert figures["first_chunk"] is None


def test_chunks_of_streams_are_counted_and_the_first_is_timed(run: Run, url: str) -> None:
    """Each yielded value is one, however they are packed for the network."""
    figures = bench(run, url, "/words", "-n", "10", "-c", "2")
    assert (figures["calls"], figures["chunks"]) == (10, 30)
    assert 0 < figures["first_chunk"]["p50"] <= figures["latency"]["p50"]


def test_what_is_wrong_with_a_call_shows_before_the_load(run: Run, url: str) -> None:
    """In the words of ``call``."""
    result = run("bench", url, "/typed", "-d", "30")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "text: Field required" in result.stderr


def test_a_table_is_printed_for_people(run: Run, url: str) -> None:
    """With rate, percentiles and chunks."""
    lines = run("bench", url, "/words", "-n", "10", "-c", "2").stdout.splitlines()
    assert lines[0].startswith(f"http://{url}/words: 2 connections, ")
    assert [line.split()[0] for line in lines[2:]] == [
        *("calls", "latency", "first", "chunks", "received"),
    ]


@contextmanager
def full() -> Iterator[str]:
    """Yield the URL of a server whose queue holds one call, beside the one that runs."""
    app = Potassium("full", limits=Limits(queue_size=1))
    turn = threading.Semaphore(0)

    @app.handler("/slow")
    def slow(cache: Any, json_in: Any) -> None:
        turn.acquire(timeout=0.01)

    with serving(app, lifespan="on") as (_, (host, port)):
        yield f"{host}:{port}"


def test_refusals_are_counted_by_code_and_not_tried_again(run: Run) -> None:
    """They do not count as calls, nor as failures; what the server asks for is shown."""
    with full() as url:
        figures = bench(run, url, "/slow", "-n", "60", "-c", "8")
        table = run("bench", url, "/slow", "-n", "60", "-c", "8").stdout
    assert set(figures["refused"]) == {"queue_full"}
    assert figures["calls"] + figures["refused"]["queue_full"] == 60
    assert figures["retry_after"] == [1.0]
    assert figures["failed"] == {}
    assert "queue_full" in table
    assert "Retry-After: 1 s, not waited for" in table


async def test_who_is_asked_to_wait_may_wait() -> None:
    """``--wait``: the connection is silent for as long as the refusal says."""
    refusal = answer(503, problem(b"queue_full"), b"Retry-After: 60")
    server = Answers(answer(200), refusal)
    figures = await server.load(connections=2, seconds=0.1, waits=True)
    assert (len(figures.times), figures.refused) == (1, {"queue_full": 1}) or (
        len(figures.times),
        figures.refused,
    ) == (2, {"queue_full": 2})
    assert len(server.requests) <= 4


async def test_failures_are_counted_by_what_happened() -> None:
    """A code, a status without one, a connection that breaks, an answer that is no HTTP."""
    server = Answers(
        answer(500, problem(b"handler_error")),
        answer(404, b"nothing"),
        answer(200),
        b"",
        b"nonsense close",
    )
    figures = await server.load(calls=10)
    assert figures.failed == {
        "handler_error": 2,
        "status_404": 2,
        "connection_broken": 2,
        "malformed_response": 2,
    }
    assert len(figures.times) == 2
    assert server.connections == 4


async def test_a_connection_that_the_server_closes_is_opened_again() -> None:
    """That is no failure."""
    server = Answers(answer(200, b"", b"Connection: close"))
    figures = await server.load(calls=3)
    assert (len(figures.times), figures.failed.total(), server.connections) == (3, 0, 3)


async def test_a_connection_that_was_closed_while_it_was_idle_is_not_used() -> None:
    """The call goes out on another one."""
    server = Answers(answer(200), closes=True)
    figures = await server.load(rate=25.0, calls=4, connections=4, timeout=1.0)
    assert (len(figures.times), figures.failed.total()) == (4, 0)


async def test_an_interim_answer_is_not_the_answer() -> None:
    """``100 Continue`` may come before it."""
    server = Answers(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(200, b"12345"))
    figures = await server.load(calls=3)
    assert (len(figures.times), figures.received) == (3, 15)


async def test_a_call_that_takes_too_long_has_failed() -> None:
    """It is broken off, and another one begins."""
    server = Answers(answer(200), delay=30)
    figures = await server.load(seconds=0.7, timeout=0.05)
    assert figures.failed["timeout"] >= 1
    assert len(server.requests) >= 2


async def test_what_has_no_answer_at_the_end_is_said() -> None:
    """It is in no percentile, which would hide it."""
    figures = await Answers(answer(200), delay=30).load(seconds=0.1, connections=3)
    assert (len(figures.times), figures.unfinished) == (0, 3)
    assert 0.05 < figures.oldest < 5
    assert "3 at the end" in "\n".join(report.lines("", figures, terms()))


async def test_calls_of_the_warm_up_do_not_count() -> None:
    """But are made."""
    server = Answers(answer(200))
    figures = await server.load(calls=1, warmup=0.05)
    assert len(figures.times) == 1
    assert len(server.requests) > 2


async def test_with_a_rate_calls_are_due_whether_or_not_there_are_answers() -> None:
    """The time of a call counts from when it was due: a slow server does not hide how slow it is.

    One connection makes calls of 40 ms; with one due each 10 ms, each waits longer than the one
    before. The same connection without a rate would say 40 ms.
    """
    figures = await Answers(answer(200), delay=0.04).load(rate=100.0, calls=8)
    assert figures.late >= 6
    assert list(figures.times) == sorted(figures.times)
    assert figures.times[-1] > 0.2
    assert "began late" in "\n".join(report.lines("", figures, terms(rate=100.0)))
    closed = await Answers(answer(200), delay=0.04).load(calls=4)
    assert max(closed.times) < 0.2
    assert closed.late == 0


async def test_with_a_rate_connections_are_opened_as_they_are_needed() -> None:
    """Up to as many as are allowed."""
    fast, slow = Answers(answer(200)), Answers(answer(200), delay=0.2)
    await fast.load(rate=50.0, calls=5, connections=100)
    await slow.load(rate=100.0, calls=12, connections=4)
    assert fast.connections <= 3
    assert slow.connections == 4


async def test_a_server_that_is_not_there_is_counted() -> None:
    """It may go away during a load."""
    target = Target(url="", request=b"", host="127.0.0.1", port=1, is_tls=False)
    figures = await Load(target, terms(calls=2, connections=2), lambda *_: None).run()
    assert figures.failed == {"cannot_connect": 2}


def test_progress_says_how_far_a_load_is() -> None:
    """In a line, with what goes wrong."""
    figures = Figures()
    assert report.progress(figures, 3, 1.2) == "1 s, 0 calls, 3 under way"
    figures.times.extend([0.1] * 1000)
    figures.refused["queue_full"] = 2
    figures.failed["timeout"] = 1
    line = "10 s, 1,000 calls, 0 under way, 2 refused, 1 failed"
    assert report.progress(figures, 0, 10.4) == line


async def test_a_load_is_measured_from_the_end_of_its_warm_up() -> None:
    """Also with a rate."""
    server = Answers(answer(200))
    figures = await server.load(rate=100.0, seconds=0.2, warmup=0.1, connections=4)
    assert 0.19 < figures.seconds < 5
    assert 0 < len(figures.times) < len(server.requests)


def test_a_load_without_a_result_is_a_failure(run: Run, url: str) -> None:
    """The exit status is 1 if no call succeeds."""
    result = run("bench", url, "/refuses", "-n", "3", "-c", "1")
    assert result.exit_code == 1
    assert "refused      3 " in result.stdout


def test_a_request_is_that_of_the_client() -> None:
    """Its key, its type and its length; answers are not compressed, unless that is wanted."""
    server = Server("http://a:1/below", api_key="k")
    target = target_of(server, "/x", Input(item={"a": "é"}, headers={"X-Own": "1"}))
    head, _, body = target.request.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /below/x http/1.1"
    assert body == '{"a":"é"}'.encode()
    assert {"authorization: bearer k", "x-own: 1", "host: a:1", "content-length: 10"} <= {*lines}
    assert not any(line.startswith("accept-encoding") for line in lines)
    given = Input(headers={"Accept-Encoding": "gzip"})
    assert b"Accept-Encoding: gzip\r\n" in target_of(server, "/x", given).request
    assert target_of(Server("https://a"), "/x", Input()).port == 443


def test_percentiles_are_measured_times() -> None:
    """The nearest rank."""
    spread = Spread.of([float(n) for n in range(1, 201)])
    assert spread is not None
    assert spread.percentiles == {50: 100.0, 90: 180.0, 95: 190.0, 99: 198.0}
    assert (spread.max, spread.mean) == (200.0, 100.5)
    one = Spread.of([3.0])
    assert one is not None
    assert {*one.percentiles.values(), one.max, one.mean} == {3.0}
    assert Spread.of([]) is None


@pytest.mark.parametrize(("cpu", "warns"), [(0.5, False), (0.95, True)])
def test_a_client_that_is_busy_warns(cpu: float, warns: bool) -> None:
    """It may be what is measured."""
    shown = "\n".join(report.lines("", Figures(seconds=1.0, cpu=cpu), terms()))
    assert ("This client used 95% of a core" in shown) is warns


def test_the_key_is_not_needed_for_everything(run: Run) -> None:
    """It is sent with each call of the load."""
    with serving(new_app(api_keys=["k"]), lifespan="on") as (_, (host, port)):
        figures = bench(run, f"{host}:{port}", "/echo", "-n", "5", "--api-key", "k")
    assert (figures["calls"], figures["failed"]) == (5, {})
