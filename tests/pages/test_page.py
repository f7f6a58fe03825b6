"""The routes of the page, and the page's files."""

import gzip
import hashlib
import os
import re
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route

from potassium import ApiKeys, Potassium, UsageError
from potassium.pages.assets import asset, html
from potassium.testing import client

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
WEB = Path(__file__).parents[2] / "web"
MOST = 150_000  # bytes, compressed


def serving(*paths: str, **options: Any) -> Potassium:
    app = Potassium("test", **options)
    for path in paths or ("/embed",):
        app.handler(path)(_echo)
    return app


def _echo(cache: dict[str, Any], value: int) -> int:
    return value


def files_of(response: httpx.Response) -> list[str]:
    """Return the URLs of what the page loads."""
    links = re.findall(r'(?:src|href)="(\.[^"]+)"', response.text)
    assert len(links) == 2
    return [str(response.url.join(link)) for link in links]


async def test_media_types_are_named_in_any_case() -> None:
    async with client(serving()) as http:
        assert (await http.get("/", headers={"Accept": "Text/HTML"})).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/"])
async def test_a_browser_is_shown_the_page(path: str) -> None:
    async with client(serving()) as http:
        page = await http.get(path, headers=BROWSER)
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        for url in files_of(page):
            loaded = await http.get(url)
            assert loaded.status_code == 200
            assert loaded.headers["Content-Type"].startswith(("text/javascript", "text/css"))


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "application/json, text/html;q=0.5", "text/html;q=0"]
)
async def test_the_root_is_a_page_only_for_browsers(accept: str) -> None:
    async with client(serving()) as http:
        assert (await http.get("/", headers={"Accept": accept})).status_code == 404


async def test_the_page_at_the_root_answers_get_only() -> None:
    async with client(serving()) as http:
        refused = await http.post("/", headers=BROWSER)  # as it is without a page
        assert refused.status_code == 404


async def test_what_is_not_a_file_of_the_page_is_not_sent() -> None:
    async with client(serving()) as http:
        for name in ("nothing.js", "..%2f..%2findex.html", "%2e%2e/index.html", "x.py", "a.js%0a"):
            assert (await http.get(f"/docs/assets/{name}")).status_code == 404


def test_names_that_are_asked_for_are_not_kept() -> None:
    """Or else anybody could fill the memory, without a key."""

    class Name(str):
        __slots__ = ("__weakref__",)

    name = Name("nothing.js")
    assert asset(name) is None
    watched = weakref.ref(name)
    del name
    assert watched() is None


def test_prefixes_that_are_said_are_not_all_kept() -> None:
    """Clients can say any number of them."""
    for number in range(100):
        html(f"/{number}/")
    assert html.cache_info().currsize < 100


async def test_the_page_may_run_nothing_but_its_own_files() -> None:
    async with client(serving()) as http:
        page = await http.get("/docs")
        rules = dict(
            rule.strip().split(" ", 1)
            for rule in page.headers["Content-Security-Policy"].split(";")
        )
        assert rules["default-src"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
        assert rules["frame-ancestors"] == "'self'"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert rules["base-uri"] == rules["form-action"] == "'none'"
        assert "unsafe" not in str(rules)
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"<script(?![^>]* src=)|<style|style=|https?://|\son\w+=", page.text)


async def test_a_browser_that_has_a_file_is_not_sent_it_again() -> None:
    async with client(serving()) as http:
        page = await http.get("/docs")
        script = await http.get(files_of(page)[0])
        assert page.headers["Cache-Control"] == "no-cache"  # that is, revalidate
        assert "immutable" in script.headers["Cache-Control"]
        for response in page, script:
            assert response.headers["Vary"] == "Accept, Accept-Encoding, X-Forwarded-Prefix"
            for other, status in (("*", 304), ('"x"', 200), ("", 200)):
                answer = await http.get(response.url, headers={"If-None-Match": other})
                assert answer.status_code == status
            known = {"If-None-Match": f'"x", {response.headers["ETag"]}'}
            again = await http.get(response.url, headers=known)
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["ETag"] == response.headers["ETag"]


async def test_files_are_compressed_for_those_who_take_it() -> None:
    async with client(serving()) as http:
        url = files_of(await http.get("/docs"))[0]
        plain = await http.get(url, headers={"Accept-Encoding": "gzip;q=0"})
        packed = await http.get(url, headers={"Accept-Encoding": "br, gzip"})
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.content == plain.content
        assert int(packed.headers["Content-Length"]) < len(plain.content) / 2


async def test_all_of_it_has_less_than_150_kb_compressed() -> None:
    static = Path(sys.modules["potassium"].__file__ or "").parent / "pages" / "static"
    files = [path for path in static.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < MOST


async def test_handlers_and_routes_of_the_app_come_first() -> None:
    app = serving(
        "/",
        routes=[
            Route("/docs", lambda _: PlainTextResponse("mine")),
            Route("/openapi.json", lambda _: PlainTextResponse("mine, too")),
        ],
    )
    async with client(app) as http:
        assert (await http.post("/", json=3)).json() == 3
        assert (await http.get("/docs", headers=BROWSER)).text == "mine"
        assert (await http.get("/openapi.json")).text == "mine, too"
        assert (
            (await http.get("/", headers=BROWSER)).headers["Content-Type"].startswith("text/html")
        )
        refused = await http.get("/")  # as without a page
        assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


async def test_a_handler_that_answers_get_at_the_root_is_not_hidden() -> None:
    app = Potassium("test")
    app.handler("/", methods=["GET", "POST"])(_query)
    async with client(app) as http:
        assert (await http.get("/?value=3", headers=BROWSER)).json() == "3"


class Query(BaseModel):
    value: str


def _query(cache: dict[str, Any], item: Query) -> str:
    return item.value


@pytest.mark.parametrize("by", ["option", "variable"])
async def test_docs_can_be_turned_off(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"docs": False} if by == "option" else {}
    if by == "variable":
        monkeypatch.setenv("POTASSIUM_DOCS", "0")
    async with client(serving(**options)) as http:
        for path in ("/", "/docs", "/docs/", "/openapi.json"):
            assert (await http.get(path, headers=BROWSER)).status_code == 404


async def test_the_option_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POTASSIUM_DOCS", "0")
    async with client(serving(docs=True)) as http:
        assert (await http.get("/docs")).status_code == 200


def test_what_is_neither_on_nor_off_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="docs=True"):
        Potassium("test", docs="no")  # type: ignore[arg-type] # on purpose
    monkeypatch.setenv("POTASSIUM_DOCS", "off")
    with pytest.raises(UsageError, match="POTASSIUM_DOCS='off' must be 1 or 0"):
        Potassium("test")


async def test_with_api_keys_the_page_is_open_and_the_schema_is_not() -> None:
    async with client(serving(api_keys=["key"])) as http:
        page = await http.get("/", headers=BROWSER)
        assert page.status_code == 200
        assert (await http.get(files_of(page)[0])).status_code == 200
        assert (await http.get("/docs/")).status_code == 200
        assert (await http.get("/openapi.json")).status_code == 401
        assert (await http.get("/")).status_code == 401
        assert (await http.post("/docs")).status_code == 401
        assert (await http.get("/docs/assets")).status_code == 401


async def test_a_route_of_the_app_in_place_of_the_page_needs_a_key() -> None:
    own = [Route("/docs", lambda _: PlainTextResponse("mine")), Mount("/", Starlette())]
    async with client(serving(api_keys=["key"], routes=own)) as http:
        for path in ("/", "/docs", "/docs/assets/x.js"):
            assert (await http.get(path, headers=BROWSER)).status_code == 401


async def test_a_route_for_one_host_needs_a_key_there() -> None:
    """It comes before the page, which is elsewhere at the same paths."""
    secret = [Route(path, lambda _: PlainTextResponse("mine")) for path in ("/", "/docs")]
    own = [Host("mine.example", Starlette(routes=secret))]
    async with client(serving(api_keys=["key"], routes=own)) as http:
        for path in ("/", "/docs"):
            there = await http.get(path, headers={**BROWSER, "Host": "mine.example"})
            assert (there.status_code, "mine" in there.text) == (401, False)
            assert (await http.get(path, headers=BROWSER)).status_code == 200


@pytest.mark.parametrize("own", [Mount("/docs", Starlette()), Mount("/docs/assets", Starlette())])
async def test_there_is_no_page_where_its_files_would_be_hidden(own: Mount) -> None:
    """It would stay blank."""
    async with client(serving(routes=[own])) as http:
        for path in ("/", "/docs", "/docs/"):
            answer = await http.get(path, headers=BROWSER, follow_redirects=True)
            assert "<script" not in answer.text


async def test_a_route_below_docs_leaves_the_page_where_it_is() -> None:
    own = Route("/docs/{x}", lambda request: PlainTextResponse(request.path_params["x"]))
    async with client(serving(routes=[own])) as http:
        assert (await http.get("/docs/mine")).text == "mine"
        for path in ("/", "/docs", "/docs/"):
            page = await http.get(path, headers=BROWSER)
            assert (await http.get(files_of(page)[0])).status_code == 200


async def test_the_size_of_the_page_can_be_asked_for() -> None:
    async with client(serving()) as http:
        for url in ("/docs", files_of(await http.get("/docs"))[0]):
            asked, sent = await http.head(url), await http.get(url)
            assert (asked.status_code, asked.content) == (200, b"")
            assert asked.headers["Content-Length"] == sent.headers["Content-Length"]


async def test_open_paths_still_open_the_schema() -> None:
    keys = ApiKeys(["key"], open_paths=["/openapi.json"])
    async with client(serving(api_keys=keys)) as http:
        assert (await http.get("/openapi.json")).status_code == 200


async def test_the_page_knows_its_place_below_a_mount() -> None:
    app = serving()
    parent = Starlette(routes=[Mount("/ml", app)], lifespan=app.lifespan)
    transport = httpx.ASGITransport(parent)
    async with httpx.AsyncClient(transport=transport, base_url="http://parent") as http:
        for path in ("/ml/", "/ml/docs", "/ml/docs/"):
            urls = files_of(await http.get(path, headers=BROWSER))
            assert all(url.startswith("http://parent/ml/docs/assets/") for url in urls)
            assert (await http.get(urls[0])).status_code == 200


@pytest.mark.parametrize("said", ["/models/cats", "/models/cats/"])
async def test_a_proxy_may_say_which_prefix_it_has_removed(said: str) -> None:
    """Then a browser finds the files also at the prefix without its slash."""
    async with client(serving()) as http:
        page = await http.get("/", headers={**BROWSER, "X-Forwarded-Prefix": said})
        links = re.findall(r'(?:src|href)="([^"]+/assets/[^"]+)"', page.text)
        assert len(links) == 2
        assert all(link.startswith("/models/cats/docs/assets/") for link in links)
        assert "X-Forwarded-Prefix" in page.headers["Vary"]
        below = await http.get("/docs", headers={**BROWSER, "X-Forwarded-Prefix": said})
        assert files_of(below)


@pytest.mark.parametrize(
    "said", ["", "/", "//other.test", "https://other.test", "/a, /b", '/"><script>', "cats"]
)
async def test_what_is_no_prefix_is_ignored(said: str) -> None:
    async with client(serving()) as http:
        page = await http.get("/", headers={**BROWSER, "X-Forwarded-Prefix": said})
        for url in files_of(page):
            assert (await http.get(url)).status_code == 200


async def test_the_prefix_of_a_proxy_is_not_that_of_a_mount() -> None:
    parent = Starlette(routes=[Mount("/ml", serving())])
    transport = httpx.ASGITransport(parent)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        page = await http.get("/ml/", headers={**BROWSER, "X-Forwarded-Prefix": "/cats"})
        assert files_of(page)


def test_the_page_is_up_to_date() -> None:
    """It was built from the sources in web/: web/fingerprint.ts hashes them."""
    files = [path for path in (WEB / "src").rglob("*") if path.is_file()]
    files += [
        WEB / name
        for name in (
            "fingerprint.ts", "index.html", "package-lock.json", "svelte.config.js",
            "vite.config.ts",
        )
    ]  # fmt: skip
    found = hashlib.sha256()
    for name in sorted(path.relative_to(WEB).as_posix() for path in files):
        found.update(f"{name}\0".encode() + (WEB / name).read_bytes() + b"\0")
    page = Path(sys.modules["potassium"].__file__ or "").parent / "pages/static/index.html"
    (stamp,) = re.findall(r'<meta name="sources" content="(\w+)"', page.read_text())
    assert stamp == found.hexdigest(), "Run: npm ci && npm run build, in web/"


def test_the_page_costs_nothing_before_it_is_opened() -> None:
    code = (
        "import sys, potassium; app = potassium.Potassium('x');"
        "app.handler(lambda cache, x: x); app.build_middleware_stack();"
        "print('potassium.pages.assets' in sys.modules, 'importlib.resources' in sys.modules)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    ).stdout
    assert output == "False False\n"
