"""The page on which people try the handlers in a browser. ``static/`` is built from ``web/``."""

from collections.abc import Callable
from typing import Any

from starlette.routing import Router
from starlette.types import Scope

from potassium.pages.page import Page
from potassium.pages.schema_page import SchemaPage

__all__ = ["add_docs"]


def add_docs(router: Router, document: Callable[[], dict[str, Any]]) -> Callable[[Scope], bool]:
    """Add the page and the schema to an app, after its own routes.

    Args:
        router: the app's router.
        document: returns the app's OpenAPI document.

    Returns a function that tells whether a request is for the page, which needs no API key. The
    schema may need one.

    """
    page = Page(router)
    router.routes += [*SchemaPage(document).routes(), *page.routes]
    return page.has
