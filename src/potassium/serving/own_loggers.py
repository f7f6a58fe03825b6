"""Turns our loggers on again if they were turned off by accident."""

import logging

__all__ = ["enable_own_loggers"]

logger = logging.getLogger("potassium")


def enable_own_loggers() -> None:
    """Enable our loggers, and say so if any was disabled.

    ``logging.config`` disables all loggers that exist and that it does not name, unless it is told
    not to. Ours exist once the package is imported, so the tracebacks of handlers would be lost.
    """
    disabled = [
        one
        for name, one in logging.root.manager.loggerDict.items()
        if isinstance(one, logging.Logger) and one.disabled and _is_ours(name)
    ]
    for one in disabled:
        one.disabled = False
    if disabled:
        logger.warning(
            "logging.config had disabled our loggers (%s), and with them the errors of handlers. "
            'They are on again. Write "disable_existing_loggers": False in its configuration; to '
            'be without these lines, set the level of "potassium"',
            ", ".join(sorted(one.name for one in disabled)),
        )


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == "potassium"
