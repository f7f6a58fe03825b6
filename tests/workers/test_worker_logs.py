"""The log of a server with workers looks like that of one process."""

import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.server import Server, Start, free_port, python, serve, wait_until
from workers.modes import MODES, WORKERS, served

APP = """
    import logging
    import os
    import sys
    import warnings

    from potassium import Potassium, current_request

    app = Potassium("logs")
    model = logging.getLogger("model")
    quiet = logging.getLogger("quiet")
    quiet.setLevel("ERROR")
    logging.getLogger("late").info("")


    @app.init
    def init():
        model.info("loading weights")
        return {}


    @app.handler
    def handler(cache, item):
        model.info("got %s", item["text"], extra={"size": len(item["text"])})
        model.debug("a detail")
        quiet.warning("nobody hears this")
        logging.getLogger("late").debug("set up in main")
        logging.getLogger("potassium").warning("one of ours")
        if item.get("warn"):
            warnings.warn("old weights")
        if item.get("fail"):
            raise ValueError("no")
        if item.get("print"):
            print("on stdout")
            print("on stderr", file=sys.stderr)
        return current_request().id


    @app.handler("/front")
    async def front(cache, item):
        model.info("in the front")


    @app.handler("/often")
    def often(cache, item):
        for _ in range(item["times"]):
            logging.getLogger("potassium").warning("again and again")


    if __name__ == "__main__":
        logging.getLogger("late").setLevel("DEBUG")
        app.serve(**OPTIONS)
"""


def source(**options: Any) -> str:
    return APP.replace("**OPTIONS", f"**{options}")


@pytest.fixture(scope="module", params=MODES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    yield from served(source(log="json"), tmp_path_factory.mktemp("app"), request.param)


def lines(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]


def found(server: Server, message: str, request_id: str = "") -> list[dict[str, Any]]:
    return [
        line
        for line in lines(server)
        if line["message"] == message and line.get("request_id", "") == request_id
    ]


def test_lines_of_handlers_are_json_with_the_ids_of_their_call(server: Server) -> None:
    """Those of the app's loggers and ours, with their extras; those of init too."""
    (mine,) = {server.post("/", {"text": "abc"}, headers={"X-Request-Id": "mine"}).json()}
    wait_until(lambda: found(server, "got abc", mine), "a line")
    (line,) = found(server, "got abc", mine)
    assert line.keys() - {"worker"} == {
        *("time", "level", "logger", "message", "request_id", "size"),
    }
    assert (line["level"], line["logger"], line["size"]) == ("INFO", "model", 3)
    assert found(server, "one of ours", mine)[0]["level"] == "WARNING"
    assert found(server, "loading weights")


def test_levels_are_those_of_the_front(server: Server) -> None:
    """Also those that it has set where the workers do not: behind ``if __name__ == ...``."""
    server.post("/", {"text": "a"}, headers={"X-Request-Id": "levels"})
    wait_until(lambda: found(server, "set up in main", "levels"), "a line")
    assert not found(server, "a detail", "levels")
    assert not found(server, "nobody hears this", "levels")


def test_warnings_are_lines(server: Server) -> None:
    """Of the logger that Python has for them."""
    server.post("/", {"text": "a", "warn": True}, headers={"X-Request-Id": "warns"})

    def warned() -> list[dict[str, Any]]:
        return [
            line
            for line in lines(server)
            if line["logger"] == "py.warnings" and line.get("request_id") == "warns"
        ]

    wait_until(warned, "a warning")
    assert "UserWarning: old weights" in warned()[0]["message"]


def test_the_error_of_a_handler_is_one_line_with_its_traceback(server: Server) -> None:
    """The front logs it, as it answers the call."""
    server.post("/", {"text": "a", "fail": True}, headers={"X-Request-Id": "fails"})

    def failed() -> list[dict[str, Any]]:
        return [line for line in lines(server) if line.get("request_id") == "fails"]

    wait_until(lambda: any("exception" in one for one in failed()), "an error")
    (line,) = [one for one in failed() if "exception" in one]
    assert line["exception"].endswith("ValueError: no")
    assert 'raise ValueError("no")' in line["exception"]


def test_the_line_of_a_call_has_its_times(server: Server) -> None:
    """Whoever ran it."""
    server.post("/", {"text": "a"}, headers={"X-Request-Id": "timed"})

    def line() -> dict[str, Any]:
        logged = [
            one
            for one in lines(server)
            if one["logger"] == "potassium.access" and one["request_id"] == "timed"
        ]
        return logged[0] if logged else {}

    wait_until(line, "a line")
    assert line().keys() >= {"queue_ms", "run_ms", "total_ms", "status", "handler"}


def test_what_is_printed_is_there(server: Server) -> None:
    """On stdout and stderr."""
    server.post("/", {"text": "a", "print": True})
    wait_until(lambda: "on stdout\n" in server.log() and "on stderr\n" in server.log(), "both")


def test_repeated_lines_are_limited(server: Server) -> None:
    """In each worker."""
    server.post("/often", {"times": 200})
    wait_until(lambda: found_of(server, "again and again"), "lines")
    assert 50 <= len(found_of(server, "again and again")) < 60


def found_of(server: Server, message: str) -> list[dict[str, Any]]:
    return [line for line in lines(server) if line["message"] == message]


def test_lines_of_a_worker_name_it(start: Start) -> None:
    """Those of the front do not."""
    server = start(source(log="json"), env={"POTASSIUM_WORKERS": WORKERS})
    server.post("/", {"text": "abc"})
    server.post("/front", {})
    wait_until(lambda: found_of(server, "got abc"), "a worker's line")
    wait_until(lambda: found_of(server, "in the front"), "a line of the front")
    assert {one["worker"] for one in found_of(server, "loading weights")} == {"cpu #0", "cpu #1"}
    assert found_of(server, "got abc")[0]["worker"] in {"cpu #0", "cpu #1"}
    assert "worker" not in found_of(server, "in the front")[0]


@pytest.mark.parametrize("workers", MODES)
def test_lines_of_text_look_the_same(start: Start, workers: str) -> None:
    """With the worker behind the request, where there is one."""
    server = start(source(log="text"), env={"POTASSIUM_WORKERS": workers})
    server.post("/", {"text": "abc"}, headers={"X-Request-Id": "mine"})
    wait_until(lambda: "got abc" in server.log(), "a line")
    line = next(one for one in server.log().splitlines() if "got abc" in one)
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    worker = "" if workers == "0" else r" worker=cpu #\d"
    assert re.fullmatch(rf"{time} INFO:     model: got abc request_id=mine{worker}", line)


@pytest.mark.parametrize("workers", MODES)
def test_plain_lines_look_the_same(start: Start, workers: str) -> None:
    """Those of ours only, from the level that serve() has been given."""
    server = start(source(log_level="warning"), env={"POTASSIUM_WORKERS": workers})
    server.post("/", {"text": "abc"})
    wait_until(lambda: "one of ours" in server.log(), "a line")
    line = next(one for one in server.log().splitlines() if "one of ours" in one)
    assert re.fullmatch(r"[-\d]+ [\d:,]+ WARNING:  one of ours", line)
    assert "got abc" not in server.log()
    assert "INFO" not in server.log()


@pytest.mark.parametrize("workers", MODES)
def test_logging_that_app_py_sets_up_is_kept(start: Start, workers: str) -> None:
    """Every process imports it."""
    own = 'logging.basicConfig(format="own %(name)s %(message)s", level="INFO")\n'
    app = source(log="json").replace("app = Potassium", f"{own}    app = Potassium")
    server = start(app, env={"POTASSIUM_WORKERS": workers})
    server.post("/", {"text": "abc"})
    wait_until(lambda: "own model got abc\n" in server.log(), "a line")
    assert "own potassium one of ours\n" in server.log()


TALKS = """
    import logging

    from potassium import Potassium

    app = Potassium("talks", workers=["cpu", "cpu"])
    logger = logging.getLogger("talks")


    @app.handler
    def handler(cache, item):
        for number in range(200):
            logger.info("%s", "x" * 20_000, extra={"number": number})


    if __name__ == "__main__":
        app.serve(log="json", access_log=False)
"""


def test_long_lines_of_several_workers_are_whole(tmp_path: Path) -> None:
    """Also in a pipe whose reader is slow, which takes them in pieces."""
    app_file = tmp_path / "app.py"
    app_file.write_text(textwrap.dedent(TALKS))
    port = free_port()
    process = subprocess.Popen(
        python(app_file),
        stderr=subprocess.PIPE,
        env={**os.environ, "POTASSIUM_PORT": str(port)},
    )
    server = Server(process, port, tmp_path / "none")
    read: list[bytes] = []
    assert process.stderr is not None
    pipe = process.stderr

    is_logged = threading.Event()

    def reading() -> None:
        while data := os.read(pipe.fileno(), 3000):
            read.append(data)
            if b"serves on" in data:
                is_logged.wait(20)  # all wait for room in the pipe then

    reader = threading.Thread(target=reading)
    reader.start()
    try:
        wait_until(lambda: b"serves on" in b"".join(read), "a server")
        callers = [threading.Thread(target=server.post, args=("/", {})) for _ in range(2)]
        for one in callers:
            one.start()
        for one in callers:
            one.join()
    finally:
        is_logged.set()
        process.terminate()
        process.wait()
        reader.join()
        pipe.close()
    written = [json.loads(line) for line in b"".join(read).splitlines()]
    numbers = [(line["worker"], line["number"]) for line in written if "number" in line]
    assert len(numbers) == 400
    assert {worker for worker, _ in numbers} == {"cpu #0", "cpu #1"}


FLAGS = """
    import sys

    from potassium import Potassium

    app = Potassium("flags", workers=1)
    app.handler("/")(lambda cache, item: [sys.warnoptions, sys.flags.dev_mode])

    if __name__ == "__main__":
        app.serve()
"""


def test_the_interpreter_has_the_options_of_the_front(tmp_path: Path) -> None:
    """Such as those for warnings."""
    (tmp_path / "app.py").write_text(textwrap.dedent(FLAGS))
    command = [sys.executable, "-X", "dev", "-W", "error::UserWarning", "app.py"]
    with serve(command, tmp_path / "log", port=free_port(), cwd=tmp_path) as server:
        warnings, is_dev = server.post("/", {}).json()
    assert "error::UserWarning" in warnings
    assert is_dev
