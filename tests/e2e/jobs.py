"""Helpers for background jobs over HTTP: submit them, and see what happens to them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
from e2e.server import Server, wait_until
from e2e.streams import Stream
from e2e.wire import RECORD

FINAL = ("succeeded", "failed", "cancelled", "expired")

# The common start of these tests' apps.
IMPORTS = (
    RECORD
    + """
import os
import signal
import sys
import threading

from potassium import Batch, Jobs, Limits, Potassium, Request, Webhooks, send_webhook
"""
)
SERVE = """

if __name__ == "__main__":
    app.serve()
"""

Document = dict[str, Any]


def post(
    server: Server, path: str, body: Any, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """Send one POST, as JSON."""
    return server.post(path, body, headers=dict(headers or {}))


def submit(
    server: Server, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Document:
    """Submit a job, and return the document that acknowledges it."""
    response = post(server, path, {} if body is None else body, headers)
    assert response.status_code == httpx.codes.ACCEPTED, response.text
    document: Document = response.json()
    assert response.headers["location"].endswith(f"/jobs/{document['id']}")
    return document


def get(server: Server, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """Send one GET."""
    with server.client() as http:
        return http.get(path, headers=dict(headers or {}))


def document(server: Server, job: Document) -> Document:
    """Return the job's current document."""
    response = get(server, f"/jobs/{job['id']}")
    assert response.status_code == httpx.codes.OK, response.text
    found: Document = response.json()
    return found


def reaches(server: Server, job: Document, *statuses: str, seconds: float = 10.0) -> Document:
    """Return the job's document once its status is one of ``statuses``; fail after ``seconds``."""
    found: Document = {}

    def is_there() -> bool:
        found.clear()
        found.update(document(server, job))
        return found["status"] in statuses

    wait_until(is_there, f"one of {statuses} for a job of {job['handler']}", seconds=seconds)
    return found


def end_of(server: Server, job: Document, *, seconds: float = 15.0) -> Document:
    """Return the job's document once it has ended; fail after ``seconds``."""
    return reaches(server, job, *FINAL, seconds=seconds)


def cancel(server: Server, job: Document) -> httpx.Response:
    """Cancel the job with a DELETE."""
    with server.client() as http:
        return http.delete(f"/jobs/{job['id']}")


def retry(server: Server, job: Document) -> httpx.Response:
    """Run a failed job again, with a POST."""
    with server.client() as http:
        return http.post(f"/jobs/{job['id']}/retry")


def attempts(server: Server, job: Document) -> list[Document]:
    """Return all delivery attempts of all the job's webhooks."""
    deliveries = get(server, f"/jobs/{job['id']}/deliveries").json()["deliveries"]
    return [attempt for delivery in deliveries for attempt in delivery["attempts"]]


@contextmanager
def open_events(server: Server, job: Document, *headers: str) -> Iterator[Stream]:
    """Open the job's event stream."""
    lines = [f"GET /jobs/{job['id']}/events HTTP/1.1", "Host: a", *headers, "", ""]
    connection = server.connect(timeout=15)
    connection.sendall("\r\n".join(lines).encode())
    with Stream(connection) as stream:
        yield stream


def told(data: str) -> Any:
    """Return the JSON value of an event's data."""
    return json.loads(data)
