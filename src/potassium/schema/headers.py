"""The headers of requests and responses."""

from dataclasses import dataclass

from potassium.schema.annotations import Json
from potassium.serving.plan import Plan

__all__ = [
    "RESPONSE_HEADERS",
    "Features",
    "header",
    "optional",
    "parameters",
    "request_id",
    "shown",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What an app offers for every call.

    Attributes:
        has_jobs: whether calls may run in the background.
        client_urls: whether clients may name webhook URLs.
        priorities: whether direct calls have priorities.

    """

    has_jobs: bool
    client_urls: bool
    priorities: bool

    @classmethod
    def of(cls, plan: Plan) -> "Features":
        """Return what an app with these parts offers."""
        return cls(
            has_jobs=plan.jobs is not None,
            client_urls=plan.webhooks.client_urls,
            priorities=plan.limits.priorities,
        )


def _text(description: str) -> Json:
    return {"description": description, "schema": {"type": "string"}}


RESPONSE_HEADERS: dict[str, Json] = {
    "X-Request-Id": _text("The id of the request: the client's own, or a new UUID.")
    | {"required": True},
    "Retry-After": {
        "description": "Seconds after which to try again; missing if that does not help.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": _text("How to authenticate."),
    "Accept": _text("The content type to send."),
    "Accept-Encoding": _text("The content codings to send."),
    "ETag": _text("The entity tag of the output, which never changes."),
    "Accept-Ranges": _text("The unit of ranges, bytes."),
    "Content-Range": _text("The range that is sent, or only the size (RFC 9110, section 14.4)."),
    "Location": _text("The path of the job.") | {"required": True},
    "Preference-Applied": _text("The preferences that were honored (RFC 7240)."),
}


def shown(*names: str) -> dict[str, Json]:
    """Return the headers that every response has, and those with these ``names``."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}


def optional(*names: str) -> dict[str, Json]:
    """Return headers that a response may have."""
    return {name: {**RESPONSE_HEADERS[name], "required": False} for name in names}


def parameters(features: Features, *, is_background: bool) -> list[Json]:
    """Return the request headers that a call of a handler understands.

    What is ignored if it is invalid is any text here: no value of it is refused.
    """
    shown = [request_id(), _prefer(features, is_background=is_background)]
    if not is_background:
        text = "`1` asks for the time in the queue and in the handler, as `Server-Timing`."
        shown.append(header("X-Timing", text, "1"))
    if features.has_jobs:
        text = "Requests with the same key and body are one background job. 1 to 255 characters."
        shown.append(header("Idempotency-Key", text))
    if features.has_jobs and features.client_urls:
        text = "Where to post the document of a background job when it has ended."
        shown.append(header("Webhook-Url", text))
    if features.has_jobs or features.priorities:
        what = "call" if features.priorities else "background job"
        text = f"The place of a {what} in the queue: low, normal or high."
        shown.append(header("X-Priority", text, "high"))
    return shown


def request_id() -> Json:
    """Return the header with the client's own id for a request."""
    text = "An id for the request, 1 to 128 visible ASCII characters, which the response repeats."
    return header("X-Request-Id", text)


def _prefer(features: Features, *, is_background: bool) -> Json:
    if is_background:
        text = "`wait=SECONDS` waits for the result of the job (RFC 7240)."
        return header("Prefer", text, "wait=10")
    text = "`wait=SECONDS` is the client's deadline (RFC 7240)."
    if features.has_jobs:
        text = (
            "`respond-async` runs the call in the background (RFC 7240). With it, `wait=SECONDS` "
            "waits for the result; without it, that is the client's deadline."
        )
    return header("Prefer", text, "wait=10")


def header(name: str, description: str, example: str | None = None) -> Json:
    """Return a request header that may be left out."""
    shown = {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
    }
    return shown if example is None else {**shown, "example": example}
