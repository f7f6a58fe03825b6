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
    """Handlers by path, and the webhooks of functions that are no handlers yet.

    Decorators may stand in any order, so a function's webhook may be named before or after it
    becomes a handler; a handler that is there already is replaced by one that has it.

    Attributes:
        handlers: by path, in the order of registration.

    """

    def __init__(self, cache: Cache) -> None:
        """Begin with none; all of them get ``cache``."""
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
            UsageError: the path is taken, the options do not suit the function, or it cannot be
                bound.

        """
        handler = Handler.of(
            function,
            path,
            options,
            self._cache,
            is_background=is_background,
            webhook_url=self._unclaimed.get(function),
        )
        if handler.path in self._handlers:
            other = name_of(self._handlers[handler.path].function)
            raise UsageError(
                f"POST {handler.path} is answered by {other} already; give this one a path of its "
                'own: @app.handler("/other").'
            )
        self._unclaimed.pop(function, None)
        self._handlers[handler.path] = handler
        return handler

    def post_results(self, function: Callable[..., Any], url: str) -> None:
        """Post to ``url`` what ``function`` returns, under each path that it answers or will."""
        paths = [path for path, one in self._handlers.items() if one.function is function]
        for path in paths:
            self._handlers[path] = replace(self._handlers[path], webhook_url=url)
        if not paths:
            self._unclaimed[function] = url

    def check(self, *, has_jobs: bool) -> None:
        """Check that what was registered is complete, in an app that has jobs or has none.

        Raises:
            UsageError: a function has a webhook and is no handler, or an option needs jobs.

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
