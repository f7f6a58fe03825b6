"""What ``send_webhook`` uses in a worker: the front stores and delivers."""

import orjson

from potassium.workers.frames import FromWorker, frame
from potassium.workers.link import WorkerLink
from potassium.workers.notes import NUMBER
from potassium.workers.traces import trace_of

__all__ = ["RemoteOutbox"]


class RemoteOutbox:
    """Passes on what handlers and ``init`` post."""

    def __init__(self, link: WorkerLink) -> None:
        self._link = link

    def post_from_thread(self, url: str, body: bytes, request_id: str) -> None:
        """Let the front post ``body``, a JSON document, to ``url``; return at once."""
        told = orjson.dumps([url, request_id, trace_of()])
        self._link.send(frame(FromWorker.POST, NUMBER.pack(len(told)), told, body))
