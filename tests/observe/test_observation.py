"""What an app measures, and that it measures nothing unless asked."""

import subprocess
import sys
from typing import Any

import pytest

from potassium import Metrics, Potassium, UsageError
from potassium.testing import client


def app_with(**options: Any) -> Potassium:
    app = Potassium("test", **options)
    app.handler(lambda cache, json_in: json_in)
    return app


async def test_nothing_is_measured_by_default() -> None:
    """There is no page, and nobody is told of jobs or requests."""
    app = app_with()
    async with client(app) as http:
        assert (await http.get("/metrics")).status_code == 404
    assert app._parts.observation.of_jobs is None
    assert app._parts.observation.exchanges == []


def test_prometheus_is_imported_only_where_metrics_are_on() -> None:
    """An app without metrics does not need the library."""
    code = (
        "import sys; from potassium import Potassium; Potassium('a');"
        "assert 'prometheus_client' not in sys.modules; Potassium('b', metrics=True);"
        "assert 'prometheus_client' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_library_is_named_with_what_to_type() -> None:
    """The error says which extra to install."""
    code = (
        "import sys; sys.modules['prometheus_client'] = None; from potassium import Potassium;"
        "Potassium('a', metrics=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "potassium[metrics]"' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("value", "status"), [("1", 200), ("0", 404), ("", 404)])
async def test_the_environment_turns_metrics_on(
    monkeypatch: pytest.MonkeyPatch, value: str, status: int
) -> None:
    """``POTASSIUM_METRICS=1`` needs no change to the app."""
    monkeypatch.setenv("POTASSIUM_METRICS", value)
    async with client(app_with()) as http:
        assert (await http.get("/metrics")).status_code == status


async def test_the_app_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """``metrics=False`` counts more than the environment."""
    monkeypatch.setenv("POTASSIUM_METRICS", "1")
    async with client(app_with(metrics=False)) as http:
        assert (await http.get("/metrics")).status_code == 404


async def test_metrics_need_no_api_key_unless_told() -> None:
    """A scraper has no key; ``needs_key=True`` asks for one, and nothing else becomes public."""
    async with client(app_with(metrics=True, api_keys=["k"])) as http:
        assert (await http.get("/metrics")).status_code == 200
        assert (await http.head("/metrics")).status_code == 200
        assert (await http.post("/metrics")).status_code == 401
        assert (await http.get("/metrics/")).status_code == 401
        assert (await http.post("/", json={})).status_code == 401
    async with client(app_with(metrics=Metrics(needs_key=True), api_keys=["k"])) as http:
        assert (await http.get("/metrics")).status_code == 401
        assert (await http.get("/metrics", headers={"X-Api-Key": "k"})).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz/", "/_k/status"])
def test_metrics_do_not_hide_behind_another_page(path: str) -> None:
    """That would answer each scrape, and nobody would see why there are no figures."""
    with pytest.raises(UsageError, match="own pages"):
        Potassium("test", metrics=Metrics(path=path))


async def test_a_handler_at_the_path_of_metrics_leaves_the_page() -> None:
    """The handler answers POST, and the page GET."""
    app = Potassium("test", metrics=True)
    app.handler("/metrics")(lambda cache, json_in: json_in)
    async with client(app) as http:
        assert (await http.post("/metrics", json={"x": 1})).json() == {"x": 1}
        assert "potassium_ready" in (await http.get("/metrics")).text


async def test_metrics_may_be_at_another_path() -> None:
    """``Metrics(path=)`` moves the page."""
    async with client(app_with(metrics=Metrics(path="/internal/figures"))) as http:
        assert (await http.get("/internal/figures")).status_code == 200
        assert (await http.get("/metrics")).status_code == 404


@pytest.mark.parametrize("path", ["metrics", "", 5, "/{x}", "/metrics?a"])
def test_a_path_that_is_none_is_refused(path: Any) -> None:
    """It begins with a slash, and has no parameters."""
    with pytest.raises(UsageError, match="write a path"):
        Metrics(path=path)
