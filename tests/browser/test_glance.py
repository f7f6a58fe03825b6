"""The server at a glance: its state, its queue, what it refuses and how fast it is."""

import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from e2e.server import Server, Start, free_port, wait_until
from playwright.sync_api import Locator, Page, Route, expect

APP = """
import os
import time

from pydantic import BaseModel

from potassium import Limits, Potassium

app = Potassium("Glance", limits=Limits(queue_size=2, grace_period=60))


class Task(BaseModel):
    name: str = "a"


@app.handler("/hold <b>on</b>")
def hold(cache, item: Task) -> dict:
    while not os.path.exists("go"):
        time.sleep(0.005)
    return {}


@app.handler("/quick")
def quick(cache, item: Task) -> dict:
    return {}


@app.handler("/beside")
async def beside(cache, item: Task) -> dict:
    return {}


app.serve()
"""
HOLD = "/hold%20%3Cb%3Eon%3C/b%3E"
Status = dict[str, Any]


def show(page: Page, server: Server) -> Locator:
    page.goto(f"{server.url}/docs#/server")
    glance = page.get_by_role("region", name="The server at a glance")
    expect(glance).to_be_visible()
    return glance


def value(glance: Locator, name: str) -> Locator:
    return glance.locator("dl > div").filter(has_text=re.compile(f"^{name}")).locator("dd")


def chart(glance: Locator, title: str) -> Locator:
    return glance.get_by_role("img", name=re.compile(f"^{title}"))


def changed(page: Page, change: Callable[[Status], None]) -> None:
    """Replace the status that the page gets."""

    def answer(route: Route) -> None:
        status = route.fetch().json()
        change(status)
        route.fulfill(json=status)

    page.route("**/_k/status", answer)


def test_the_header_shows_the_state_of_the_server(start: Start, page: Page) -> None:
    """In words, on every view, as a link to the details."""
    server = start(APP)
    page.goto(server.url)
    link = page.get_by_role("link", name="Server: ready")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Server", exact=True)).to_be_visible()
    expect(link).to_have_attribute("aria-current", "page")
    expect(page).to_have_title("Server - Glance")


def test_what_runs_and_what_waits_is_shown(start: Start, page: Page, tmp_path: Path) -> None:
    """With how long it has run, the limit of the queue, and the refused calls."""
    server = start(APP)
    glance = show(page, server)
    expect(value(glance, "State")).to_have_text("Ready")
    expect(value(glance, "Running")).to_have_text("Nothing")
    with ThreadPoolExecutor() as pool:
        held = [pool.submit(server.post, HOLD, {})]
        wait_until(lambda: server.status()["running"] is not None, "the call to run")
        held += [pool.submit(server.post, HOLD, {}) for _ in range(2)]
        wait_until(lambda: server.status()["queue"]["length"] == 2, "calls to wait")
        refused = server.post("/quick", {})
        assert refused.status_code == 503
        running = re.compile(r"^/hold <b>on</b>, for [\d.]+ m?s$")
        expect(value(glance, "Running")).to_have_text(running)
        expect(value(glance, "Waiting")).to_have_text("2 of 2")
        expect(value(glance, "Refused")).to_have_text("1")
        expect(page.get_by_role("link", name=re.compile("2 waiting"))).to_be_visible()
        expect(chart(glance, "Refused per second: 0.[1-9]")).to_be_visible()
        (tmp_path / "go").touch()
        assert [one.result().status_code for one in held] == [200] * 3
    expect(value(glance, "Running")).to_have_text("Nothing")
    expect(value(glance, "Served")).to_have_text("3")


def test_charts_show_the_last_minutes(start: Start, page: Page) -> None:
    """Each also gives its current value as text."""
    server = start(APP)
    glance = show(page, server)
    expect(chart(glance, "Served per second: 0")).to_be_visible()
    for _ in range(5):
        assert server.post("/quick", {}).status_code == 200
    expect(chart(glance, r"Served per second: [1-9]|Served per second: 0\.[1-9]")).to_be_visible()
    expect(chart(glance, r"Mean service time: [\d.]+ ms")).to_be_visible()
    drawn = """() => [...document.querySelectorAll("canvas")].map((one) =>
        one.getContext("2d").getImageData(0, 0, one.width, one.height).data.some(Boolean))"""
    assert page.evaluate(drawn) == [True, True, True]


def test_the_service_time_of_each_handler_is_shown(start: Start, page: Page) -> None:
    """As a mean, beside the queue of handlers that have their own."""
    server = start(APP)
    server.post("/quick", {})
    glance = show(page, server)
    rows = glance.get_by_role("row")
    expect(rows.filter(has_text="Mean service time")).to_have_count(1)
    expect(rows.filter(has_text="/quick")).to_contain_text(re.compile(r"[\d.]+ m?s"))
    expect(rows.filter(has_text="/beside")).to_contain_text("0 of 2")


def test_charts_follow_the_colour_scheme(start: Start, page: Page, complaints: list[str]) -> None:
    """They use the page's colours, which differ in dark mode."""
    server = start(APP)
    glance = show(page, server)
    expect(chart(glance, "Refused per second: 0")).to_be_visible()
    colours = """() => { const canvas = document.querySelectorAll("canvas")[1];
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        const seen = new Set();
        for (let i = 0; i < data.length; i += 4)
            if (data[i + 3] === 255) seen.add(data.slice(i, i + 3).join());
        return [...seen]; }"""
    light, dark = "106,47,181", "195,155,255"
    page.wait_for_function(f"() => ({colours})().includes('{light}')")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"() => ({colours})().includes('{dark}')")
    assert light not in page.evaluate(colours)
    complaints.clear()  # the browser advises how to read a canvas often


@pytest.mark.parametrize(
    ("state", "name", "sentence"),
    [
        ("starting", "Loading", "The model is loading."),
        ("draining", "Stopping", "The server is stopping."),
        ("stopped", "Stopped", "The server has stopped."),
        ("failed", "Failed", "The server has failed."),
    ],
)
def test_a_banner_says_that_the_server_is_not_ready(
    start: Start, page: Page, state: str, name: str, sentence: str
) -> None:
    """It disappears once the server is ready."""
    server = start(APP)
    changed(page, lambda status: status.update(state=state))
    page.goto(server.url)
    banner = page.get_by_role("status").filter(has_text=sentence)
    expect(banner).to_be_visible()
    expect(page.get_by_role("link", name=f"Server: {name.lower()}")).to_be_visible()
    page.unroute_all()
    expect(banner).to_have_count(0)


def test_a_server_that_drains_says_so(start: Start, page: Page, tmp_path: Path) -> None:
    server = start(APP)
    page.goto(server.url)
    expect(page.get_by_role("link", name="Server: ready")).to_be_visible()
    with ThreadPoolExecutor() as pool:
        held = pool.submit(server.post, HOLD, {})
        wait_until(lambda: server.status()["running"] is not None, "the call to run")
        server.process.send_signal(signal.SIGTERM)
        expect(page.get_by_text("The server is stopping.")).to_be_visible()
        (tmp_path / "go").touch()
        assert held.result().status_code == 200


def test_the_page_recovers_from_a_server_that_was_away(
    start: Start, page: Page, complaints: list[str]
) -> None:
    """A banner says that it is unreachable, and the form keeps its content."""
    port = free_port()
    server = start(APP, port=port)
    page.goto(f"{server.url}/docs#quick")
    page.get_by_label("Name").fill("kept")
    server.process.kill()
    server.process.wait()
    expect(page.get_by_text("The server cannot be reached.")).to_be_visible()
    expect(page.get_by_role("link", name="Server: unreachable")).to_be_visible()
    start(APP, port=port)
    expect(page.get_by_text("The server cannot be reached.")).to_have_count(0, timeout=15_000)
    expect(page.get_by_label("Name")).to_have_value("kept")
    complaints.clear()  # the browser reports each connection that was refused


def test_the_status_is_not_polled_while_the_tab_is_hidden(start: Start, page: Page) -> None:
    """A hidden tab costs the server nothing."""
    server = start(APP)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.install()
    page.goto(server.url)
    expect(page.get_by_role("link", name="Server: ready")).to_be_visible()
    hide = """(hidden) => { Object.defineProperty(document, "hidden", {configurable: true,
        get: () => hidden}); document.dispatchEvent(new Event("visibilitychange")); }"""
    page.evaluate(hide, True)
    page.clock.run_for(2_000)
    asked.clear()
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_request("**/_k/status"):
        page.evaluate(hide, False)


def test_a_restart_is_a_gap_in_the_charts(start: Start, page: Page) -> None:
    """No rate is computed from the counts of two different runs."""
    server = start(APP)
    runs = iter([(1, 10), (1, 20)])

    def change(status: Status) -> None:
        run, status["counts"]["succeeded"] = next(runs, (len(asked) + 1, 5))
        status["started_at"] = f"2026-01-{run:02}T00:00:00Z"
        asked.append(run)

    asked: list[int] = []
    changed(page, change)
    glance = show(page, server)
    expect(chart(glance, "Served per second: [2-6]")).to_be_visible()
    expect(chart(glance, "Served per second: no data yet")).to_be_visible()


def test_an_app_that_is_started_by_its_first_request_is_started(start: Start, page: Page) -> None:
    """Otherwise the page would wait forever for it to load."""
    parent = APP.replace("app.serve()", "from starlette.applications import Starlette") + (
        "from starlette.routing import Mount\nparent = Starlette(routes=[Mount('/ml', app)])\n"
    )
    server = start(parent, target="parent", ready="/ml/healthz")
    page.goto(f"{server.url}/ml/docs")
    expect(page.get_by_role("link", name="Server: ready")).to_be_visible()
