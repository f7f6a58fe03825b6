"""Serving an app as a process of its own, as far as that can be seen without one."""

import gc
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn

from potassium import Potassium, UsageError
from potassium.config import PORTS, default_port
from potassium.engine import State

Served = dict[str, Any]
LOGGERS = ["potassium", "uvicorn", "uvicorn.access"]
ALL_LOGGERS = [*LOGGERS, "uvicorn.error"]


@pytest.fixture
def served(app: Potassium, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Served]:
    """Return a function that calls app.serve() and returns how uvicorn would have been run."""
    app.handler(lambda cache, json_in: json_in)
    monkeypatch.delenv("POTASSIUM_HOST", raising=False)
    for name in PORTS:
        monkeypatch.delenv(name, raising=False)

    def serve(**options: Any) -> Served:
        seen: Served = {}

        def run(server: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
            bound = None
            for one in sockets or ():
                bound = one.getsockname()[:2]
                one.close()
            seen.update(
                server=server,
                config=server.config,
                bound=bound,
                interval=sys.getswitchinterval(),
                level=logging.getLogger("potassium").level,
            )

        monkeypatch.setattr(uvicorn.Server, "run", run)
        with monkeypatch.context() as patch:
            patch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
            app.serve(**options)
        return seen

    return serve


@pytest.fixture
def server(served: Callable[..., Served]) -> uvicorn.Server:
    server: uvicorn.Server = served(port=0)["server"]
    return server


@pytest.fixture(autouse=True)
def _logging_is_as_before() -> object:
    loggers = [logging.getLogger(name) for name in ALL_LOGGERS]
    before = [(logger.level, logger.propagate, logger.handlers[:]) for logger in loggers]
    yield
    for logger, state in zip(loggers, before, strict=True):
        logger.level, logger.propagate, logger.handlers = state


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_environment_overrides_the_defaults(
    served: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app is served at POTASSIUM_HOST and POTASSIUM_PORT unless the code says otherwise."""
    port = free_port()
    monkeypatch.setenv("POTASSIUM_HOST", "127.0.0.2")
    monkeypatch.setenv("POTASSIUM_PORT", str(port))
    assert served()["bound"] == ("127.0.0.2", port)


def test_the_code_overrides_the_environment(
    served: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arguments of serve() take precedence."""
    port = free_port()
    monkeypatch.setenv("POTASSIUM_HOST", "127.0.0.2")
    monkeypatch.setenv("POTASSIUM_PORT", "1")
    assert served(host="127.0.0.1", port=port)["bound"] == ("127.0.0.1", port)


def test_a_variable_that_is_empty_counts_as_unset(
    served: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``POTASSIUM_HOST=`` and ``POTASSIUM_PORT=`` leave the defaults of 127.0.0.1 and 8000."""
    monkeypatch.setenv("POTASSIUM_HOST", "")
    monkeypatch.setenv("POTASSIUM_PORT", "")
    assert served(port=0)["config"].host == "127.0.0.1"
    assert default_port() == 8000


@pytest.mark.parametrize(
    ("environ", "port"),
    [
        ({"PORT": "8081"}, 8081),
        ({"AIP_HTTP_PORT": "8082"}, 8082),
        ({"PORT": "8081", "AIP_HTTP_PORT": "8082"}, 8082),
        ({"PORT": "8081", "AIP_HTTP_PORT": "8082", "POTASSIUM_PORT": "8083"}, 8083),
        ({"PORT": "8081", "POTASSIUM_PORT": ""}, 8081),
    ],
)
def test_the_port_may_come_from_the_platform(
    served: Callable[..., Served],
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    port: int,
) -> None:
    """``PORT`` as many platforms set it, ``AIP_HTTP_PORT`` of Vertex AI, and ours above all."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert served()["config"].port == port


def test_a_port_of_a_kubernetes_service_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods beside a Service named potassium have one that is a URL."""
    monkeypatch.setenv("POTASSIUM_PORT", "tcp://10.0.171.239:80")
    with pytest.raises(UsageError, match="enableServiceLinks: false"):
        default_port()


@pytest.mark.parametrize("port", ["http", "-1", " ", "80 80", "8_0", "65536", "9" * 5000])
def test_a_port_that_is_none_is_named(
    served: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    """The error for a typo in POTASSIUM_PORT names the variable."""
    monkeypatch.setenv("POTASSIUM_PORT", port)
    with pytest.raises(UsageError, match="POTASSIUM_PORT"):
        served()


def test_other_options_go_to_uvicorn(served: Callable[..., Served]) -> None:
    """Keyword arguments that are not ours go to uvicorn, and override what we set."""
    config = served(port=0, timeout_keep_alive=77, ws="websockets")["config"]
    assert (config.timeout_keep_alive, config.ws) == (77, "websockets")


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("timeout_keep_alvie", "timeout_keep_alive"), ("prot", "port"), ("hots", "host")],
)
def test_a_typo_in_an_option_is_an_error(
    served: Callable[..., Served], typo: str, meant: str
) -> None:
    """The message names the option, and the one that was probably meant."""
    with pytest.raises(UsageError, match=rf"serve\({typo}=.*did you mean {meant}\?"):
        served(**{typo: 7})


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ({"reload": True}, "potassium serve app.py --reload"),
        ({"workers": 2}, r'Potassium\("server", workers=2\)'),
    ],
)
def test_what_one_process_cannot_do_is_pointed_elsewhere(
    served: Callable[..., Served], option: dict[str, Any], instead: str
) -> None:
    with pytest.raises(UsageError, match=instead):
        served(**option)


def test_an_option_unlike_any_other_is_an_error(served: Callable[..., Served]) -> None:
    """If no option is similar, the message lists the options."""
    with pytest.raises(UsageError, match=r"serve\(model=.*host, port, "):
        served(model="bert")


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"uds": "/run/model.sock"}, "test serves on the socket /run/model.sock"),
        ({"fd": 3}, "test serves on file descriptor 3"),
        ({"fd": 3, "uds": "/run/model.sock"}, "test serves on file descriptor 3"),
    ],
)
def test_the_log_names_a_socket_that_is_no_port(
    served: Callable[..., Served], options: Any, where: str
) -> None:
    """With uds= or fd= there is no address; the log says where uvicorn listens."""
    assert served(**options)["server"]._greeting == where


@pytest.mark.parametrize("logger", LOGGERS[:2])
@pytest.mark.parametrize("use_colors", [True, False])
def test_log_lines_have_time_level_and_message(
    served: Callable[..., Served],
    logger: str,
    use_colors: bool,
) -> None:
    """Each log line begins with the time and the level; colours are uvicorn's."""
    served(port=0, use_colors=use_colors)
    (handler,) = logging.getLogger(logger).handlers
    level = "\x1b[32mINFO\x1b[0m" if use_colors else "INFO"
    record = logging.LogRecord(logger, logging.INFO, "", 0, "GET /path", (), None)
    line = handler.format(record)
    time, _, rest = line.partition(f" {level}:     ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", time), line
    assert "GET /path" in rest


@pytest.mark.parametrize(
    ("given", "level"),
    [(None, logging.INFO), ("warning", logging.WARNING), ("WARN", logging.WARNING), (10, 10)],
)
def test_our_log_has_the_level_of_uvicorns(
    served: Callable[..., Served], given: Any, level: int
) -> None:
    """``log_level=`` applies to both logs."""
    assert served(port=0, log_level=given)["level"] == level
    assert logging.getLogger("uvicorn.error").level == level


def test_a_log_configuration_of_ones_own_is_used_as_it_is(served: Callable[..., Served]) -> None:
    """With ``log_config=``, we configure nothing."""
    ours = logging.getLogger("potassium")
    own = {"version": 1, "disable_existing_loggers": False}
    assert served(port=0, log_config=own)["config"].log_config == own
    assert ours.handlers == []
    assert ours.level == logging.NOTSET


def test_the_switch_interval_is_lowered_while_serving(served: Callable[..., Served]) -> None:
    """It is lowered only in a process that serves, and only while it does."""
    before = sys.getswitchinterval()
    try:
        sys.setswitchinterval(0.003)
        assert served(port=0)["interval"] == pytest.approx(0.0005)
        assert sys.getswitchinterval() == pytest.approx(0.003)
    finally:
        sys.setswitchinterval(before)


def test_what_is_loaded_is_spared_by_collections_while_serving(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full garbage collection skips the model, but only while serving."""
    frozen = []
    app = Potassium("app")

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...

    async def serve_nothing(server: uvicorn.Server) -> None:
        frozen.append(gc.get_freeze_count())

    monkeypatch.setattr(uvicorn.Server, "main_loop", serve_nothing)
    gc.unfreeze()
    try:
        app.serve(port=0)
        assert frozen[0] > 0
        assert gc.get_freeze_count() == 0
        gc.freeze()
        app.serve(port=0)
        assert gc.get_freeze_count() > 0, "it was frozen by somebody else"
    finally:
        gc.freeze()


def test_a_port_that_is_taken_shows_before_the_model_is_loaded(
    served: Callable[..., Served],
) -> None:
    """The message names the address and what to do about it, and nothing is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"127.0.0.1:{port}.*POTASSIUM_PORT"):
            served(port=port)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_be_is_refused(served: Callable[..., Served], port: int) -> None:
    """A number that is not a port has a message of its own."""
    with pytest.raises(SystemExit, match="Cannot serve"):
        served(port=port)


def test_an_ipv6_address_can_be_served(served: Callable[..., Served]) -> None:
    """A host with colons is an IPv6 address."""
    assert served(host="::1", port=0)["bound"][0] == "::1"


async def test_a_first_signal_asks_the_server_to_stop(server: uvicorn.Server) -> None:
    """Once the app has started, SIGINT lets accepted calls end before the server closes."""
    server.started = True
    assert not await server.on_tick(1)
    server.handle_exit(signal.SIGINT, None)
    assert not server.should_exit
    assert await server.on_tick(2)


async def test_a_first_signal_drains_the_app(app: Potassium, server: uvicorn.Server) -> None:
    """This holds even if the server does not run the app's lifespan."""
    async with app.lifespan():
        server.started = True
        server.handle_exit(signal.SIGTERM, None)
        before = app._runtime.lifecycle.state
        await server.on_tick(1)
        assert (before, app._runtime.lifecycle.state) == (State.READY, State.DRAINING)


@pytest.mark.parametrize(
    ("started", "signals"), [(True, 2), (False, 1)], ids=["a second one", "before the start"]
)
def test_a_signal_that_ends_the_process_at_once(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch, started: bool, signals: int
) -> None:
    """Before the start, or at the second signal, there is nothing to wait for."""
    exits: list[int] = []
    monkeypatch.setattr(os, "_exit", exits.append)
    server.started = started
    for _ in range(signals):
        assert exits == []
        server.handle_exit(signal.SIGTERM, None)
    assert exits == [128 + signal.SIGTERM]


def test_signal_handlers_are_put_back(server: uvicorn.Server) -> None:
    """After serving, signals do what they did before, and are not raised again."""
    before = signal.getsignal(signal.SIGTERM)
    with server.capture_signals():
        assert signal.getsignal(signal.SIGTERM) == server.handle_exit
        server.started = True
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_log_handlers_of_the_apps_own_stay(app: Potassium, served: Callable[..., Served]) -> None:
    """They get our lines; none of ours is added that would write each line twice."""
    ours = logging.getLogger("potassium")
    own = logging.NullHandler()
    ours.addHandler(own)
    try:
        served(port=0)
        assert ours.handlers == [own]
        assert ours.level == logging.INFO
    finally:
        ours.removeHandler(own)


def test_idle_connections_outlive_those_of_balancers(served: Callable[..., Served]) -> None:
    """They close theirs after 60 s; a server that is earlier may do so as a request is sent."""
    assert served(port=0)["config"].timeout_keep_alive > 60
