"""One registered function: its path, how its argument is bound, and what runs it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from potassium.config import Batch
from potassium.engine import Operation
from potassium.errors import UsageError
from potassium.handlers.arguments import Binding
from potassium.handlers.binding import binding_of, check_prepared
from potassium.handlers.cache import Cache
from potassium.handlers.examples import check_examples
from potassium.handlers.functions import yields
from potassium.handlers.operation import operation_of
from potassium.handlers.options import HandlerOptions, check_together

__all__ = ["RESERVED_PATHS", "Handler", "normal_path"]

RESERVED_PATHS = ("/healthz", "/readyz", "/_k/status", "/__status__", "/_k/warmup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A user's function that answers calls of ``path``.

    Attributes:
        path: the path in its normal form, see ``normal_path``.
        function: the function as the user wrote it.
        bind: turns a request into the argument of the function, or of its ``prepare`` step.
        operation: what the engine runs; it returns the encoded ``Reply``, or opens a stream.
        alone: the same without batches: it runs each call by itself.
        yields: whether every response is a stream.
        options: the options that it was registered with.
        is_background: whether every call runs in the background.
        webhook_url: the URL to which the returned JSON is posted too, or None.

    """

    path: str
    function: Callable[..., Any]
    bind: Binding
    operation: Operation
    alone: Operation
    yields: bool
    options: HandlerOptions
    is_background: bool = False
    webhook_url: str | None = None

    @property
    def methods(self) -> Collection[str]:
        """The methods that it answers."""
        return self.options.get("methods", ("POST",))

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
        reads_query = "GET" in options.get("methods", ())
        if prepare is None:
            bind = binding_of(function, batched=batched, reads_query=reads_query)
        else:
            check_prepared(function, batched=batched)
            bind = binding_of(prepare, is_step=True, reads_query=reads_query)
        check_examples(bind, options)
        operation = alone = operation_of(path, function, options, cache)
        if batched:
            one_by_one: HandlerOptions = {**options, "batch": Batch(max_size=1, max_delay=0)}
            alone = operation_of(path, function, one_by_one, cache)
        return cls(
            path=path,
            function=function,
            bind=bind,
            operation=operation,
            alone=alone,
            yields=not batched and yields(function),
            options=options,
            is_background=is_background,
            webhook_url=webhook_url,
        )


def normal_path(path: str) -> str:
    """Return ``path`` with one leading slash and no trailing one: ``"foo"`` becomes ``"/foo"``.

    Raises:
        UsageError: the path is reserved, or it is not a fixed path.

    """
    normal = "/" + path.strip("/")
    if normal in RESERVED_PATHS:
        raise UsageError(f"{normal} is one of the server's own pages; take another path.")
    if any(sign in normal for sign in "{}?#"):
        raise UsageError(
            f"{normal} has parameters; the path of a handler is fixed. Put what varies into the "
            "JSON body."
        )
    return normal
