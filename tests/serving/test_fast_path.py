"""Where in an app a request is routed."""

from typing import Any

import httpx
import pytest
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from potassium import Potassium
from potassium.http.path import path_below_mount
from potassium.testing import client


class Passes:
    """Middleware, so that requests take the way through Starlette's router."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, *connection: Any) -> None:
        await self.app(*connection)


@pytest.mark.parametrize(
    ("path", "root", "below"),
    [
        ("/embed", "", "/embed"),
        ("/model/embed", "/model", "/embed"),
        ("/model/", "/model", "/"),
        ("/model", "/model", ""),
        ("/embed", "/model", "/embed"),  # a server that removes the prefix itself
        ("/modelx", "/model", "/modelx"),
        ("/modelx/embed", "/model", "/modelx/embed"),
        ("/model/model/embed", "/model", "/model/embed"),
    ],
)
def test_the_mount_is_taken_off_where_it_is_a_whole_prefix(
    path: str, root: str, below: str
) -> None:
    """A path that only begins with the same letters as the mount is left unchanged."""
    assert path_below_mount({"path": path, "root_path": root}) == below


@pytest.mark.parametrize("middleware", [[], [Middleware(Passes)]], ids=["fast", "routed"])
@pytest.mark.parametrize("registered", ["/embed", "/embed/", "embed/"])
async def test_a_handler_answers_with_and_without_a_slash(registered: str, middleware: Any) -> None:
    """However it was registered, and never with a redirect."""
    app = Potassium("test", middleware=middleware)
    app.handler(registered)(lambda cache, json_in: json_in)
    async with client(app) as http:
        for path in ("/embed", "/embed/"):
            assert (await http.post(path, json={"a": 1})).json() == {"a": 1}
            assert (await http.get(path)).headers["allow"] == "POST"


async def test_another_route_redirects_to_where_the_client_is() -> None:
    """The target has no scheme: a proxy in front of the server may have terminated TLS."""

    def page(_: Any) -> PlainTextResponse:
        return PlainTextResponse("page")

    routes = [
        Route("/with/", page),
        Route("/a b/{name}", page),
        Mount("/files", routes=[Route("/", page)]),
    ]
    app = Potassium("test", routes=routes)
    tls = {"X-Forwarded-Proto": "https"}
    async with client(app) as http:
        for asked, target in (
            ("/with?a=1&b=%20", "/with/?a=1&b=%20"),
            ("/healthz/", "/healthz"),
            ("/files", "/files/"),
            ("/a%20b/c%3Fd/", "/a%20b/c%3Fd"),
        ):
            answer = await http.get(asked, headers=tls)
            assert (answer.status_code, answer.headers["location"]) == (307, target)


@pytest.mark.parametrize("path", ["//evil.test/", "/nothing/", "//", "/"])
async def test_no_redirect_leads_to_another_host(path: str) -> None:
    """Nor to a path that there is not."""
    everything = Route("/{path:path}x", lambda _: PlainTextResponse("page"))
    app = Potassium(
        "test", routes=[everything, Route("//evil.test", lambda _: PlainTextResponse())]
    )
    app.handler("/other")(lambda cache, json_in: None)
    async with client(app) as http:
        answer = await http.send(
            http.build_request("GET", httpx.URL("http://a").copy_with(raw_path=path.encode()))
        )
    assert answer.status_code == 404
