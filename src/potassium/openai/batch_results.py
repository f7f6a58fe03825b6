"""The results of a batch: a line for each request that is done, in one of two files."""

import os
import threading
from http import HTTPStatus
from typing import Any

import orjson

from potassium.openai.batches import Batch
from potassium.openai.files import Files

__all__ = ["Results", "let_results_expire"]

OUTPUT = "batch_output"  # the purpose of both files


class Results:
    """Appends to the files of answers and of errors, which appear with their first line.

    Each line has the number of its request in its id, by which the next job, after this one was
    killed, knows what is done. A last line that was cut off is dropped. Everything here blocks, may
    be called on any thread, and raises OSError if the disk fails.

    Attributes:
        done: the numbers of the lines of the input that have a result.
        completed: how many have an answer.

    """

    def __init__(self, files: Files, batch: Batch) -> None:
        self.done: set[int] = set()
        self._files = files
        self._batch = batch
        self._lock = threading.Lock()
        self._is_closed = False
        self._open: dict[str, int] = {}  # descriptors, by the id of the file
        self._read_back(batch.output_id)
        self.completed = len(self.done)
        self._read_back(batch.errors_id)

    @property
    def failed(self) -> int:
        """How many requests have an error."""
        return len(self.done) - self.completed

    def answer(
        self, number: int, custom_id: str, *, status: int, request_id: str, body: bytes
    ) -> None:
        """Add what a request was answered with; it is an error unless the status is 200.

        Args:
            number: that of the line of the input. If it has a result already, this does nothing.
            custom_id: what the client calls it.
            status: the HTTP status.
            request_id: that of the answer.
            body: JSON.

        """
        shown = orjson.Fragment(body)
        response = {"status_code": status, "request_id": request_id, "body": shown}
        document = {"custom_id": custom_id, "response": response, "error": None}
        self._add(number, document, is_answer=status == HTTPStatus.OK)

    def error(self, number: int, custom_id: str | None, code: str, message: str) -> None:
        """Add why a request was not made; if it has a result already, this does nothing."""
        error = {"code": code, "message": message}
        document = {"custom_id": custom_id, "response": None, "error": error}
        self._add(number, document, is_answer=False)

    def sync(self) -> None:
        """Wait until the disk has all results."""
        with self._lock:
            for descriptor in self._open.values():
                os.fsync(descriptor)

    def close(self) -> None:
        """Close the files; what is added from now on is dropped."""
        with self._lock:
            self._is_closed = True
            while self._open:
                os.close(self._open.popitem()[1])

    def _add(self, number: int, document: dict[str, Any], *, is_answer: bool) -> None:
        data = orjson.dumps({"id": f"batch_req_{self._batch.number}_{number}", **document}) + b"\n"
        with self._lock:
            if number in self.done or self._is_closed:
                return
            batch = self._batch
            self._append(batch.output_id if is_answer else batch.errors_id, data)
            self.done.add(number)
            self.completed += is_answer

    def _append(self, file_id: str, data: bytes) -> None:
        descriptor = self._open.get(file_id)
        if descriptor is None:
            descriptor = self._created(file_id)
        end = os.lseek(descriptor, 0, os.SEEK_END)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
        except OSError:  # the disk is full
            os.ftruncate(descriptor, end)
            raise

    def _created(self, file_id: str) -> int:
        name = f"{self._batch.id}_{file_id.rpartition('-')[2]}.jsonl"
        file = self._files.add(
            (),
            filename=name,
            purpose=OUTPUT,
            owner=self._batch.owner,
            file_id=file_id,
        )
        descriptor = os.open(self._files.content(file), os.O_RDWR | os.O_APPEND)
        self._open[file_id] = descriptor
        return descriptor

    def _read_back(self, file_id: str) -> None:
        """Note which requests are done, and drop what follows the last whole line."""
        if not self._files.has(file_id):
            return
        self._files.keep_until(file_id, None)
        descriptor = self._created(file_id)
        whole = 0
        with open(descriptor, "rb", closefd=False) as file:
            for line in file:
                number = _number(line)
                if number is None:
                    break
                self.done.add(number)
                whole += len(line)
        os.ftruncate(descriptor, whole)


def let_results_expire(files: Files, batch: Batch, ended_at: int) -> None:
    """Let the files of results expire as the client has said, from the end of the batch on.

    Not before: a batch that goes on knows by them what is done. This blocks, and raises OSError.
    """
    if batch.keeps_results is not None:
        for file_id in (batch.output_id, batch.errors_id):
            files.keep_until(file_id, ended_at + batch.keeps_results)


def _number(line: bytes) -> int | None:
    """Return the number of the request that a line is about; None if the line is cut off."""
    if not line.endswith(b"\n"):
        return None
    try:
        return int(orjson.loads(line)["id"].rpartition("_")[2])
    except ValueError:
        return None
