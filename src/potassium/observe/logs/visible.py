"""Text that cannot pretend to be something else: a further log line, or a command to a terminal."""

import re

__all__ = ["one_line", "several_lines", "shown", "unseen_in_json", "without_middle"]

# What JSON leaves as it is although terminals obey it, readers of lines split at it, or it turns
# the text around: C1 controls and DEL, line and paragraph separators, directions, zero widths.
UNSEEN = re.compile(r"[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
INDENT = "    "
LONGEST = 10_000  # characters of a value that is shown by its repr()
LONGEST_TRACEBACK = 50_000  # characters


def one_line(text: str) -> str:
    r"""Return ``text`` with every character that is not visible as its escape, such as ``\n``."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def shown(value: object) -> str:
    """Return any value as text; never raise, whatever its class does."""
    try:
        return (str(value) if isinstance(value, BaseException) else repr(value))[:LONGEST]
    except Exception as error:  # noqa: BLE001 - of the app's __repr__
        return f"<{type(value).__name__} whose repr() raised {type(error).__name__}>"


def several_lines(text: str) -> str:
    """Return the lines of ``text`` indented, so that none looks like the beginning of a record."""
    return "\n".join(INDENT + one_line(line) for line in text.split("\n"))


def without_middle(traceback: str) -> str:
    """Return a traceback; if it is very long, its beginning and its end.

    The text of an exception may have what a client sent, such as the key of a ``KeyError``.
    """
    over = len(traceback) - LONGEST_TRACEBACK
    if over <= 0:
        return traceback
    half = LONGEST_TRACEBACK // 2
    return f"{traceback[:half]}\n... {over} characters were left out ...\n{traceback[-half:]}"


def unseen_in_json(document: str) -> str:
    """Return a JSON document with everything in ``UNSEEN`` as JSON's escapes."""
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
