"""Serves an app that is being changed."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from potassium.config import LogFormat
from potassium.errors import UsageError
from potassium.project.target import Target
from potassium.reload.reloader import Reloader
from potassium.reload.watch import changes
from potassium.server import serve
from potassium.serving.composition import parts_of

if TYPE_CHECKING:
    from potassium.app import Potassium

__all__ = ["serve_reloading"]


def serve_reloading(  # noqa: PLR0913, PLR0917 - what app.serve() knows
    target: Target,
    app: "Potassium",
    host: str | None,
    port: int | None,
    logs: tuple[LogFormat | None, bool | None],
    options: dict[str, Any],
) -> None:
    """Serve ``app``, which is in ``target``, and each later version of it; blocks.

    ``logs`` are ``log`` and ``access_log`` of ``app.serve``, ``options`` all others.

    Raises:
        UsageError: watchfiles is not installed, there is no handler, or an option is invalid.
        SystemExit: the server did not start, has failed, or calls were left unfinished.

    """
    if find_spec("watchfiles") is None:
        raise UsageError('--reload needs watchfiles: pip install "potassium[reload]"')
    parts = parts_of(app)
    parts.check_served()
    log, access_log = logs
    how = parts.observation.log(log, access=access_log)

    def prepare(version: "Potassium") -> None:
        parts_of(version).observation.log(log, access=access_log)

    reloader = Reloader(target, app, prepare=prepare, changes=changes)
    serve(reloader, reloader, parts.limits, app.name, host, port, options, how)
