"""What a replica adds to an app: one id of a request, and what is known of all replicas."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from potassium import Potassium
from potassium.ray.front import Front
from potassium.ray.pages import joined
from potassium.ray.sigterm import Sigterm
from potassium.ray.watch import Watch
from potassium.serving.composition import parts_of

KEYS = {"Authorization": "Bearer secret"}


class Everyone:
    """Ray's handle of all replicas."""

    def __init__(self, *fronts: Callable[[], Front], fails: BaseException | None = None) -> None:
        self.fronts, self.fails = fronts, fails

    def broadcast(self, name: str, request: dict[str, Any]) -> "Everyone":
        assert name == "answer"
        self.request = request
        return self

    async def results_async(self, **_: object) -> list[Any]:
        if self.fails is not None:
            raise self.fails
        return [RuntimeError("gone"), *[await one().answer(self.request) for one in self.fronts]]


def front(name: str, others: Everyone | None = None, **options: Any) -> Front:
    app = Potassium("fronts", metrics=True, **options)
    app.handler("/add")(lambda cache, json_in: json_in)
    parts = parts_of(app)
    return Front(
        app,
        Watch(parts.runtime, Sigterm()),
        replica=name,
        all_of=lambda: others or Everyone(),
        metrics=parts.observation.metrics_path,
    )


async def get(asked: Front, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    transport = httpx.ASGITransport(asked)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
        return await http.get(path, headers=headers or {})


async def test_the_id_of_a_request_is_left_to_ray() -> None:
    """Which adds it to every response, whether there is one or not."""
    assert "x-request-id" not in (await get(front("a"), "/healthz")).headers


async def test_one_replica_shows_the_status_of_all() -> None:
    others = Everyone(lambda: front("b"), lambda: front("c"))
    shown = (await get(front("a", others), "/_k/replicas")).json()["replicas"]
    assert {*shown} == {"a", "b", "c"}
    assert {one["name"] for one in shown.values()} == {"fronts"}
    assert (await get(front("a", others), "/_k/status")).json()["replica"] == "a"


async def test_one_replica_shows_what_all_have_measured() -> None:
    """However the page was asked for: it has to be read again."""
    others = Everyone(lambda: front("b"))
    asked = {"accept": "application/openmetrics-text; version=1.0.0", "accept-encoding": "gzip"}
    page = await get(front("a", others), "/metrics", asked)
    lines = [one for one in page.text.splitlines() if one.startswith("potassium_build_info")]
    assert len(lines) == 2
    assert 'replica="a"' in lines[0]
    assert 'replica="b"' in lines[1]


@pytest.mark.parametrize("fails", [TimeoutError(), RuntimeError("no Ray")])
async def test_replicas_that_do_not_answer_are_left_out(fails: BaseException) -> None:
    shown = await get(front("a", Everyone(fails=fails)), "/_k/replicas")
    assert {*shown.json()["replicas"]} == {"a"}


async def test_what_needs_a_key_needs_it_here_too() -> None:
    """The request is passed on as it is, so that each replica checks its key."""
    others = Everyone(lambda: front("b", api_keys=["secret"]))
    asked = front("a", others, api_keys=["secret"])
    assert (await get(asked, "/_k/replicas")).json()["code"] == "unauthorized"
    assert {*(await get(asked, "/_k/replicas", KEYS)).json()["replicas"]} == {"a", "b"}


def test_figures_of_one_name_stand_together() -> None:
    """As the format of Prometheus demands, with their help once."""
    page = b"# HELP x_total X.\n# TYPE x_total counter\nx_total 1.0\n"
    other = b"# HELP x_total X.\n# TYPE x_total counter\nx_total 2.0\n# TYPE y gauge\ny 3.0\n"
    assert joined({"a": page, "b": other}).decode().splitlines()[:4] == [
        "# HELP x_total X.",
        "# TYPE x_total counter",
        'x_total{replica="a"} 1.0',
        'x_total{replica="b"} 2.0',
    ]
