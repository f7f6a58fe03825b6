"""Whether the server can listen, and where calls and downloads go."""

import errno
import json
import socket
import urllib.request
from collections.abc import Iterable

from potassium.config import PORTS, default_host, default_port
from potassium.doctor.machine import Machine
from potassium.errors import UsageError
from potassium.project.finding import Finding, note, ok, problem

__all__ = ["host", "port", "proxies"]

TIME = 2.0  # seconds

ANY = ("0.0.0.0", "::")  # noqa: S104 - to recognize them
HERE = ("localhost", "127.0.0.1")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def port(machine: Machine) -> Iterable[Finding]:
    """Look at whether the port is free that a server would take."""
    try:
        number, name = default_port(), default_host()
    except UsageError:
        return  # there is a finding about the variable
    where = f"{name}:{number}"
    error = _why_not_bound(name, number)
    if error is None:
        yield ok("port", f"{where} is free")
    elif error.errno == errno.EADDRINUSE:
        if _is_ours(name, number):
            yield ok("port", f"a server of Potassium answers on {where}")
            return
        command = "lsof -i" if machine.system == "Darwin" else "ss -ltnp sport ="
        yield problem(
            "port",
            f"Another program listens on {where}.",
            f"See which: {command} :{number}. Or take another port: export {PORTS[0]}={number + 1}",
        )
    elif error.errno == errno.EACCES:
        yield problem(
            "port",
            f"Only root may listen on {where}.",
            f"Take a port from 1024 on: export {PORTS[0]}=8000",
        )
    else:
        yield problem(
            "port",
            f"It is impossible to listen on {where}: {error.strerror or error}.",
            "export POTASSIUM_HOST=0.0.0.0 for all addresses of the machine",
        )


def _why_not_bound(name: str, number: int) -> OSError | None:
    """Return why no server can listen on an address; None if one can."""
    with socket.socket(socket.AF_INET6 if ":" in name else socket.AF_INET) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((name, number))
            one.listen()
        except OSError as error:
            return error
    return None


def _is_ours(name: str, number: int) -> bool:
    """Return whether a server of Potassium answers on an address."""
    shown = HERE[1] if name in ANY else f"[{name}]" if ":" in name else name
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{shown}:{number}/healthz", timeout=TIME) as response:
            return "state" in json.load(response)
    except (OSError, ValueError):
        return False


def host(machine: Machine) -> Iterable[Finding]:
    """Look at whether a server in a container can be reached from outside."""
    if machine.is_container and default_host() in HERE:
        yield note(
            "host",
            f"In a container, a server on {default_host()} cannot be reached from outside.",
            "export POTASSIUM_HOST=0.0.0.0",
        )


def proxies(machine: Machine) -> Iterable[Finding]:
    """Look at proxies that calls to this machine would take, too."""
    environ = machine.environ
    named = [one for name in PROXIES for one in (name, name.lower()) if environ.get(one)]
    if not named:
        return
    direct = (environ.get("NO_PROXY") or environ.get("no_proxy") or "").replace(" ", "").split(",")
    missing = [] if "*" in direct else [one for one in HERE if one not in direct]
    if missing:
        yield note(
            "proxy",
            f"{', '.join(named)} is set, so curl, httpx and others send calls to this machine "
            "through the proxy, too.",
            f"export NO_PROXY={','.join([*filter(None, direct), *missing])}",
        )
    yield note(
        "proxy",
        "Results are posted to webhooks directly, whatever the environment says of proxies.",
        'If they need one: Webhooks(proxy="http://proxy.example:3128")',
    )
