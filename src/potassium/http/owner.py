"""Whose a request is, in an app whose background jobs belong to API keys."""

from starlette.types import Scope

__all__ = ["SCOPE_KEY", "owner_of"]

SCOPE_KEY = "potassium.owner"


def owner_of(scope: Scope) -> str | None:
    """Return the owner of a request; None if jobs belong to nobody, and so to everybody."""
    owner: str | None = scope.get(SCOPE_KEY)
    return owner
