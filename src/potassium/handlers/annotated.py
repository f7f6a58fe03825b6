"""Makes bindings of annotations that pydantic validates."""

from functools import partial
from typing import Annotated, Any, get_args

import pydantic
from starlette.datastructures import UploadFile

from potassium.handlers.arguments import NO_FIELDS
from potassium.handlers.file_schemas import upload_of
from potassium.handlers.form_fields import FormFields
from potassium.handlers.parameters import UnusableError
from potassium.handlers.validated import FromQuery, Validated
from potassium.http.file import ANY_TYPE
from potassium.http.multipart import can_parse
from potassium.http.request import Request
from potassium.media.from_file import FromFile

__all__ = ["validated"]

ARBITRARY: pydantic.ConfigDict = {"arbitrary_types_allowed": True}  # ``list[UploadFile]``

NO_PARSER = (
    'it takes files, which are sent as forms: pip install "potassium[files]", which brings '
    "python-multipart"
)


def validated(annotation: Any, *, reads_query: bool) -> Validated:
    """Return the binding of an annotation.

    Raises:
        UnusableError: pydantic cannot validate it, or it takes files and python-multipart is not
            installed, or ``reads_query`` and it has no fields.

    """
    if _is_upload(annotation):
        annotation = Annotated[annotation, FromFile(partial(upload_of, annotation), (ANY_TYPE,))]
    has_upload = any(_is_upload(one) for one in get_args(annotation))
    try:
        adapter = pydantic.TypeAdapter(annotation, config=ARBITRARY if has_upload else None)
    except pydantic.errors.PydanticUserError as error:
        hint = ""
        if getattr(annotation, "__name__", "") == Request.__name__:  # that of another framework
            hint = "; write: from potassium import Request"
        raise UnusableError(f"pydantic cannot validate {annotation!r}{hint}") from error
    binding = FromQuery(adapter) if reads_query else Validated(adapter)
    if adapter.pydantic_complete:  # or it refers to classes that are defined below the handler
        if reads_query and not isinstance(binding.form, FormFields):
            raise UnusableError(NO_FIELDS)
        if binding.decodes_files and not can_parse():
            raise UnusableError(NO_PARSER)
    return binding


def _is_upload(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, UploadFile)
