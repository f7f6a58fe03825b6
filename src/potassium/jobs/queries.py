"""What requests about background jobs ask for, in their queries and headers."""

from starlette.requests import Request

from potassium.errors import InvalidInput
from potassium.jobs.model import Status

__all__ = [
    "LARGEST_PAGE",
    "final_status_of",
    "last_event_of",
    "limit_of",
    "seconds_of",
    "status_of",
]

PAGE = 50  # jobs
LARGEST_PAGE = 500
LAST_EVENT = 2**63 - 1  # that a store can hold
LONGEST_NUMBER = 12  # digits of a number of seconds


def status_of(given: str | None) -> Status | None:
    """Return the status that is asked for, if one is.

    Raises:
        InvalidInput: there is no such status.

    """
    try:
        return None if given is None else Status(given)
    except ValueError:
        names = ", ".join(status.value for status in Status)
        raise InvalidInput(f"status must be one of {names}.") from None


def final_status_of(given: str | None) -> Status:
    """Return the status that is asked for, of jobs that have ended.

    Raises:
        InvalidInput: none is, or not a final one.

    """
    final = {status.value: status for status in Status if status.is_final}
    if given not in final:
        raise InvalidInput(f"status must be one of {', '.join(final)}.")
    return final[given]


def limit_of(given: str | None, default: int = PAGE) -> int:
    """Return how many jobs are asked for.

    Raises:
        InvalidInput: it is not a number, or too large.

    """
    if given is None:
        return default
    if given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= LARGEST_PAGE:
        return int(given[:9])
    raise InvalidInput(f"limit must be a number from 1 to {LARGEST_PAGE}.")


def seconds_of(given: str) -> int:
    """Return a number of seconds.

    Raises:
        InvalidInput: it is not a whole number.

    """
    if given.isascii() and given.isdigit() and len(given) <= LONGEST_NUMBER:
        return int(given)
    raise InvalidInput("older_than must be a whole number of seconds.")


def last_event_of(request: Request) -> int:
    """Return the number of the last event that the client has seen.

    Raises:
        InvalidInput: ``Last-Event-ID`` is not a number.

    """
    given = request.headers.get("last-event-id", "0")
    is_number = given.isascii() and given.isdigit() and len(given) <= len(str(LAST_EVENT))
    if not is_number or int(given) > LAST_EVENT:
        raise InvalidInput("Last-Event-ID must be the number of an event.")
    return int(given)
