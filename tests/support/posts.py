"""What posts webhooks, without a network, and a delivery for it."""

from typing import Any

from opentelemetry import trace

from potassium.webhooks.model import Delivery, DeliveryAttempt
from support.traces import PARENT

__all__ = ["Post", "delivery"]


class Post:
    """Stands for what posts: it answers with ``status``, or not at all."""

    def __init__(self, status: int | None = 200, raises: BaseException | None = None) -> None:
        self.status = status
        self.raises = raises
        self.posted: list[Delivery] = []
        self.inside: list[int] = []

    async def __call__(self, delivery: Delivery) -> DeliveryAttempt:
        self.posted.append(delivery)
        self.inside.append(trace.get_current_span().get_span_context().span_id)
        if self.raises is not None:
            raise self.raises
        arrived = self.status == 200
        return DeliveryAttempt(
            delivery_id=delivery.id,
            url=delivery.shown_url,
            number=delivery.attempts + 1,
            at=0.0,
            duration=0.1,
            status=self.status,
            error=None if arrived else "it went wrong",
            next_at=None,
        )

    async def aclose(self) -> None:
        self.posted.clear()

    def sent(self) -> str:
        (delivery,) = self.posted
        return dict(delivery.trace)["traceparent"]


def delivery(url: str = "http://hook.test/done", **fields: Any) -> Delivery:
    found = {"trace": (("traceparent", PARENT),), "job_id": None, **fields}
    return Delivery(
        id="d-1", url=url, body=b"{}", request_id="r-1", created_at=0.0, due_at=0.0, **found
    )
