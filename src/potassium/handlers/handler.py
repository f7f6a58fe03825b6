"""One registered function: where it is called, how its argument binds, what runs it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from potassium.engine import Operation
from potassium.errors import UsageError
from potassium.handlers.binding import Bind, binding_of, check_prepared
from potassium.handlers.cache import Cache
from potassium.handlers.functions import yields
from potassium.handlers.operation import operation_of
from potassium.handlers.options import HandlerOptions, check_together

__all__ = ["Handler", "normal_path"]

RESERVED_PATHS = ("/healthz", "/readyz", "/_k/status", "/__status__", "/_k/warmup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A function of the user's that answers ``POST path``.

    Attributes:
        path: in its normal form, see ``normal_path``.
        function: as the user wrote it.
        bind: turns a request into the argument of the function, or of what prepares that, on the
            event loop.
        operation: what the engine runs; it returns the encoded ``Reply``, or opens a stream.
        yields: whether every answer of it is a stream.
        options: those it was registered with.
        is_background: whether every call of it is run in the background.
        webhook_url: where the returned JSON is posted to as well, or None.

    """

    path: str
    function: Callable[..., Any]
    bind: Bind
    operation: Operation
    yields: bool
    options: HandlerOptions
    is_background: bool = False
    webhook_url: str | None = None

    @classmethod
    def of(  # noqa: PLR0913 - what a registration knows
        cls,
        function: Callable[..., Any],
        path: str,
        options: HandlerOptions,
        cache: Cache,
        *,
        is_background: bool = False,
        webhook_url: str | None = None,
    ) -> "Handler":
        """Return the handler that answers ``path`` with ``function``.

        Raises:
            UsageError: the path, the signature or an option is invalid.

        """
        path = normal_path(path)
        check_together(function, options)
        prepare, batched = options.get("prepare"), options.get("batch") is not None
        if prepare is None:
            bind = binding_of(function, batched=batched)
        else:
            check_prepared(function, batched=batched)
            bind = binding_of(prepare, is_step=True)
        return cls(
            path=path,
            function=function,
            bind=bind,
            operation=operation_of(path, function, options, cache),
            yields=not batched and yields(function),
            options=options,
            is_background=is_background,
            webhook_url=webhook_url,
        )


def normal_path(path: str) -> str:
    """Return ``path`` with one slash in front and none behind: ``"foo"`` becomes ``"/foo"``.

    Raises:
        UsageError: it cannot be a handler's path.

    """
    normal = "/" + path.strip("/")
    if normal in RESERVED_PATHS:
        raise UsageError(f"{normal} is one of the server's own pages; take another path.")
    if "{" in normal or "?" in normal or "#" in normal:
        raise UsageError(
            f"{normal} has parameters in it; a handler has a fixed path, and what varies goes "
            "into the JSON body."
        )
    return normal
