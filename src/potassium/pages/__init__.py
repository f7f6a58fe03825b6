"""What a browser is shown: a page to try the handlers on. ``static/`` is built from ``web/``."""

from collections.abc import Callable
from typing import Any

from starlette.routing import Router
from starlette.types import Scope

from potassium.pages.page import Page
from potassium.pages.schema_page import SchemaPage

__all__ = ["add_docs"]


def add_docs(router: Router, document: Callable[[], dict[str, Any]]) -> Callable[[Scope], bool]:
    """Add the page and the schema to an app, behind its own routes.

    Args:
        router: that of the app.
        document: returns its OpenAPI document.

    Returns what tells whether a request is for the page, which is no secret; the schema may be.

    """
    page = Page(router)
    router.routes += [*SchemaPage(document).routes(), *page.routes]
    return page.has
