"""The base classes of all errors."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

__all__ = ["PotassiumError", "UsageError"]


class PotassiumError(Exception):
    """Base class of every error that Potassium raises.

    A handler may raise any subclass to answer its caller with the status of that class.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    default_detail: ClassVar[str] = ""
    extra_headers: ClassVar[Mapping[str, str]] = MappingProxyType({})
    closes = False  # whether the connection is closed after the response

    def __init__(self, detail: str = "") -> None:
        self.detail = detail or self.default_detail
        super().__init__(self.detail)

    @property
    def headers(self) -> Mapping[str, str]:
        """Extra headers of the response."""
        return {**self.extra_headers, "Connection": "close"} if self.closes else self.extra_headers

    @property
    def members(self) -> Mapping[str, Any]:
        """Extra members of the problem document."""
        return {}


class UsageError(PotassiumError):
    """A mistake in the app's own code; the message says what to write instead."""
