"""Bounds the values of labels: each is a series of its own, for as long as anybody keeps it."""

from http import HTTPStatus

from potassium import errors
from potassium.http.problem import code_of_status

__all__ = ["OTHER", "Codes", "status_label"]

OTHER = "other"  # of all paths that are no handlers', and of codes beyond ``MOST``
MOST = 100  # codes of the app's own

STATUSES = {status.value: str(status.value) for status in HTTPStatus} | {499: "499"}
KNOWN = frozenset(
    (
        "",
        *(getattr(errors, name).code for name in errors.__all__),
        *(code_of_status(status) for status in STATUSES),
    )
)


def status_label(status: int) -> str:
    """Return a registered status as it is, and any other as ``2xx``; ``none`` for no response."""
    return STATUSES.get(status) or (f"{status // 100}xx" if status else "none")


class Codes:
    """The codes of errors that have been seen."""

    def __init__(self) -> None:
        self._own: set[str] = set()

    def label(self, code: str) -> str:
        """Return ``code``, or ``other`` if it is not ours and the app has too many of its own."""
        if code in KNOWN or code in self._own:
            return code
        if len(self._own) < MOST:
            self._own.add(code)
            return code
        return OTHER
