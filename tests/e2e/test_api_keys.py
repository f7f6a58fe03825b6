"""API keys: who may call, and which paths need no key."""

from collections.abc import Iterator

import pytest
from e2e.server import Server, Start, error, serve_source
from e2e.wire import answer, head, post

SOURCE = """
from potassium import Potassium

app = Potassium("server"OPTIONS)
calls = []


@app.handler
def handler(cache, json_in):
    calls.append(json_in)
    return len(calls)


if __name__ == "__main__":
    app.serve()
"""
FROM_ENVIRONMENT = SOURCE.replace("OPTIONS", "")
FROM_ARGUMENT = SOURCE.replace("OPTIONS", ", api_keys=['argument-key']")
KEYS = {"POTASSIUM_API_KEYS": "first-key,second-key"}
GOOD = {
    "bearer": {"Authorization": "Bearer first-key"},
    "bearer in lower case": {"Authorization": "bearer first-key"},
    "X-Api-Key": {"X-Api-Key": "first-key"},
    "X-Banana-Api-Key": {"X-Banana-Api-Key": "first-key"},
    "another key": {"X-Api-Key": "second-key"},
}
BAD: dict[str, dict[bytes, bytes]] = {
    "no key": {},
    "an empty key": {b"X-Api-Key": b""},
    "a wrong key": {b"X-Api-Key": b"third-key"},
    "half a key": {b"X-Api-Key": b"first"},
    "a longer key": {b"X-Api-Key": b"first-key-"},
    "both keys as one": {b"X-Api-Key": b"first-key,second-key"},
    "another scheme": {b"Authorization": b"Basic first-key"},
    "no scheme": {b"Authorization": b"first-key"},
    "bytes that are no ASCII": {b"X-Api-Key": b"\xff\xfe\xe9"},
    "another header": {b"Api-Key": b"first-key"},
}
OPEN = ["/healthz", "/readyz", "/_k/warmup"]
STATUS = ["/_k/status", "/__status__"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(FROM_ENVIRONMENT, tmp_path_factory.mktemp("keys"), env=KEYS) as server:
        yield server


@pytest.mark.parametrize("way", GOOD)
def test_a_call_with_a_key_is_served(server: Server, way: str) -> None:
    """Any of the keys is accepted, in any of the three headers."""
    assert server.post("/", {}, headers=GOOD[way]).status_code == 200


@pytest.mark.parametrize("way", BAD)
def test_a_call_without_a_right_key_is_refused(server: Server, way: str) -> None:
    """Anything but a valid key is answered 401, and never with a server error."""
    headers = {b"Content-Type": b"application/json", **BAD[way]}
    with server.client() as http:
        assert error(http.post("/", content=b"{}", headers=headers)) == (401, "unauthorized")


def test_a_refused_call_is_told_what_to_send(server: Server) -> None:
    """A 401 names the scheme (RFC 9110, section 11.6.1)."""
    assert server.post("/", {}).headers["www-authenticate"].startswith("Bearer")


def test_a_refused_call_never_reaches_the_handler(server: Server) -> None:
    """A call without a valid key does not reach the handler."""
    before = server.post("/", {}, headers=GOOD["bearer"]).json()
    for _ in range(3):
        server.post("/", {})
    assert server.post("/", {}, headers=GOOD["bearer"]).json() == before + 1


def test_a_call_without_a_key_is_refused_before_its_body(server: Server) -> None:
    """A caller without a key is refused before it has to send 10 MB."""
    with server.connect() as connection:
        connection.sendall(head("/", "Content-Length: 10000000"))
        assert answer(connection).error() == (401, "unauthorized")


@pytest.mark.parametrize("path", OPEN)
def test_probes_need_no_key(server: Server, path: str) -> None:
    """Health, readiness and warm-up are open to load balancers, which have no key."""
    assert server.get(path).status_code == 200


@pytest.mark.parametrize("path", STATUS)
def test_status_needs_a_key(server: Server, path: str) -> None:
    """The status pages show what is going on, so they need a key."""
    with server.client() as http:
        statuses = [http.get(path, headers=headers).status_code for headers in ({}, GOOD["bearer"])]
    assert statuses == [401, 200]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_an_open_path_does_not_open_another_method(server: Server, path: str) -> None:
    """A POST to a probe's path does not get around the key."""
    assert server.post(path, {}).status_code in (401, 405)


DISGUISES = {
    "a Host that looks like an open path": b"GET /_k/status HTTP/1.1\r\nHost: a/healthz?\r\n\r\n",
    "a Host that cuts the path off": b"GET /_k/status HTTP/1.1\r\nHost: a/healthz#\r\n\r\n",
    "a query that is an open path": b"GET /_k/status?/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "an encoded path": b"GET /%5Fk/status HTTP/1.1\r\nHost: a\r\n\r\n",
    "a call to a Host with an open path": post("/", {}).replace(b"Host: a", b"Host: a/healthz?"),
    "a doubled header": post("/", {}, "X-Api-Key: third-key", "X-Api-Key: fourth-key"),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_request_in_disguise_needs_a_key(server: Server, disguise: str) -> None:
    """Only the path that is served decides whether a key is required."""
    with server.connect() as connection:
        connection.sendall(DISGUISES[disguise])
        assert answer(connection).error() == (401, "unauthorized")


def test_keys_stay_off_the_log(server: Server) -> None:
    """Neither a valid key nor an invalid one is logged."""
    server.post("/", {}, headers=GOOD["bearer"])
    server.post("/", {}, headers={"X-Api-Key": "third-key"})
    assert "-key" not in server.log()


def test_keys_may_be_given_to_the_app(start: Start) -> None:
    """``api_keys=`` takes precedence over the environment."""
    server = start(FROM_ARGUMENT, env=KEYS)
    keys = ["argument-key", "first-key"]
    statuses = [server.post("/", {}, headers={"X-Api-Key": key}).status_code for key in keys]
    assert statuses == [200, 401]


def test_a_mounted_app_keeps_its_keys(start: Start) -> None:
    """In a mounted app, the open paths are those below the prefix, and the parent's own."""
    source = FROM_ENVIRONMENT + (
        "\n\nfrom fastapi import FastAPI\n"
        "parent = FastAPI(lifespan=app.lifespan)\n"
        "parent.mount('/model', app)\n"
    )
    server = start(source, target="parent", ready="/model/readyz", env=KEYS)
    assert [server.get(f"/model{path}").status_code for path in [*OPEN, *STATUS]] == [
        *(200 for _ in OPEN),
        *(401 for _ in STATUS),
    ]
    assert server.post("/model/", {}).status_code == 401
    assert server.post("/model/", {}, headers=GOOD["bearer"]).status_code == 200
