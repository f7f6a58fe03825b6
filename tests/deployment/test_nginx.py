"""The files for nginx agree with the code; a real nginx is in tests/e2e/test_nginx.py."""

import re

from support.nginx import FILES

from potassium import Limits, Metrics
from potassium.config import DEFAULT_PORT
from potassium.server import KEEP_ALIVE

SECONDS = {"s": 1, "m": 60}


def text(name: str) -> str:
    return (FILES / f"{name}.conf").read_text("utf-8")


def seconds(name: str, directive: str) -> int:
    (found,) = re.findall(rf"^\s*{directive} (\d+)([sm]);", text(name), re.MULTILINE)
    return int(found[0]) * SECONDS[found[1]]


def test_the_servers_have_the_port_of_the_server() -> None:
    assert f"server 127.0.0.1:{DEFAULT_PORT};" in text("potassium")


def test_nginx_closes_idle_connections_first() -> None:
    """Otherwise a call could be sent on one that the server is closing."""
    assert seconds("potassium", "keepalive_timeout") < KEEP_ALIVE


def test_nginx_has_more_patience_than_the_server() -> None:
    """So that the server says what is wrong: with a body that does not arrive, or a call."""
    assert seconds("potassium-proxy", "proxy_send_timeout") > Limits().body_timeout
    assert seconds("potassium-proxy", "proxy_read_timeout") > 10 * Limits().stream_stall_timeout


def test_the_path_that_is_closed_is_that_of_the_metrics() -> None:
    assert f"location = {Metrics().path} " in text("potassium")
    assert f"location = /model{Metrics().path} " in text("potassium-prefix")
