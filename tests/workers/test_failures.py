"""Exceptions that have crossed from a worker are to the front what they were in the worker."""

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, cast

import pytest
from opentelemetry.trace import NonRecordingSpan
from opentelemetry.trace.span import INVALID_SPAN_CONTEXT
from starlette.exceptions import HTTPException

from potassium import errors
from potassium.engine import Failure
from potassium.errors import (
    HandlerError,
    InvalidInput,
    OutOfMemory,
    PotassiumError,
    QueueFull,
    RangeNotSatisfiable,
    StoreUnavailable,
    StreamBroken,
    Unavailable,
    UnserializableOutput,
    UnsupportedEncoding,
    UnsupportedMediaType,
    UsageError,
)
from potassium.http.problem import failure_reply
from potassium.jobs.executor import Executor
from potassium.jobs.outcome import Outcome
from potassium.observe.tracing.spans import fail
from potassium.project.traces import is_of_user, user_lines
from potassium.serving.line_limit import _kind_of
from potassium.workers.failures import LONGEST, MOST, decode_failure, encode_failure

Raises = Callable[[], object]

WEIGHTS: dict[str, object] = {}
NO_TEXT = "<exception str() failed>"  # as Python shows such an exception


class NoCredit(PotassiumError):
    """An error of an app, with everything that it may have of its own."""

    status = HTTPStatus.PAYMENT_REQUIRED
    code = "no_credit"
    closes = True

    def __init__(self, balance: int) -> None:
        super().__init__(f"The balance is {balance}.")
        self.balance = balance

    @property
    def headers(self) -> Mapping[str, str]:
        return {**super().headers, "X-Balance": str(self.balance)}

    @property
    def members(self) -> Mapping[str, Any]:
        return {"balance": self.balance, "huge": 2**70}


class Busy(Unavailable):
    """An app's own kind of a class of ours."""

    code = "busy"


class TeapotError(HTTPException):
    pass


class CachedError(KeyError):
    pass


class BrokenTextError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class BrokenError(PotassiumError):
    @property
    def retry_after(self) -> int:
        raise ValueError("no time")


def plain() -> object:
    raise ValueError("inside")


def of_an_expression() -> object:
    numbers = [1, 0]
    return sum(
        numbers[0] / one
        for one in numbers
    )  # fmt: skip


def caused() -> object:
    try:
        return WEIGHTS["weights"]
    except KeyError as error:
        raise CachedError("no weights") from error


def in_context() -> object:
    try:
        return WEIGHTS["weights"]
    except KeyError:
        return int("three")


def of_no_context() -> object:
    try:
        return WEIGHTS["weights"]
    except KeyError:
        raise RuntimeError("hidden") from None


def noted() -> object:
    error = OSError(28, "No space left on device")
    error.add_note("while writing the cache\nof the model")
    raise error


def grouped() -> object:
    found: list[Exception] = []
    for each in (plain, caused, in_context):
        try:
            each()
        except Exception as error:  # noqa: BLE001 - any of them
            found.append(error)
    raise ExceptionGroup("several", [found[0], ExceptionGroup("inner", found[1:])]) from found[0]


def of_syntax() -> object:
    return compile("def f(:\n    pass\n", "model.py", "exec")


def deep(level: int = 30) -> object:
    return plain() if level == 0 else deep(level - 1)


def out_of_memory() -> object:
    try:
        return raising(RuntimeError("CUDA out of memory"))()
    except RuntimeError as error:
        raise OutOfMemory("The accelerator is out of memory.", retry_after=1) from error


def store_unavailable() -> object:
    try:
        return raising(TimeoutError("redis://store does not answer"))()
    except TimeoutError as error:
        raise StoreUnavailable from error


def in_a_circle() -> object:
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    raise first


def raising(error: BaseException) -> Raises:
    def call() -> object:
        raise error

    return call


CALLS = [
    *(plain, of_an_expression, caused, in_context, of_no_context, noted, grouped, of_syntax, deep),
    *(out_of_memory, store_unavailable, in_a_circle),
    *map(
        raising,
        (
            Exception(),
            KeyError("key"),
            UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
            BrokenTextError("x"),
            ValueError("half of a pair: \ud800"),
            SystemExit(3),
            KeyboardInterrupt(),
            GeneratorExit("left"),
            StopIteration(5),
            BaseExceptionGroup("leaving", [KeyboardInterrupt(), ValueError("x")]),
            UsageError("write it so"),
            NoCredit(-5),
            Busy("come back", retry_after=7),
            BrokenError("still an answer"),
            UnserializableOutput("no JSON"),
            StreamBroken("broken"),
            QueueFull("full", retry_after=2),
            PotassiumError("half of a pair: \ud800"),
            PotassiumError(cast("str", {"not": "text"})),
            InvalidInput("no", [{"loc": ("body", 0), "msg": "x", "type": "int", "input": 2**70}]),
            InvalidInput("no", [{"loc": [], "msg": "x", "type": "x", "ctx": {"one": object()}}]),
            UnsupportedMediaType("no", ("image/png", "image/jpeg")),
            UnsupportedEncoding("no", ("gzip",)),
            RangeNotSatisfiable(12),
            HTTPException(404),
            HTTPException(409, "taken", {"X-Holder": "7", "Retry-After": cast("str", 5)}),
            HTTPException(422, cast("str", {"fields": [1, {"a": None}]})),
            HTTPException(422, cast("str", ("a", "pair"))),
            HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "later"),
            HTTPException(1000, "not a status"),
            TeapotError(418, "short and stout"),
        ),
    ),
]


def name_of(call: Raises) -> str:
    error = raised_by(call)
    return type(error).__name__ if call.__name__ == "call" else call.__name__


def raised_by(call: Raises) -> BaseException:
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - any of them
        return error
    raise AssertionError("it did not raise")


def crossed(error: BaseException) -> Exception:
    return decode_failure(encode_failure(error))


def both(call: Raises) -> tuple[PotassiumError, PotassiumError]:
    """Return what the loop gets for a call here, and for one in a worker."""
    error = raised_by(call)
    there = Failure(crossed(error)).to_raise()
    return Failure(error).to_raise(), there


def answer(
    error: PotassiumError, caplog: pytest.LogCaptureFixture, *, debug: bool
) -> tuple[object, ...]:
    caplog.clear()
    reply = failure_reply(error, "/train", "r-1", debug=debug)
    return reply.status, reply.headers, reply.body, lines(caplog)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    format_ = logging.Formatter("%(name)s %(levelname)s %(handler)s %(message)s").format
    return [format_(record) for record in caplog.records]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("call", CALLS, ids=name_of)
def test_a_failed_call_is_answered_and_logged_as_in_one_process(
    call: Raises, debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Status, headers, body and log are the same, with every line of the traceback in both."""
    here, there = both(call)
    assert answer(there, caplog, debug=debug) == answer(here, caplog, debug=debug)


@pytest.mark.parametrize("call", CALLS, ids=name_of)
def test_a_failed_job_is_stored_and_logged_as_in_one_process(
    call: Raises, caplog: pytest.LogCaptureFixture
) -> None:
    """Its document, its lines, and whether it is tried again are the same."""
    job = SimpleNamespace(id="j", handler="/train", attempts=1, attempts_limit=3, request_id="r-1")

    def outcome(error: PotassiumError) -> tuple[Outcome, list[str]]:
        caplog.clear()
        run = Executor._failed(SimpleNamespace(_debug=True), error, SimpleNamespace(job=job))  # type: ignore[arg-type] # all that it looks at
        return run, lines(caplog)

    here, there = both(call)
    assert outcome(there) == outcome(here)


@pytest.mark.parametrize("call", CALLS, ids=name_of)
def test_a_failed_call_is_traced_as_in_one_process(call: Raises) -> None:
    """The exception event and the attributes of the span are the same."""
    here, there = both(call)
    for one, other in ((here, there), (here.__cause__, there.__cause__)):
        assert told(other) == told(one)


def told(error: BaseException | None) -> list[object]:
    found: list[object] = []

    class Recording(NonRecordingSpan):
        def is_recording(self) -> bool:
            return True

        def add_event(self, name: str, event: Any = None, at: Any = None) -> None:
            if event["exception.message"] == NO_TEXT:  # a trace has none
                event["exception.message"] = ""
            found.append(event)

        def set_attribute(self, key: str, value: object) -> None:
            found.append((key, value))

    if error is not None:
        fail(Recording(INVALID_SPAN_CONTEXT), error)
    return found


def subclasses(kind: type[PotassiumError]) -> list[type[PotassiumError]]:
    return [kind, *(one for sub in kind.__subclasses__() for one in subclasses(sub))]


OURS = [getattr(errors, name) for name in errors.__all__]


GIVEN: dict[type[PotassiumError], tuple[Any, ...]] = {
    RangeNotSatisfiable: (7,),
    InvalidInput: ("no", [{"loc": ["a"]}]),
    UnsupportedMediaType: ("no", ["a/b"]),
    UnsupportedEncoding: ("no", ["gzip"]),
}


def made(kind: type[PotassiumError]) -> PotassiumError:
    if issubclass(kind, Unavailable):
        return kind("not now", 3)
    return kind(*GIVEN.get(kind, ("no",)))


@pytest.mark.parametrize("kind", OURS)
def test_each_error_of_ours_crosses_with_all_its_attributes(kind: type[PotassiumError]) -> None:
    """Its class is the same, and so is all that it was given."""
    error = made(kind)
    there = crossed(error)
    assert type(there) is kind
    assert there.args == error.args
    assert vars(error).items() <= vars(there).items()
    for name in ("status", "code", "headers", "members", "closes"):
        assert getattr(there, name) == getattr(error, name)


def test_no_error_of_ours_is_forgotten() -> None:
    """Each class that the package defines is one that the front knows."""
    ours = {one for one in subclasses(PotassiumError) if one.__module__ == "potassium.errors"}
    assert ours == set(OURS)


def test_the_front_catches_an_apps_error_as_what_it_is_derived_from() -> None:
    """Its class is not known here; it has the name, and the nearest base class that is known."""
    there = crossed(Busy("come back", retry_after=7))
    assert isinstance(there, Unavailable)
    assert type(there) is not Busy
    assert (type(there).__name__, type(there).__module__) == ("Busy", Busy.__module__)
    assert there.retry_after == 7
    assert isinstance(crossed(CachedError("x")), KeyError)


class BothError(ValueError, NoCredit):
    def __init__(self) -> None:
        NoCredit.__init__(self, 3)


def test_an_error_that_is_also_one_of_ours_is_answered_as_ours() -> None:
    """Whatever stands first among its base classes."""
    there = crossed(BothError())
    assert isinstance(there, PotassiumError)
    assert there.code == "no_credit"


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_what_would_end_a_process_does_not_end_the_front(error: BaseException) -> None:
    """It is an Exception there, of the same name."""
    there = crossed(error)
    assert isinstance(there, Exception)
    assert type(there).__name__ == type(error).__name__


def test_failures_of_one_class_are_of_one_class_in_the_front() -> None:
    """The limit of log lines counts by class, and classes do not pile up."""
    assert type(crossed(NoCredit(1))) is type(crossed(NoCredit(2)))


def test_the_log_counts_failures_as_in_one_process() -> None:
    """Failures at one place are of one kind; another place is another kind."""

    def kind(call: Raises) -> tuple[object, ...]:
        error = crossed(raised_by(call))
        told = (type(error), error, error.__traceback__)
        return _kind_of(logging.LogRecord("potassium", logging.ERROR, "", 0, "failed", (), told))

    assert kind(plain) == kind(plain)
    assert kind(plain) != kind(in_context)


@pytest.mark.parametrize("call", CALLS, ids=name_of)
def test_an_init_that_failed_is_shown_as_in_one_process(call: Raises) -> None:
    """Of its traceback, the lines of the user's own files are shown."""
    error = raised_by(call)
    assert is_of_user(crossed(error)) == is_of_user(error)
    assert user_lines(crossed(error)) == user_lines(error)


def test_no_class_is_looked_up_by_a_name_from_a_worker() -> None:
    """Whatever a document says, what comes out is an exception and nothing was imported."""
    (record,) = json.loads(encode_failure(ValueError("x")))
    for kind in ("os.system", "builtins.eval", "potassium.errors.encode"):
        names = ["os", "system", "system"]
        (there,) = [decode_failure(json.dumps([{**record, "kind": kind, "names": names}]).encode())]
        assert isinstance(there, Exception)
        assert str(there) == "x"


def test_a_text_of_megabytes_is_cut() -> None:
    """The log gets its beginning, its end, and how much is missing."""
    text = str(crossed(ValueError("a" * 3_000_000 + "the end")))
    assert text.startswith("aaa")
    assert text.endswith("the end")
    assert f"[... {3_000_007 - LONGEST} characters left out ...]" in text
    assert len(text) < LONGEST + 100


def test_what_a_client_is_sent_is_not_cut() -> None:
    """A detail crosses whole."""
    there = cast("PotassiumError", crossed(PotassiumError("a" * 300_000)))
    assert there.detail == str(there) == "a" * 300_000


def test_a_traceback_without_end_is_cut() -> None:
    """Its first and its last calls are there, and how many are missing."""

    def endless(level: int) -> object:
        return endless(level + 1)

    error = raised_by(lambda: endless(0))
    places = traceback.extract_tb(crossed(error).__traceback__)
    assert len(places) == 201
    assert places[100].name.endswith("more calls")
    assert len(encode_failure(error)) < 100_000


def test_a_chain_without_end_is_cut() -> None:
    """The first ones cross."""
    error: Exception = ValueError("0")
    for number in range(5 * MOST):
        outer = ValueError(str(number))
        outer.__cause__, error = error, outer
    chain = []
    there: BaseException | None = crossed(error)
    while there is not None:
        chain.append(there)
        there = there.__cause__
    assert len(chain) == MOST
    assert str(chain[0]) == str(5 * MOST - 1)


def test_a_group_that_is_cut_is_still_an_error() -> None:
    """Of a hundred exceptions in a group, those cross that may; a group of none is no group."""
    inner = ExceptionGroup("inner", [ValueError("x"), ValueError("y")])
    there = crossed(ExceptionGroup("outer", [inner, *map(ValueError, range(100))]))
    assert isinstance(there, ExceptionGroup)
    assert len(there.exceptions) == MOST - 1
    assert str(there.exceptions[0]) == "inner (2 sub-exceptions)"
    assert not isinstance(there.exceptions[0], ExceptionGroup)


def test_an_exception_with_notes_without_end_is_cut() -> None:
    """The first hundred cross."""
    error = ValueError("x")
    for number in range(1000):
        error.add_note(str(number))
    assert crossed(error).__notes__ == [str(number) for number in range(100)]


class ExitingTextError(Exception):
    def __str__(self) -> str:
        raise SystemExit("no text")


def test_a_text_that_ends_the_process_ends_nothing() -> None:
    """The exception crosses without it."""
    assert str(crossed(ExitingTextError())) == NO_TEXT


class OddHeadersError(PotassiumError):
    headers = property(lambda self: [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    members = property(lambda self: 1 / 0)


def test_headers_of_one_name_cross() -> None:
    """Each of them is sent."""
    error = cast("PotassiumError", crossed(OddHeadersError("x")))
    sent = failure_reply(error, "/", "r-1", debug=False).headers
    assert [value for name, value in sent if name == b"set-cookie"] == [b"a=1", b"b=2"]


class BrokenHeadersError(PotassiumError):
    @property
    def headers(self) -> Mapping[str, str]:
        raise ValueError("none")


def test_headers_that_cannot_be_computed_are_left_out() -> None:
    """The error itself crosses."""
    there = cast("PotassiumError", crossed(BrokenHeadersError("x")))
    assert (there.detail, there.headers) == ("x", {})


def test_the_front_may_raise_what_has_crossed() -> None:
    """Its traceback goes on from where it was caught in the worker."""
    there = both(plain)[1].__cause__
    assert there is not None
    with pytest.raises(ValueError, match="inside") as caught:
        raise there
    names = [one.name for one in traceback.extract_tb(caught.value.__traceback__)]
    assert names == ["test_the_front_may_raise_what_has_crossed", "raised_by", "plain"]


def test_what_is_not_json_is_refused() -> None:
    """A worker does not write such a thing."""
    with pytest.raises(ValueError, match="Expecting value"):
        decode_failure(b"oops")


def test_a_handlers_own_cause_stays_the_cause() -> None:
    """A HandlerError that crosses is answered with the HTTPException behind it."""
    error = HandlerError("raised")
    error.__cause__ = HTTPException(404, "as it says")
    there = cast("PotassiumError", crossed(error))
    assert failure_reply(there, "/", "r-1", debug=False).status == 404
