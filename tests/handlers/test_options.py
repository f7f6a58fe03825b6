"""The options of handlers: one list of them, which the decorators show."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from potassium import Potassium, UsageError
from potassium.handlers.options import HandlerOptions

OPTIONS = HandlerOptions.__annotations__


@pytest.fixture(params=["handler", "background"])
def decorator(request: pytest.FixtureRequest, app: Potassium) -> Callable[..., Any]:
    return getattr(app, request.param)  # type: ignore[no-any-return]


def test_a_decorator_has_every_option_in_its_signature(decorator: Callable[..., Any]) -> None:
    """Editors and ``help()`` show each of them by name, beside the path."""
    assert list(inspect.signature(decorator).parameters) == ["path", *OPTIONS]


def test_every_option_in_a_signature_may_be_left_out(
    app: Potassium, decorator: Callable[..., Any]
) -> None:
    """What a signature shows as the default is accepted, and is the default."""
    parameters = inspect.signature(decorator).parameters
    decorator("/", **{name: parameters[name].default for name in OPTIONS})(lambda c, j: None)
    handler = app._parts.handlers["/"]
    assert (handler.operation.streams, handler.operation.batching) == (1, None)


def test_a_decorator_documents_every_option(decorator: Callable[..., Any]) -> None:
    """The text of ``HandlerOptions`` replaces the reference to it."""
    documented = (inspect.getdoc(decorator) or "").partition("Args:")[2].partition("Raises:")[0]
    assert [name for name in OPTIONS if f"\n    {name}: " not in documented] == []
    assert "HandlerOptions" not in documented


def test_a_handler_for_get_whose_input_has_no_fields_is_refused(app: Potassium) -> None:
    """The message says what to write, in sentences."""
    with pytest.raises(UsageError, match=r"or take the Request and read its query_params\.\nWrite"):
        app.handler("/", methods=["GET"])(lambda cache, item: item)
