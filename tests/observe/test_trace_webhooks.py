"""Traces of webhooks: each attempt is a span by the conventions for HTTP clients."""

import asyncio
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode
from support.posts import Post, delivery
from support.traces import CLIENT, PARENT, TRACE, Recorded, provided

from potassium.observe.tracing.posts import TracedPosting
from potassium.observe.tracing.spans import Spans


async def attempt(spans: Recorded, post: Post, **fields: Any) -> ReadableSpan:
    await TracedPosting(post, Spans())(delivery(**fields))
    return spans.one("POST")


async def test_an_attempt_is_a_client_span_below_what_the_delivery_came_from(
    spans: Recorded,
) -> None:
    """With the receiver, which is told this span, and what came of it."""
    post = Post()
    span = await attempt(spans, post)
    assert span.kind is SpanKind.CLIENT
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == CLIENT
    assert span.context is not None
    assert post.sent() == f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert post.inside == [span.context.span_id]
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.full": "http://hook.test",
        "server.address": "hook.test",
        "server.port": 80,
        "potassium.request.id": "r-1",
        "potassium.webhook.id": "d-1",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert not trace.get_current_span().get_span_context().is_valid


async def test_a_further_attempt_says_which_one_it_is(spans: Recorded) -> None:
    """And which job it is about."""
    found = (await attempt(spans, Post(), attempts=2, job_id="j-1")).attributes or {}
    assert found["http.request.resend_count"] == 2
    assert found["messaging.message.id"] == "j-1"


@pytest.mark.parametrize(("status", "kind"), [(503, "503"), (404, "404"), (None, "no_answer")])
async def test_an_attempt_that_fails_is_an_error(
    spans: Recorded, status: int | None, kind: str
) -> None:
    """By the status of the answer, if there was one; a client's 4xx is its error, too."""
    span = await attempt(spans, Post(status))
    assert (span.attributes or {})["error.type"] == kind
    assert (span.attributes or {}).get("http.response.status_code") == status
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "it went wrong")


@pytest.mark.parametrize(
    ("url", "is_guarded", "shown"),
    [
        ("https://me:pw@hooks.test/services/T0/secret?token=secret", False, "https://hooks.test"),
        ("https://me:pw@hooks.test:8443/a?token=secret", True, "https://hooks.test:8443/a"),
        (f"https://hooks.test/{'a' * 5000}", True, f"https://hooks.test/{'a' * 1005}"),
    ],
)
async def test_a_url_is_shown_without_secrets_and_not_endlessly(
    spans: Recorded, url: str, is_guarded: bool, shown: str
) -> None:
    """As in the log: no user, no query, and no path of the app's own, which may be a key."""
    found = (await attempt(spans, Post(), url=url, is_guarded=is_guarded)).attributes or {}
    assert found["url.full"] == shown
    assert found["server.port"] == (8443 if ":8443" in url else 443)
    assert not any("secret" in str(value) or "pw" in str(value) for value in found.values())


@pytest.mark.parametrize("raised", [asyncio.CancelledError(), RuntimeError("no")])
async def test_an_attempt_that_is_broken_off_ends_its_span(
    spans: Recorded, raised: BaseException
) -> None:
    """Once; the server has stopped, which is no error."""
    with pytest.raises(type(raised)):
        await attempt(spans, Post(raises=raised))
    is_error = spans.one("POST").status.status_code is StatusCode.ERROR
    assert is_error is isinstance(raised, Exception)


@pytest.mark.parametrize("stored", [(), (("traceparent", "nonsense"),)])
async def test_a_delivery_without_a_trace_begins_one(spans: Recorded, stored: Any) -> None:
    assert (await attempt(spans, Post(), trace=stored)).parent is None


async def test_without_a_provider_a_delivery_is_posted_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the headers that are stored with it."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    post = Post()
    await TracedPosting(post, Spans())(delivery())
    assert post.sent() == PARENT


async def test_what_breaks_in_traces_costs_no_delivery() -> None:
    """It is posted with the headers that it had."""

    class Broken(TracerProvider):
        def get_tracer(self, *_: Any, **__: Any) -> Any:
            return self

        def start_span(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("no spans today")

    post = Post()
    with provided(Broken(shutdown_on_exit=False)):
        attempt = await TracedPosting(post, Spans())(delivery())
    assert attempt.status == 200
    assert post.sent() == PARENT


async def test_closing_closes_what_posts() -> None:
    post = Post()
    post.posted.append(delivery())
    await TracedPosting(post, Spans()).aclose()
    assert post.posted == []
