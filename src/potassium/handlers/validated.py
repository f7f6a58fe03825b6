"""Binds what pydantic validates: JSON, a form, a query, or a file that is the whole input."""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from potassium.errors import (
    BodyTooLarge,
    InvalidInput,
    MalformedJSON,
    UnsupportedMediaType,
    UsageError,
)
from potassium.handlers.arguments import NO_FIELDS, QUICK_WORK, Binding, Estimate, parsed
from potassium.handlers.file_schemas import files_in
from potassium.handlers.form_fields import FormFields
from potassium.handlers.hash_check import Hashed, check_hashes, hashed_in
from potassium.handlers.schema_cost import cost_of
from potassium.handlers.schemas import Schemas
from potassium.handlers.whole_file import WholeFile
from potassium.http.form import MOST_TEXT
from potassium.http.json_cost import JsonCost
from potassium.http.message import Message

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

__all__ = ["FromQuery", "Validated"]

READING = ("GET", "HEAD")

MOST_SHOWN = 100  # faults of one body
MOST_FAULTS = 1000  # that are looked at, to show some of them


class Validated(Binding):
    """Passes what pydantic makes of the value that the client sent.

    What it makes of it is determined at the first request: not before that can the annotation refer
    to classes that are defined below the handler.

    Forms are taken where they are needed, for files: any website can make a browser send a form,
    but not JSON.

    Attributes:
        takes_forms: whether forms without files are taken, too.

    """

    takes_forms = False

    def __init__(self, adapter: "TypeAdapter[Any]") -> None:
        import pydantic  # noqa: PLC0415 - only for apps that validate, which have imported it

        self.adapter: TypeAdapter[Any] = adapter
        self._error = pydantic.ValidationError

    @cached_property
    def cost(self) -> JsonCost:  # type: ignore[override] # which is written once
        """What it takes to parse a body of JSON."""
        return cost_of(self.adapter.core_schema)

    @cached_property
    def at_once(self) -> int:  # type: ignore[override] # which is written once
        """The size in bytes up to which a body is quickly bound, whatever it contains."""
        return self.quick_size

    @cached_property
    def quick_size(self) -> int:
        """The size in bytes up to which what a client sent is quickly bound; negative for none."""
        return -1 if self.decodes_files else int(QUICK_WORK / self.cost.harmless)

    @cached_property
    def decodes_files(self) -> bool:  # type: ignore[override] # which is written once
        """Whether the value has files in it."""
        return any(files_in(Schemas(self.adapter.core_schema)))

    @property
    def needs_bytes(self) -> bool:  # type: ignore[override] # which is written once
        """Whether a body other than JSON must be in memory: files are read from where they are."""
        return not self.decodes_files

    @property
    def spools(self) -> bool:  # type: ignore[override] # which is written once
        """Whether the handler gets files, and not only what was decoded from them."""
        return any(one.is_kept for one in files_in(Schemas(self.adapter.core_schema)))

    @cached_property
    def media_types(self) -> Sequence[str]:  # type: ignore[override] # which is written once
        """The content types of the bodies that it takes."""
        return Binding.media_types if self.form is None else self.form.media_types

    @cached_property
    def form(self) -> FormFields | WholeFile | None:
        """How what is not JSON becomes the value; None if only JSON does."""
        schema = self.adapter.core_schema
        fields = FormFields.of(schema)
        if fields is not None and (self.takes_forms or self.decodes_files):
            return fields
        return WholeFile.of(schema)

    @cached_property
    def _from_parsed(self) -> FormFields | WholeFile | None:
        """What makes files in parsed JSON what pydantic takes; None if pydantic parses it itself.

        It does so unless there are uploads in it, which it does not take, or nothing but a file,
        which may be millions of numbers.
        """
        form = self.form
        return form if isinstance(form, WholeFile) or (form and form.has_uploads) else None

    @cached_property
    def _hashed(self) -> Hashed:
        return hashed_in(self.adapter.core_schema)

    def estimate(self, message: Message) -> Estimate:
        """Return what it takes to bind the body of ``message``."""
        if not message.is_json:
            return Estimate(is_quick=False, memory=min(message.size, MOST_TEXT))
        estimate = super().estimate(message)
        if not self.decodes_files:
            return estimate
        return Estimate(is_quick=False, memory=estimate.memory + message.size)

    def __call__(self, message: Message) -> Any:
        """Return the validated value."""
        try:
            value = parsed(message)  # 400 and 415 before 422; pydantic's own parser would take NaN
        except UnsupportedMediaType:
            return self._from_other_type(message)
        self._check(message.body, message.json_values)
        if self._from_parsed is not None:
            return self._from_python(self._from_parsed.as_uploads(value), "body is JSON, but")
        try:
            return self.adapter.validate_json(message.body)
        except self._error as error:
            raise _refusal(error, "body is JSON, but") from None

    def from_query(self, message: Message) -> Any:
        """Return what pydantic makes of the query.

        Raises:
            MalformedForm: the query is not UTF-8.
            BodyTooLarge: it has too many fields.
            InvalidInput: it is not what the handler takes.

        """
        if not isinstance(self.form, FormFields):
            raise UsageError(NO_FIELDS)
        values = self.form.read_query(message, partial(self._check, most=message.json_values))
        return self._from_python(values, "query is", strict=False)

    def _from_other_type(self, message: Message) -> Any:
        if self.form is None:
            return message.parse()  # raises
        value = self.form.read(message, partial(self._check, most=message.json_values))
        return self._from_python(value, f"{self.form.kind} is", strict=False)

    def _from_python(self, value: Any, what: str, *, strict: bool | None = None) -> Any:
        try:
            return self.adapter.validate_python(value, strict=strict)
        except self._error as error:
            raise _refusal(error, what) from None

    def _check(self, body: bytes, most: int | None) -> None:
        """Check what it takes to validate a piece of JSON.

        Raises:
            BodyTooLarge: it has more values than ``most``.
            InvalidInput: it is nested too deeply, or its numbers have the same hash.

        """
        if most is not None and self.cost.exceeds(body, most):
            raise self._too_much(most)
        if self._hashed:
            check_hashes(body, self._hashed)

    def _too_much(self, most: int) -> InvalidInput | BodyTooLarge:
        if not self.cost.grows:
            return BodyTooLarge(f"The body contains too many values: it may have {most}.")
        why = "Nested too deeply for a union: each level is tried as each of its members"
        fault = {"loc": [], "msg": why, "type": "too_deep_for_unions"}
        return InvalidInput("The body is JSON, but not what this handler takes.", [fault])


class FromQuery(Validated):
    """Passes what pydantic makes of the query of a GET; of any other request, of its body."""

    takes_forms = True
    at_once = -1  # the size of the body says nothing of a query

    def estimate(self, message: Message) -> Estimate:
        """Return what it takes to bind ``message``."""
        reads = message.method in READING
        size = len(message.scope.get("query_string", b"")) if reads else message.size
        if reads or size <= self.quick_size:
            return Estimate(is_quick=size <= self.quick_size, memory=0)
        return super().estimate(message)

    def __call__(self, message: Message) -> Any:
        """Return the validated value."""
        return self.from_query(message) if message.method in READING else super().__call__(message)


def _refusal(error: "ValidationError", what: str) -> InvalidInput | MalformedJSON:
    """Return what a client is told of input that is invalid: 100 faults of it at most."""
    count = error.error_count()
    if count > MOST_FAULTS:  # to list them would take longer than all else, and hold the loop up
        fault = {"loc": [], "msg": f"{count} faults: too many to list", "type": "too_many_faults"}
        return InvalidInput(f"The {what} not what this handler takes.", [fault])
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    if faults[0]["type"] == "json_invalid" and not faults[0]["loc"]:  # deeper than its parser takes
        return MalformedJSON("The body is nested too deeply.")
    return InvalidInput(
        f"The {what} not what this handler takes; see errors.",
        [
            {"loc": fault["loc"], "msg": fault["msg"], "type": fault["type"]}
            for fault in faults[:MOST_SHOWN]
        ],
    )
