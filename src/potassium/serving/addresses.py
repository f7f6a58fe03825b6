"""The address that a server listens on: how it is bound, and how the log shows it."""

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uvicorn

__all__ = ["bind", "cannot_serve", "listens", "shown"]

ACCEPTED = 16  # connections in a turn of the event loop


def bind(host: str, port: int) -> list[socket.socket]:
    """Return sockets that are bound to the address but do not listen yet.

    They are one and the same: uvloop accepts one connection for each in a turn of the event loop.

    Raises:
        SystemExit: the address cannot be bound.

    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        reason = (isinstance(error, OSError) and error.strerror) or str(error).rstrip(".")
        raise SystemExit(cannot_serve(host, port, reason)) from None
    return [bound, *(bound.dup() for _ in range(ACCEPTED - 1))]


def listens(one: socket.socket) -> bool:
    """Return whether others cannot take the address of ``one`` any more.

    Until it listens, another server that is loading its model can be bound to the address too. To
    prevent that, SO_REUSEADDR would have to be off, and then connections that the server before
    this one had would block the address for a minute.
    """
    try:
        return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False  # the loop has closed it


def cannot_serve(host: str, port: int, reason: str) -> str:
    """Return what to say if an address cannot be bound."""
    return (
        f"Cannot serve on {host}:{port}: {reason}. Choose another address with "
        "app.serve(host=..., port=...) or POTASSIUM_HOST and POTASSIUM_PORT."
    )


def shown(config: "uvicorn.Config", host: str, port: int) -> str:
    """Return where ``config`` makes uvicorn listen, in uvicorn's order of preference."""
    if config.fd is not None:
        return f"file descriptor {config.fd}"
    if config.uds is not None:
        return f"the socket {config.uds}"
    return f"http{'s' if config.is_ssl else ''}://{f'[{host}]' if ':' in host else host}:{port}"
