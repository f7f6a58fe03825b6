"""A small reverse proxy that removes a prefix from the path and does not buffer."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from e2e.server import Server

HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "date", "server")


@contextmanager
def stripping(prefix: str, server: Server, *, says_so: bool = False) -> Iterator[str]:
    """Yield the URL of a proxy in front of a server, without a trailing slash.

    Args:
        prefix: what it removes from the path.
        server: where it sends requests.
        says_so: whether it tells the server about the prefix.

    """

    class Handler(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            if not f"{self.path}/".startswith(f"{prefix}/"):
                self.send_error(404, f"not below {prefix}")
                return
            upstream = HTTPConnection("127.0.0.1", server.port, timeout=20)
            with closing(upstream), suppress(ConnectionError):  # the browser has left
                self.exchange(upstream)

        def exchange(self, upstream: HTTPConnection) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.removeprefix(prefix) or "/"
            said = {"X-Forwarded-Prefix": prefix} if says_so else {}
            upstream.request(self.command, path, body, {**self.headers, **said})
            with upstream.getresponse() as answer:
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                while chunk := answer.read1(65536):
                    self.wfile.write(chunk)
                    self.wfile.flush()

        do_GET = do_POST = do_DELETE = pass_on  # noqa: N815 - their names in the library

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=proxy.serve_forever, name="proxy")
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}{prefix}"
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
