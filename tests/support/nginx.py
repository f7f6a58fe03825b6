"""A real nginx with our configuration, in front of a real server."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from e2e.server import free_port, wait_until

__all__ = ["FILES", "Proxy", "lay_out", "leaving", "nginx", "proxied"]

FILES = Path(__file__).parent.parent.parent / "deploy" / "nginx"

MAIN = """
daemon off;
worker_processes 1;
{user}
error_log {folder}/error.log info;
pid {folder}/pid;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log;
    gzip on;  # as many a site has it
    gzip_types *;
    gzip_min_length 0;
    gzip_proxied any;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include conf.d/*.conf;
}}
"""


def nginx() -> str:
    """Return the path of nginx; skip the test if it is not installed.

    With ``DEPLOY=required``, as in ``nox -s deploy``, fail instead.
    """
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found is None:
        missing = "nginx is not installed (Debian: apt-get install nginx-light)"
        if os.environ.get("DEPLOY") == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@dataclass(frozen=True)
class Proxy:
    """A running nginx."""

    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20, trust_env=False)


@contextmanager
def leaving(port: int, path: str, body: bytes) -> Iterator[None]:
    """Be a client that has sent a request, and leaves without its response at the end."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        yield


def lay_out(folder: Path, port: int, servers: list[int]) -> Path:
    """Copy our files into ``folder`` as into /etc/nginx; return the main file.

    The addresses are replaced, and the server has the location of the prefix as well.
    """
    (folder / "conf.d").mkdir(parents=True)
    (folder / "snippets").mkdir()
    for name in ("potassium-proxy.conf", "potassium-prefix.conf"):
        shutil.copy(FILES / name, folder / "snippets")
    text = (FILES / "potassium.conf").read_text("utf-8")
    lines = "".join(f"server 127.0.0.1:{one};" for one in servers)
    for pattern, new in (
        (r"server 127\.0\.0\.1:8000;", lines),
        (r"listen 80;", f"listen 127.0.0.1:{port};"),
        (r"server_name _;", "server_name _;\n    include snippets/potassium-prefix.conf;"),
    ):
        text, count = re.subn(pattern, new, text)
        assert count == 1, pattern
    (folder / "conf.d" / "potassium.conf").write_text(text)
    main = folder / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""
    main.write_text(MAIN.format(folder=folder, user=user))
    return main


@contextmanager
def proxied(folder: Path, *servers: int) -> Iterator[Proxy]:
    """Run nginx in front of the servers on these ports."""
    program, port = nginx(), free_port()
    main = lay_out(folder, port, [*servers])
    process = subprocess.Popen([program, "-c", main])
    proxy = Proxy(port, folder)

    def listens() -> bool:
        assert process.poll() is None, (folder / "error.log").read_text()
        with proxy.client() as http:
            try:
                return http.get("/model").status_code == httpx.codes.PERMANENT_REDIRECT
            except httpx.TransportError:
                return False

    try:
        wait_until(listens, "nginx listens")
        yield proxy
    finally:
        process.terminate()
        process.wait(10)
