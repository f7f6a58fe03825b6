"""The path of a request, as the app knows it."""

from starlette.types import Scope

__all__ = ["path_below_mount"]


def path_below_mount(scope: Scope) -> str:
    """Return the path without the prefix where the app is mounted (ASGI ``root_path``)."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :]
    return path
