"""Our loggers, which logging.config disables unless it is told not to."""

import logging
import logging.config
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from support.asgi import Exchange

from potassium import Potassium

OWN = ("potassium", "potassium.jobs", "potassium.webhooks")


@pytest.fixture
def loggers() -> Iterator[dict[str, logging.Logger]]:
    """Yield loggers of ours, all disabled, and one of somebody else's."""
    found = {name: logging.getLogger(name) for name in (*OWN, "somebody.else")}
    with ExitStack() as undo:
        for one in found.values():
            undo.callback(setattr, one, "disabled", one.disabled)
            one.disabled = True
        yield found


async def test_the_errors_of_handlers_are_logged_whatever_logging_config_has_disabled(
    loggers: dict[str, logging.Logger], caplog: pytest.LogCaptureFixture
) -> None:
    """Under any server, from the start of the app on. A line says what to write."""
    app = Potassium("test")

    @app.handler
    def handler(cache: object, json_in: object) -> None:
        raise ValueError

    async with app.lifespan():
        await Exchange(app).rest_of_response()
    lines = [one.getMessage() for one in caplog.records]
    assert lines[0].startswith("logging.config had disabled our loggers (potassium")
    assert '"disable_existing_loggers": False' in lines[0]
    assert any("/ failed: handler_error" in line for line in lines)
    assert [name for name, one in loggers.items() if one.disabled] == ["somebody.else"]


async def test_they_are_on_if_init_sets_up_logging(
    loggers: dict[str, logging.Logger], caplog: pytest.LogCaptureFixture
) -> None:
    """As libraries do that a model comes with."""
    for one in loggers.values():
        one.disabled = False
    app = Potassium("test")
    app.handler(lambda cache, json_in: json_in)

    @app.init
    def init() -> dict[str, int]:
        logging.getLogger("potassium").disabled = True
        return {}

    caplog.set_level(logging.DEBUG, "potassium")
    async with app.lifespan():
        assert not loggers["potassium"].disabled
    assert "ready in" in caplog.text


async def test_loggers_that_are_on_are_not_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    app = Potassium("test")
    app.handler(lambda cache, json_in: json_in)
    async with app.lifespan():
        pass
    assert "disabled" not in caplog.text
