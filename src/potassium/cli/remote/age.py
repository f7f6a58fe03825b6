"""Ages as they are typed: ``90``, ``30m``, ``12h``, ``7d``."""

import re

import click

__all__ = ["age"]

AGE = re.compile(r"(\d{1,9})\s*(s|m|min|h|d|w)?")
SECONDS = {None: 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def age(_: click.Context, __: click.Parameter, text: str) -> int:
    """Return the seconds that the value of an option says.

    Raises:
        click.BadParameter: it says none.

    """
    found = AGE.fullmatch(text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is not an age: write 90, 30m, 12h or 7d.")
    return int(found[1]) * SECONDS[found[2]]
