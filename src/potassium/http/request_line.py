"""The method, path and query of a request, as one line that can be stored."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

__all__ = ["request_line_of", "scope_of"]


def request_line_of(scope: Mapping[str, Any]) -> str:
    """Return the method, path and query in an ASGI scope: ``POST /embed?dimensions=64``."""
    if "method" not in scope:
        return ""
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{scope['method']} {quote(scope['path'])}{f'?{query}' if query else ''}"


def scope_of(line: str, path: str) -> Mapping[str, Any]:
    """Return the part of an ASGI scope that is in a line; if it is empty, a POST to ``path``."""
    method, _, target = line.partition(" ")
    sent, _, query = target.partition("?")
    return {
        "type": "http",
        "method": method or "POST",
        "path": unquote(sent) or path,
        "query_string": query.encode("latin-1"),
    }
