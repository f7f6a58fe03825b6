"""The files of the page, ready to be sent."""

import gzip
import hashlib
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.datastructures import Headers
from starlette.responses import Response

from potassium.http.accept import coding_is_accepted

__all__ = ["Asset", "asset", "html"]

# The page may only run its own files, call this server, and show media that it was sent or that
# its user has chosen (https://www.w3.org/TR/CSP3/).
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
SAFETY = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

FOREVER = "public, max-age=31536000, immutable"  # the names change with the content
TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css"}


class Asset:
    """One file of the page, in memory.

    Args:
        content: its content.
        suffix: the suffix of its name, one of ``TYPES``.
        caching: the value of ``Cache-Control``.

    """

    def __init__(self, content: bytes, suffix: str, caching: str) -> None:
        self.content = content
        self._headers = {
            **SAFETY,
            "Content-Type": f"{TYPES[suffix]}; charset=utf-8",
            "Cache-Control": caching,
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            "Vary": "Accept, Accept-Encoding, X-Forwarded-Prefix",
        }

    @cached_property
    def _compressed(self) -> bytes:
        return gzip.compress(self.content, mtime=0)

    def response(self, headers: Headers) -> Response:
        """Return the response to a request with ``headers``; 304 if the client has the file."""
        known = headers.get("if-none-match", "")
        if self._headers["ETag"] in known or known.strip() == "*":
            return Response(status_code=304, headers=self._headers)
        if coding_is_accepted(headers.raw, "gzip"):
            coded = {**self._headers, "Content-Encoding": "gzip"}
            return Response(self._compressed, headers=coded)
        return Response(self.content, headers=self._headers)


def asset(name: str) -> Asset | None:
    """Return a file that the page loads, or None if there is no such file."""
    return _assets().get(name)


@cache
def _assets() -> dict[str, Asset]:
    """Return all of them, by name: what is kept does not grow with what is asked for."""
    return {
        file.name: Asset(file.read_bytes(), file.name.rpartition(".")[2], FOREVER)
        for file in (_static() / "docs" / "assets").iterdir()
    }


@lru_cache(16)  # clients can ask for any number of paths
def html(root: str) -> Asset:
    """Return the page itself.

    Args:
        root: the path from its URL to the app: ``./``, ``../`` or an absolute path.

    """
    content = (_static() / "index.html").read_text("utf-8")
    return Asset(content.replace('"./', f'"{root}').encode(), "html", "no-cache")


def _static() -> Traversable:
    return files("potassium.pages") / "static"
