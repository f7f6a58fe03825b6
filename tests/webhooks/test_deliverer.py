"""Deliveries from the store to the receivers, on a clock that the test moves."""

import asyncio
import logging
import math
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import closing
from contextvars import ContextVar, copy_context
from itertools import pairwise
from typing import Any

import pytest
from support.manual_time import ManualLoop
from webhooks.fake_store import FakeStore, delivery_to

from potassium.config import Webhooks
from potassium.errors import StoreFailed
from potassium.webhooks.deliverer import Deliverer
from potassium.webhooks.model import Delivery, DeliveryAttempt
from potassium.webhooks.schedule import next_attempt

CALLER: ContextVar[str] = ContextVar("caller", default="nobody")

DAY = 24 * 3600.0
RETRIES = [5, 300, 1800, 7200, 18_000, 36_000, 36_000]  # seconds between the attempts


class FakePost:
    """Receivers that answer with the ``statuses`` of their hosts, 200 by default, or not at all."""

    def __init__(self, loop: ManualLoop) -> None:
        self.loop = loop
        self.statuses: dict[str, int] = {}
        self.hanging: set[str] = set()
        self.go = asyncio.Event()
        self.posted: list[tuple[float, str]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.is_closed = False
        self.callers: set[str] = set()

    async def __call__(self, delivery: Delivery) -> DeliveryAttempt:
        self.callers.add(CALLER.get())
        at = self.loop.now
        self.posted.append((at, delivery.id))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if delivery.host in self.hanging:
                await self.go.wait()
        finally:
            self.at_once -= 1
        status = self.statuses.get(delivery.host, 200)
        number = delivery.attempts + 1
        fails = status >= 300
        again = next_attempt(number, now=at, retry_after=None, random=lambda: 0.5)
        return DeliveryAttempt(
            delivery_id=delivery.id,
            url=delivery.shown_url,
            number=number,
            at=at,
            duration=0.0,
            status=status,
            error=f"the receiver answered {status}" if fails else None,
            next_at=again if fails and status != 410 else None,
        )

    async def aclose(self) -> None:
        self.is_closed = True


class Bench:
    """A deliverer between a fake store and fake receivers."""

    def __init__(self) -> None:
        self.loop = ManualLoop()
        self.store = FakeStore()
        self.post = FakePost(self.loop)
        self.deliverer: Deliverer | None = None
        self.tasks: list[asyncio.Task[Any]] = []

    def start(self, *deliveries: Delivery, is_durable: bool = True, **options: Any) -> None:
        self.store.waiting |= {delivery.id: delivery for delivery in deliveries}
        self.deliverer = Deliverer(
            self.store,
            Webhooks(**options),
            is_durable=is_durable,
            clock=self.loop.time,
            post=self.post,
        )
        self.loop.call_soon(self.deliverer.start)
        self.loop.rest()

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.loop.create_task(coroutine)
        self.tasks.append(task)
        self.loop.rest()
        return task

    def add(self, *deliveries: Delivery) -> None:
        assert self.deliverer is not None
        for delivery in deliveries:
            self.do(self.deliverer.add(delivery)).result()

    def close(self, within: float = 10.0) -> asyncio.Task[Any]:
        assert self.deliverer is not None
        return self.do(self.deliverer.close(within))

    def wait(self, seconds: float) -> None:
        """Let time pass, from one timer to the next."""
        end = self.loop.now + seconds
        while True:
            self.loop.rest()
            timers = self.loop._scheduled  # type: ignore[attr-defined]
            moments = [timer.when() for timer in timers if not timer.cancelled()]
            soonest = min(moments, default=math.inf)
            if soonest > end:
                break
            self.loop.now = soonest
        self.loop.now = end
        self.loop.rest()

    def release(self) -> None:
        self.loop.call_soon(self.post.go.set)
        self.loop.rest()

    @property
    def posted(self) -> list[str]:
        return [delivery_id for _, delivery_id in self.post.posted]

    def end(self) -> None:
        self.release()
        if self.deliverer is not None:
            self.close(0.0)
            self.wait(2.0)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    with closing(bench.loop):
        yield bench
        bench.end()


def many(count: int, host: str = "a", **members: Any) -> Sequence[Delivery]:
    return [delivery_to(f"http://{host}/", f"{host}{n}", **members) for n in range(count)]


def test_what_is_added_is_posted_at_once(bench: Bench) -> None:
    """A new delivery is posted without waiting for anything, and then leaves the store."""
    bench.start()
    bench.add(*many(1))
    assert bench.posted == ["a0"]
    assert (bench.store.waiting, bench.store.taken) == ({}, {})


def test_what_is_in_the_store_is_posted(bench: Bench) -> None:
    """Deliveries that another process left in the store are posted after the start."""
    bench.start(*many(3))
    assert bench.posted == ["a0", "a1", "a2"]


def test_what_was_added_without_telling_is_found_when_woken(bench: Bench) -> None:
    """A caller that writes to the store itself wakes the deliverer."""
    bench.start()
    bench.store.waiting["a0"] = many(1)[0]
    bench.loop.rest()
    assert bench.posted == []
    assert bench.deliverer is not None
    bench.loop.call_soon(bench.deliverer.wake)
    bench.loop.rest()
    assert bench.posted == ["a0"]


def test_what_others_add_is_found_after_a_minute(bench: Bench) -> None:
    """A store that others write to is checked from time to time."""
    bench.start()
    bench.store.waiting["a0"] = many(1)[0]
    bench.wait(60)
    assert bench.posted == ["a0"]


def test_what_fails_is_tried_again_on_the_schedule(bench: Bench) -> None:
    """A receiver that is down is tried eight times, with the same id, and then given up."""
    bench.post.statuses["a"] = 500
    bench.start(*many(1))
    bench.wait(3 * DAY)
    times = [at for at, _ in bench.post.posted]
    delays = [after - before for before, after in pairwise(times)]
    assert delays == pytest.approx(RETRIES, abs=0.02)
    assert set(bench.posted) == {"a0"}
    assert [attempt.number for attempt in bench.store.attempts] == list(range(1, 9))
    assert bench.store.waiting == {}


def test_what_arrives_later_is_not_tried_again(bench: Bench) -> None:
    """A receiver that comes back gets what it missed, once."""
    bench.post.statuses["a"] = 503
    bench.start(*many(1))
    bench.wait(6)
    bench.post.statuses.clear()
    bench.wait(DAY)
    assert len(bench.posted) == 3


def test_an_idle_deliverer_rests(bench: Bench) -> None:
    """Between two deliveries, the store is asked only now and then."""
    bench.start(*many(1, due_at=bench.loop.now + 3600))
    calls = bench.store.calls
    bench.wait(3599)
    assert bench.posted == []
    assert bench.store.calls - calls <= 3600 / 60 * 4
    bench.wait(1)
    assert bench.posted == ["a0"]


def test_hosts_have_few_deliveries_at_a_time(bench: Bench) -> None:
    """A host gets at most ``per_host`` at a time; the others follow when there is room."""
    bench.post.hanging.add("a")
    bench.start(*many(20), per_host=3)
    assert (len(bench.posted), bench.post.most_at_once) == (3, 3)
    bench.wait(5)
    assert len(bench.posted) == 3
    bench.release()
    assert (len(bench.posted), bench.post.most_at_once) == (20, 3)


def test_slow_receivers_delay_no_others(bench: Bench) -> None:
    """While a host has as many as it may, new deliveries to others are posted at once."""
    bench.post.hanging.add("a")
    bench.start(*many(200))
    bench.add(*many(3, "b"))
    assert bench.posted[8:] == ["b0", "b1", "b2"]


def test_slow_receivers_do_not_delay_what_is_due_later(bench: Bench) -> None:
    """While a host has as many as it may, a retry to another is on time."""
    bench.post.hanging.add("a")
    bench.start(*many(200), *many(1, "b", due_at=bench.loop.now + 30))
    bench.wait(29.98)
    assert "b0" not in bench.posted
    bench.wait(0.03)
    assert "b0" in bench.posted


@pytest.mark.parametrize("is_guarded", [False, True])
def test_many_slow_receivers_delay_no_others(bench: Bench, is_guarded: bool) -> None:
    """However many hosts have all that they may, a new delivery to another is posted at once."""
    slow = [f"h{n}" for n in range(60)]
    bench.post.hanging |= set(slow)
    bench.start(*(one for host in slow for one in many(20, host, is_guarded=is_guarded)))
    assert bench.post.at_once > 60
    bench.add(*many(1, "b", is_guarded=is_guarded))
    assert bench.posted[-1] == "b0"


def test_each_host_gets_a_turn(bench: Bench) -> None:
    """Where there are more slow hosts than places, a new delivery waits for one turn of each."""
    slow = [f"h{n}" for n in range(100)]
    bench.post.hanging |= set(slow)
    bench.start(*(one for host in slow for one in many(20, host)))
    bench.add(*many(1, "b"))
    assert "b0" not in bench.posted
    began = len(bench.posted)
    bench.release()  # all that is posted from now on arrives at once
    assert bench.posted.index("b0") <= began + len(slow)


def test_clients_receivers_take_no_places_of_the_apps(bench: Bench) -> None:
    """Even if all places for clients' URLs are taken, what is for the app's own is posted."""
    slow = [f"h{n}" for n in range(100)]
    bench.post.hanging |= set(slow)
    bench.start(*(one for host in slow for one in many(20, host, is_guarded=True)))
    assert bench.post.at_once <= 64
    bench.add(*many(1, "b"), *many(1, "h0:81", is_guarded=False))
    assert bench.posted[-2:] == ["b0", "h0:810"]


def test_ports_of_one_machine_delay_no_other_machine(bench: Bench) -> None:
    """All ports of a machine that clients name have one share of the places, and it is half."""
    slow = [f"a:{port}" for port in range(40)]
    bench.post.hanging |= set(slow)
    bench.start(*(one for host in slow for one in many(2, host, is_guarded=True)))
    assert bench.post.at_once == 32
    bench.add(*many(1, "b", is_guarded=True))
    assert bench.posted[-1] == "b0"


def test_a_slow_port_delays_no_other_port(bench: Bench) -> None:
    """Though they are one owner's, each port has its own limit, and its own line."""
    bench.post.hanging.add("a:1")
    bench.start(*many(50, "a:1", is_guarded=True), *many(1, "a:2", is_guarded=True))
    assert bench.post.at_once == 8
    assert "a:20" in bench.posted


def test_a_saturated_host_makes_no_busy_loop(bench: Bench) -> None:
    """The store is not asked over and over for deliveries that are due but have no room."""
    bench.post.hanging.add("a")
    bench.start(*many(200))
    calls = bench.store.calls
    bench.wait(60)
    assert bench.store.calls - calls <= 130


def test_few_deliveries_are_under_way_at_a_time(bench: Bench) -> None:
    """At most 64 deliveries are under way in all, and all arrive in the end."""
    bench.post.hanging |= {f"h{n}" for n in range(100)}
    bench.start(*(delivery for n in range(100) for delivery in many(3, f"h{n}")))
    assert bench.post.at_once == 64
    bench.release()
    assert (len(bench.posted), bench.post.most_at_once) == (300, 64)
    assert bench.store.waiting == {}


def test_gone_stops_deliveries_of_a_job_to_that_url(bench: Bench) -> None:
    """After a 410, nothing more is posted about that job to that URL."""
    bench.post.statuses["a"] = 410
    again = delivery_to("http://a/", "again", job_id="j-1", due_at=bench.loop.now + 60)
    bench.start(*many(1, job_id="j-1"), again)
    bench.wait(DAY)
    assert bench.posted == ["a0"]


def test_gone_does_not_stop_other_urls(bench: Bench) -> None:
    """After a 410, everything is posted to other URLs, also of that host and about that job."""
    bench.post.statuses["a"] = 410
    later = bench.loop.now + 60
    bench.start(
        *many(1, job_id="j-1"),
        *many(1, "b", job_id="j-1", due_at=later),
        delivery_to("http://a/other", "other", job_id="j-1", due_at=later),
        *many(1, "c", job_id="j-2", due_at=later),
    )
    bench.wait(DAY)
    assert sorted(bench.posted) == ["a0", "b0", "c0", "other"]


def test_gone_without_a_job_stops_that_delivery_alone(bench: Bench) -> None:
    """A 410 for a webhook of a direct call stops only that delivery."""
    bench.post.statuses["a"] = 410
    bench.start(*many(2), *many(1, "b"))
    bench.wait(DAY)
    assert sorted(bench.posted) == ["a0", "a1", "b0"]


def test_a_store_that_fails_is_asked_again(bench: Bench) -> None:
    """Once the store works again, everything in it is posted; nothing was lost meanwhile."""
    bench.store.failures = 10
    bench.start(*many(2))
    bench.wait(DAY)
    assert bench.posted == ["a0", "a1"]


def test_a_store_that_fails_is_left_alone_for_longer_and_longer(bench: Bench) -> None:
    """For each side, it is not asked more than twice a minute once it has failed for a while."""
    bench.store.failures = 10**9
    bench.start()
    bench.wait(120)
    calls = bench.store.calls
    bench.wait(600)
    assert 15 <= (bench.store.calls - calls) / 2 <= 21


def test_a_store_that_has_recovered_is_asked_soon_again(bench: Bench) -> None:
    """The back-off starts over after each success."""
    bench.store.failures = 8
    bench.start()
    bench.wait(300)
    bench.store.failures = 1
    bench.store.waiting["a0"] = many(1)[0]
    assert bench.deliverer is not None
    bench.loop.call_soon(bench.deliverer.wake)
    bench.wait(1.01)
    assert bench.posted == ["a0"]


def test_a_store_that_fails_is_logged_now_and_then(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has one line a minute about a store that is gone, however often it fails."""
    bench.store.failures = 10**9
    bench.start()
    bench.wait(600)
    messages = [record.getMessage() for record in caplog.records]
    assert 5 <= len(messages) <= 11
    assert all("The disk is full." in message for message in messages)


def test_a_mistake_in_a_store_is_logged_with_its_place(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a store raises, the deliverer goes on, and the log has the traceback."""
    bench.start()
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "waiting", None)
        bench.wait(61)
    bench.wait(61)
    bench.add(*many(1))
    assert bench.posted == ["a0"]
    (record,) = caplog.records
    assert record.exc_info


def test_what_came_of_a_delivery_is_not_forgotten(bench: Bench) -> None:
    """If the write of an attempt fails, it is retried: the receiver gets nothing twice."""
    bench.post.hanging.add("a")
    bench.start(*many(1, job_id="j-1"))
    bench.post.statuses["a"] = 410
    bench.store.failures = 5
    bench.release()
    bench.wait(DAY)
    assert bench.posted == ["a0"]
    assert [attempt.status for attempt in bench.store.attempts] == [410]
    assert bench.store.taken == {}


def test_all_that_came_is_stored_soon_after_the_store_is_back(bench: Bench) -> None:
    """However many wait for the store, they do not wait longer than it was away."""
    bench.post.hanging.add("a")
    bench.start(*many(8), per_host=8)
    bench.store.failures = 10**9
    bench.release()
    bench.wait(3)
    bench.store.failures = 0
    bench.wait(4)
    assert len(bench.store.attempts) == 8


def test_add_says_that_a_store_has_failed(bench: Bench) -> None:
    """The caller of ``add`` learns that the delivery was not stored."""
    bench.start()
    bench.store.failures = 1
    with pytest.raises(StoreFailed):
        bench.add(*many(1))


def test_each_failure_is_one_line(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A failed attempt is logged with its request, URL, number, and the time until the next one."""
    bench.post.statuses["a"] = 500
    bench.start(delivery_to("http://user:hunter2@a/done?token=hunter2"))
    (record,) = caplog.records
    assert record.name == "potassium.webhooks"
    assert record.levelno == logging.WARNING
    assert record.__dict__["request_id"] == "r-1"
    assert "job_id" not in record.__dict__
    assert record.getMessage() == (
        "webhook to http://a failed: the receiver answered 500 (attempt 1 of 8, request r-1); "
        "next attempt in 5 s"
    )


def test_the_log_names_the_job_of_a_webhook(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Not every webhook has one."""
    bench.post.statuses["a"] = 500
    bench.start(*many(1, job_id="j-1"))
    (record,) = caplog.records
    assert record.__dict__["job_id"] == "j-1"
    assert "(attempt 1 of 8, job j-1, request r-1)" in record.getMessage()


def test_what_is_given_up_is_an_error(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The log says that there is no further attempt."""
    bench.post.statuses["a"] = 500
    bench.start(*many(1, attempts=7))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().endswith("(attempt 8 of 8, request r-1); given up")


def test_what_arrives_is_not_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A success leaves no line in the log."""
    bench.start(*many(3))
    assert caplog.records == []


def test_the_stop_waits_for_deliveries_under_way(bench: Bench) -> None:
    """Deliveries under way arrive, and then the stop is over at once."""
    bench.post.hanging.add("a")
    bench.start(*many(2))
    closed = bench.close()
    assert not closed.done()
    bench.release()
    assert closed.done()
    assert (bench.store.taken, bench.post.is_closed) == ({}, True)


def test_the_stop_does_not_wait_for_ever(bench: Bench) -> None:
    """When its time is over, the stop ends the deliveries under way; the store keeps them."""
    bench.post.hanging.add("a")
    bench.start(*many(20))
    closed = bench.close(10)
    bench.wait(9.9)
    assert not closed.done()
    bench.wait(0.2)
    assert (closed.done(), bench.post.at_once, bench.post.is_closed) == (True, 0, True)
    assert len(bench.store.waiting) + len(bench.store.taken) == 20


def test_the_stop_still_posts_what_was_added_before(bench: Bench) -> None:
    """A result of the very last moment is posted, even if its host has no room at first."""
    bench.post.hanging.add("a")
    bench.start(per_host=1)
    bench.add(*many(3))
    closed = bench.close()
    assert bench.posted == ["a0"]
    bench.release()
    assert (bench.posted, closed.done()) == (["a0", "a1", "a2"], True)


def test_the_stop_sees_what_ends_while_it_looks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery that ends while the store is being asked lets the next one to its host begin."""
    bench.post.hanging.add("a")
    bench.start(*many(2), per_host=1)
    take_due = bench.store.take_due

    async def slowly(**options: Any) -> Sequence[Delivery]:
        due = await take_due(**options)
        bench.post.go.set()
        for _ in range(5):
            await asyncio.sleep(0)
        return due

    monkeypatch.setattr(bench.store, "take_due", slowly)
    assert bench.close().done()
    assert bench.posted == ["a0", "a1"]


def test_the_stop_does_not_wait_for_retries(bench: Bench) -> None:
    """A delivery that fails while the server stops is retried by the next server."""
    bench.post.statuses["a"] = 500
    bench.start(*many(1, due_at=bench.loop.now + 3))
    bench.store.waiting |= {delivery.id: delivery for delivery in many(1, "b")}
    closed = bench.close(60)
    assert (closed.done(), bench.posted) == (True, ["b0"])
    assert list(bench.store.waiting) == ["a0"]


def test_the_stop_does_not_wait_for_a_store_that_fails(bench: Bench) -> None:
    """With nothing under way, a stop is over even if the store is gone."""
    bench.store.failures = 10**9
    bench.start()
    assert bench.close().done()


def test_the_stop_does_not_wait_until_what_came_can_be_stored(bench: Bench) -> None:
    """While a store is away, the stop does not last longer; the next server posts it again."""
    bench.post.hanging.add("a")
    bench.start(*many(1))
    bench.store.failures = 10**9
    bench.release()
    bench.wait(40)
    assert bench.close().done()
    assert list(bench.store.taken) == ["a0"]


def test_the_stop_stores_what_came_if_the_store_is_back(bench: Bench) -> None:
    """A delivery that waits for the store is stored at the stop, not posted twice."""
    bench.post.hanging.add("a")
    bench.start(*many(1))
    bench.store.failures = 10**9
    bench.release()
    bench.wait(40)
    bench.store.failures = 0
    assert bench.close().done()
    assert bench.store.taken == {}


def test_a_stop_that_is_called_off_leaves_nothing_running(bench: Bench) -> None:
    """Cancelling the stop ends the deliveries too."""
    bench.post.hanging.add("a")
    bench.start(*many(1))
    closing_task = bench.close()
    bench.loop.call_soon(closing_task.cancel)
    bench.loop.rest()
    assert (closing_task.cancelled(), bench.post.at_once) == (True, 0)


def test_what_a_memory_loses_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The log says how many deliveries are lost: those cut off, and those still to be retried."""
    bench.post.hanging.add("a")
    bench.start(*many(2), *many(3, "b", due_at=bench.loop.now + DAY), is_durable=False)
    bench.close(1)
    bench.wait(2)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("5 webhook deliveries ")


def test_what_a_file_keeps_is_not_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A durable store loses nothing, so the stop logs nothing."""
    bench.start(*many(3, due_at=bench.loop.now + DAY))
    bench.close(1)
    assert caplog.records == []


def test_an_empty_memory_loses_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """If everything has arrived, the stop logs nothing."""
    bench.start(*many(3), is_durable=False)
    bench.close(1)
    assert (len(bench.posted), caplog.records) == (3, [])


def test_a_memory_that_fails_at_the_end_stops_all_the_same(bench: Bench) -> None:
    """A stop is over whatever the store does."""
    bench.start(is_durable=False)
    bench.store.failures = 10**9
    assert bench.close().done()


def test_what_never_started_can_be_closed(bench: Bench) -> None:
    """An app whose start failed can close a deliverer that never started."""
    deliverer = Deliverer(bench.store, Webhooks(), clock=bench.loop.time, post=bench.post)
    assert bench.do(deliverer.close(1)).done()
    assert bench.post.is_closed


def test_deliveries_have_no_context_variables_of_a_call(bench: Bench) -> None:
    """The first call that posts something starts what delivers for all of them."""
    calling = copy_context()
    calling.run(CALLER.set, "the first call")
    calling.run(bench.start, delivery_to("a.test"))
    assert len(bench.post.posted) == 1
    assert bench.post.callers == {"nobody"}
