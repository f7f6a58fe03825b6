"""Why a snapshot is not used."""

__all__ = ["Unfit"]


class Unfit(Exception):
    """A snapshot does not fit, or cannot be trusted; the text says why, as a clause."""
