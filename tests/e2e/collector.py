"""A collector of traces: it takes what exporters post by OTLP over HTTP, and keeps the spans."""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

__all__ = ["Collector", "collecting"]


class Collector:
    """What has arrived so far."""

    def __init__(self) -> None:
        self.port = 0
        self.services: set[str] = set()
        self._spans: list[Span] = []
        self._changed = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            for resource in request.resource_spans:
                for attribute in resource.resource.attributes:
                    if attribute.key == "service.name":
                        self.services.add(attribute.value.string_value)
                for scope in resource.scope_spans:
                    self._spans += scope.spans
            self._changed.notify_all()

    def forget(self) -> None:
        """Forget the spans that have arrived."""
        with self._changed:
            self._spans.clear()

    def wait_for(self, *names: str, seconds: float = 20.0) -> dict[str, Span]:
        """Return the spans with these names, once all of them have arrived."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                found = {span.name: span for span in self._spans}
                if found.keys() >= set(names):
                    return found
                left = deadline - time.monotonic()
                assert self._changed.wait(max(left, 0)), f"there are only {sorted(found)}"


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector until the context exits."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            collector.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
