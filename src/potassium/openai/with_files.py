"""Adds files and batches to an API."""

from collections.abc import Mapping
from typing import Any

from potassium.app import Potassium
from potassium.errors import UsageError
from potassium.http.multipart import can_parse
from potassium.openai.batch_jobs import BatchJobs
from potassium.openai.batch_routes import BatchRoutes
from potassium.openai.batches import Batches
from potassium.openai.file_routes import FileRoutes
from potassium.openai.files import Files
from potassium.openai.front import Front
from potassium.openai.storage import Storage
from potassium.serving.composition import parts_of

__all__ = ["add_files"]


def add_files(
    app: Potassium, prefix: str, fronts: Mapping[str, Front[Any]], storage: Storage
) -> None:
    """Add the routes of files and batches to an app, and the background job that runs batches.

    Args:
        app: the app.
        prefix: where its API is.
        fronts: those of its endpoints, by what follows the prefix; batches name those of JSON with
            ``/v1``, wherever the API is.
        storage: where files and batches are kept.

    Raises:
        UsageError: what parses uploads is not installed.

    """
    if not can_parse():
        raise UsageError('OpenAI(files=...) needs: pip install "potassium[files,jobs]"')
    parts, files, batches = parts_of(app), Files(storage.path), Batches(storage.path)
    endpoints = {f"/v1{path}": one for path, one in fronts.items() if one.takes_json}
    jobs = BatchJobs(
        app,
        f"{prefix}/batches/run",
        batches,
        files,
        endpoints,
        in_flight=storage.in_flight,
        most=storage.requests,
    )
    app.router.routes += [
        *FileRoutes(parts, files, storage.file_size, jobs.need).routes(prefix),
        *BatchRoutes(parts, batches, files, jobs, endpoints).routes(prefix),
    ]
