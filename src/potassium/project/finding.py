"""What a look at an app or a machine has brought to light."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Finding", "Level", "note", "ok", "problem"]


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"  # worth knowing
    PROBLEM = "problem"  # it does not work, or not as it should


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        level: how bad it is.
        about: what it is about, in a word or two.
        why: what was found, in a sentence.
        fix: what to do about it, such as what to type; None if there is nothing to do.

    """

    level: Level
    about: str
    why: str
    fix: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def ok(about: str, why: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(Level.OK, about, why)


def note(about: str, why: str, fix: str | None = None) -> Finding:
    """Return a finding that is worth knowing."""
    return Finding(Level.NOTE, about, why, fix)


def problem(about: str, why: str, fix: str | None = None) -> Finding:
    """Return a finding that needs action."""
    return Finding(Level.PROBLEM, about, why, fix)
