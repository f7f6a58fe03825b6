"""Which form of a value a client gets."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from potassium.errors import NotAcceptable
from potassium.http.accept import preferred
from potassium.http.codec import encode
from potassium.http.representations.arrays import ARRAY_FORMS, ARRAYS_FORMS
from potassium.http.representations.files import FILES, Kind, kind_among
from potassium.http.representations.form import JSON, Form
from potassium.http.representations.tables import TABLE_FORMS

__all__ = ["KINDS", "ONLY_JSON", "chosen", "file_form", "kind_of", "kind_of_class"]

Headers = Iterable[tuple[bytes, bytes]]

ONLY_JSON = frozenset((dict, list, str, int, float, bool, type(None)))  # has no other form

AS_DATA_URL = Form(JSON, encode)


KINDS = (
    *(kind._replace(forms=(*kind.forms, AS_DATA_URL)) for kind in FILES),
    Kind("numpy", "ndarray", ARRAY_FORMS),
    Kind("torch", "Tensor", ARRAY_FORMS),
    Kind("potassium.http.representations.arrays", "NamedArrays", ARRAYS_FORMS),
    Kind("pandas", "DataFrame", TABLE_FORMS, aside=lambda frame: frame.copy()),
    Kind("polars", "DataFrame", TABLE_FORMS, aside=lambda frame: frame.clone()),
    Kind("pyarrow", "Table", TABLE_FORMS, aside=lambda table: table),
)


def kind_of(value: Any) -> Kind | None:
    """Return the kind of a value that has several forms; None if it has only one."""
    return None if type(value) in ONLY_JSON else kind_among(KINDS, value)


def kind_of_class(given: Any) -> Kind | None:
    """Return the kind of the values of a class; None if they have one form, or it is no class."""
    for kind in KINDS:
        known = getattr(sys.modules.get(kind.module), kind.name, None)
        if known is not None and isinstance(given, type) and issubclass(given, known):
            return kind
    return None


def chosen(forms: Sequence[Form], headers: Headers, *, is_strict: bool) -> Form:
    """Return the form that a request prefers.

    If it takes none of them, it gets the first one if that is JSON, as of any other result.

    Raises:
        NotAcceptable: it takes none of them, the first is not JSON, and ``is_strict``.

    """
    names = [form.media_type for form in forms]
    name = preferred(headers, names)
    if name is None:
        if is_strict and names[0] != JSON:
            raise NotAcceptable(f"The result can be sent as {', '.join(names)}.")
        return forms[0]
    return forms[names.index(name)]


def file_form(value: Any, headers: Headers) -> Form | None:
    """Return the form in which a chunk of a stream is sent, or None if it is no file."""
    kind = None if type(value) in ONLY_JSON else kind_among(FILES, value)
    return None if kind is None else chosen(kind.forms, headers, is_strict=False)
