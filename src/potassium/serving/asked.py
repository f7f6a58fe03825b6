"""What the front does for a handler in a worker that calls another one, or submits a job."""

from typing import TYPE_CHECKING, Any, Protocol

from potassium.http.codec import decode
from potassium.http.reply import Reply
from potassium.http.results import reply_to

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from potassium.workers.asking import Question

__all__ = ["Calling", "answers"]


class Calling(Protocol):
    """Makes calls from Python code; see ``Calls``."""

    async def call(
        self,
        path: str,
        item: Any,
        *,
        timeout: float | None,  # noqa: ASYNC109 - as there
        priority: str,
    ) -> Any:
        """Run the handler at ``path``, and return its result."""

    async def submit(
        self, path: str, item: Any, *, priority: str, idempotency_key: str | None
    ) -> dict[str, Any]:
        """Store a call of the handler at ``path`` as a background job."""


def answers(calls: "Callable[[], Calling]") -> "Callable[[Question], Awaitable[Reply]]":
    """Return what answers questions, by making the calls."""

    async def answer(question: "Question") -> Reply:
        item = decode(question.item) if question.is_json else question.item
        make = calls().call if question.name == "call" else calls().submit
        return reply_to(await make(question.path, item, **question.options))

    return answer
