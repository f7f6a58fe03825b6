"""The handlers of one app."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from potassium.errors import UsageError
from potassium.handlers.cache import Cache
from potassium.handlers.functions import name_of
from potassium.handlers.handler import Handler
from potassium.handlers.options import HandlerOptions

__all__ = ["Registry"]


class Registry:
    """Handlers by path, and the webhooks of functions that are not handlers yet.

    Decorators may be applied in any order, so a function may get its webhook before or after it
    becomes a handler. In the latter case, a copy with the webhook replaces the handler.

    All handlers share ``cache``.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._handlers: dict[str, Handler] = {}
        self._unclaimed: dict[Callable[..., Any], str] = {}

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The handlers by path, in the order of registration."""
        return self._handlers

    def add(
        self,
        function: Callable[..., Any],
        path: str,
        options: HandlerOptions,
        *,
        is_background: bool,
    ) -> Handler:
        """Answer ``POST path`` with ``function``.

        Raises:
            UsageError: the path is taken or invalid, the options do not suit the function, or its
                signature cannot be bound.

        """
        handler = Handler.of(
            function,
            path,
            options,
            self._cache,
            is_background=is_background,
        )
        if handler.path in self._handlers:
            other = name_of(self._handlers[handler.path].function)
            raise UsageError(
                f"POST {handler.path} is already answered by {other}; give this one its own path: "
                '@app.handler("/other").'
            )
        url = self._unclaimed.pop(function, None)
        self._handlers[handler.path] = replace(handler, webhook_url=url)
        return self._handlers[handler.path]

    def post_results(self, function: Callable[..., Any], url: str) -> None:
        """Post to ``url`` what ``function`` returns, on every path it handles now or later."""
        paths = [path for path, one in self._handlers.items() if one.function is function]
        for path in paths:
            self._handlers[path] = replace(self._handlers[path], webhook_url=url)
        if not paths:
            self._unclaimed[function] = url

    def post_nothing(self) -> None:
        """Post no handler's results to a webhook."""
        for path, handler in self._handlers.items():
            self._handlers[path] = replace(handler, webhook_url=None)

    def check(self, *, has_jobs: bool) -> None:
        """Check that the registration is complete; ``has_jobs`` says whether the app has jobs.

        Raises:
            UsageError: a function has a webhook but is not a handler, or an option requires jobs.

        """
        for handler in self._handlers.values():
            if not has_jobs and (handler.options.get("attempts") or handler.options.get("backoff")):
                raise UsageError(
                    f"POST {handler.path}: attempts= and backoff= are for background jobs; keep "
                    "them with Potassium(jobs=Jobs())."
                )
        for function in self._unclaimed:
            raise UsageError(
                f"{name_of(function)} has @app.result_webhook but no @app.handler; add one, or "
                "@app.background."
            )
