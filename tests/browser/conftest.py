"""Fixtures for tests in a real browser: ``nox -s page`` installs what they need."""

import shutil
from collections.abc import Iterator  # noqa: TC003 - pytest reads the annotations of fixtures
from importlib.util import find_spec

import pytest

if find_spec("playwright") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

ARGUMENTS = (
    "--no-sandbox",  # the tests may run as root
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
# The browser's own message about an error response, which some tests provoke.
ABOUT_ANSWERS = "Failed to load resource: the server responded with a status of"


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    executable = shutil.which("chromium")
    assert executable is not None, "Install Debian's chromium; nox -s page does."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """Return the browser's complaints; a test that expects some clears the list."""
    return []


@pytest.fixture
def page(chromium: "Browser", complaints: list[str]) -> "Iterator[Page]":
    """Yield a new tab; the test fails if the browser complains about anything."""
    context = chromium.new_context(viewport={"width": 1200, "height": 800})
    context.set_default_timeout(10_000)

    def note(message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning") and not message.text.startswith(ABOUT_ANSWERS):
            complaints.append(message.text)

    page = context.new_page()
    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert not complaints
