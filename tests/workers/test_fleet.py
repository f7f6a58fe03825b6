"""The workers of an app: who gets which call, and what becomes of it when a worker dies."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from support.fake_worker import FakeCall, FakeWorker
from support.fleet_bench import FleetBench
from support.operations import operation_on

from potassium.config import Batch
from potassium.engine import Errand, Job, Operation, Priority, State
from potassium.engine.stream import CHUNK_OVERHEAD
from potassium.errors import DeadlineExceeded, Draining, WorkerDied, WorkerFailed
from potassium.workers import remote
from potassium.workers.arrivals import NOBODY
from potassium.workers.frames import FromWorker
from potassium.workers.notes import COST, NUMBER, SHARE
from potassium.workers.outcomes import encode_outcome
from potassium.workers.post import Post, PostState
from potassium.workers.remote import ACKNOWLEDGED
from potassium.workers.restarts import GOOD_STRETCH, JITTER, PAUSES

Make = Callable[..., FleetBench]


def what_happened(post: Post) -> str:
    """Return how the last worker of a post has ended."""
    return post.history.what_happened


def plain(name: str = "plain", mean: float | None = 1.0, **options: Any) -> Operation:
    """Return an operation whose calls are known to take ``mean`` seconds; None if not known."""
    operation = operation_on(name, _nothing, **options)
    if mean is not None:
        operation.service_time.add(mean)
    return operation


def batched(mean: float | None = 1.0) -> Operation:
    return plain("batched", mean, batch=Batch(max_size=3, max_delay=0.0))


def streaming() -> Operation:
    return plain("stream", None, may_stream=True)


def prepared() -> Operation:
    return plain("prepared", prepare=_nothing)


def _nothing(argument: Any) -> Any:
    return argument


@pytest.fixture
def bench() -> Iterator[Make]:
    made: list[FleetBench] = []

    def make(*operations: Operation, start: bool = True, **options: Any) -> FleetBench:
        bench = FleetBench(*operations, **options)
        made.append(bench)
        if start:
            bench.start()
        return bench

    yield make
    for one in made:
        one.close()


# Who gets a call.


def test_a_call_returns_what_its_worker_has_returned(bench: Make) -> None:
    """It is begun and ended once, and holds no place afterwards."""
    operation = plain()
    here = bench(operation)
    here.call(operation, "a")
    one, other = here.spawner.workers
    assert [call.name for call in one.begin()] == ["a"]
    assert not other.groups
    one.finish()
    here.rest()
    assert here.outcome("a") == "a"
    assert here.engine.capacity.waiting == 0


def test_an_idle_worker_is_served_first(bench: Make) -> None:
    """The second of two calls goes to the worker that has none."""
    operation = plain()
    here = bench(operation)
    here.call(operation, "a")
    here.call(operation, "b")
    assert [len(worker.groups) for worker in here.spawner] == [1, 1]


def test_a_worker_gets_no_second_group_while_another_one_is_idle(bench: Make) -> None:
    """Also if its first one is so short that it could have the next one at once."""
    operation = batched(mean=0.0001)
    here = bench(operation)
    here.call(operation, *"abcdefghijkl")
    groups = [[names_of(group) for _, group in worker.groups] for worker in here.spawner]
    assert groups == [["abc", "ghi"], ["def", "jkl"]]


def names_of(calls: Sequence[FakeCall]) -> str:
    return "".join(call.name for call in calls)


def test_a_busy_worker_gets_its_next_group_when_the_first_is_about_to_end(bench: Make) -> None:
    """Not before its last millisecond: until then, another one could take it."""
    operation = plain(mean=1.0)
    here = bench(operation)
    here.call(operation, *"abc")
    one, other = here.spawner.workers
    one.begin()
    other.begin()
    here.pass_time(0.9989)
    assert (len(one.groups), len(other.groups)) == (1, 1)
    here.pass_time(0.0002)
    assert sorted((len(one.groups), len(other.groups))) == [1, 2]


def test_a_worker_never_has_more_than_two_groups(bench: Make) -> None:
    """However late it is with the first one."""
    operation = plain(mean=1.0)
    here = bench(operation, devices=1)
    here.call(operation, *"abcd")
    (worker,) = here.spawner.workers
    worker.begin()
    for _ in range(4):
        here.pass_time(0.2501)
    assert [names_of(calls) for _, calls in worker.groups] == ["", "b"]


def test_a_call_behind_one_that_goes_on_for_too_long_is_given_back(bench: Make) -> None:
    """Another worker runs it, at its old rank."""
    operation = plain(mean=1.0)
    here = bench(operation)
    here.call(operation, *"abcd")
    one, other = here.spawner.workers
    one.begin()
    other.begin()
    here.pass_time(0.9995)
    assert names_of(one.groups[1][1]) == "c"
    here.pass_time(0.01)
    assert not one.groups[1][1]
    assert [call.name for call in other.finish()] == ["b"]
    here.rest()
    assert [here.run_next(other)[0] for _ in range(2)] == ["c", "d"]
    assert here.engine.capacity.waiting == 0


def test_a_call_whose_caller_has_left_is_not_put_back(bench: Make) -> None:
    """It left while the worker gave it back."""
    operation = plain(mean=1.0)
    here = bench(operation, devices=1)
    here.call(operation, *"ab")
    (worker,) = here.spawner.workers
    worker.begin()
    here.pass_time(0.9995)
    assert names_of(worker.groups[1][1]) == "b"
    worker.is_mute = True
    here.pass_time(0.01)
    assert not worker.groups[1][1]
    here.leave("b")
    worker.speak()
    here.rest()
    worker.finish()
    here.rest()
    assert not worker.groups
    assert here.engine.capacity.waiting == 0


def test_a_call_that_is_given_back_goes_before_those_behind_it(bench: Make) -> None:
    """At its old rank, also if no other worker has begun one of them."""
    operation = plain(mean=1.0)
    here = bench(operation, devices=1)
    here.call(operation, *"abc")
    (worker,) = here.spawner.workers
    worker.begin()
    here.pass_time(0.9995)
    assert names_of(worker.groups[1][1]) == "b"
    here.pass_time(0.01)
    assert worker.returned
    worker.finish()
    here.rest()
    assert [here.run_next(worker)[0] for _ in range(2)] == ["b", "c"]


def test_a_call_whose_turn_is_about_to_come_is_not_wanted_back(bench: Make) -> None:
    """Although another worker is idle: to send it there would take as long."""
    operation = plain(mean=1.0)
    here = bench(operation)
    here.call(operation, *"abc")
    one, other = here.spawner.workers
    one.begin()
    other.begin()
    here.pass_time(0.9995)
    (late,) = [worker for worker in (one, other) if len(worker.groups) == 2]
    early = other if late is one else one
    early.finish()
    here.rest()
    assert not early.groups
    assert not late.recalled


def test_a_group_is_wanted_back_once(bench: Make) -> None:
    """However long its worker takes to give it back."""
    operation = plain(mean=1.0)
    here = bench(operation, devices=1)
    here.call(operation, *"ab")
    (worker,) = here.spawner.workers
    worker.begin()
    here.pass_time(0.9995)
    worker.is_mute = True
    for _ in range(3):
        here.pass_time(0.01)
        here.do(here.fleet.wake)
    assert len(worker.recalled) == 1
    worker.speak()
    here.rest()


def test_a_call_behind_one_that_began_early_waits_for_its_turn(bench: Make) -> None:
    """What runs before it is expected to end a second after it has begun."""
    operation = plain(mean=1.0)
    here = bench(operation, devices=1)
    here.call(operation, *"abc")
    (worker,) = here.spawner.workers
    worker.begin()
    here.pass_time(0.5)
    worker.finish()
    here.rest()
    worker.begin()
    assert names_of(worker.groups[1][1]) == "c"
    here.pass_time(0.6)
    assert not worker.recalled


def test_what_has_failed_of_a_group_that_is_given_back_is_not_run_again(bench: Make) -> None:
    """A call that could not be prepared has its outcome; the others go back."""
    operation, short = plain(mean=1.0), plain("short", mean=0.0004)
    here = bench(operation, short, devices=1)
    here.call(operation, "a")
    here.call(short, "b", "c")
    (worker,) = here.spawner.workers
    worker.begin()
    here.pass_time(0.9995)
    assert names_of(worker.groups[1][1]) == "bc"
    worker.fail_early(worker.groups[1][1][0], DeadlineExceeded("no"))
    here.pass_time(0.01)
    assert isinstance(here.outcome("b"), DeadlineExceeded)
    worker.finish()
    here.rest()
    assert here.run_next(worker) == ["c"]
    assert not worker.groups


def test_calls_of_unknown_duration_are_not_handed_over_ahead(bench: Make) -> None:
    """As nobody knows when the worker is free."""
    operation = plain(mean=None)
    here = bench(operation, devices=1)
    here.call(operation, *"ab")
    (worker,) = here.spawner.workers
    worker.begin()
    here.pass_time(100.0)
    assert len(worker.groups) == 1


def test_while_enough_wait_each_worker_has_its_next_call(bench: Make) -> None:
    """It need not wait until its first one is about to end."""
    operation = plain(mean=1.0)
    here = bench(operation)
    here.call(operation, *"abcdef")
    assert [[names_of(calls) for _, calls in one.groups] for one in here.spawner.workers] == [
        ["a", "c"],
        ["b", "d"],
    ]


def test_a_call_that_waits_is_run_by_a_worker_that_has_nothing_to_do(bench: Make) -> None:
    """Although another one was given it before, while more were waiting."""
    operation = plain(mean=1.0)
    here = bench(operation)
    here.call(operation, *"abcde")
    one, other = here.spawner.workers
    one.begin()
    ran = []
    while other.groups:
        ran += here.run_next(other)
    assert ran == list("bdec")
    assert not one.next_calls


def test_whoever_is_free_first_gets_the_next_call(bench: Make) -> None:
    """Whichever worker had the earlier one."""
    operation = plain()
    here = bench(operation)
    here.call(operation, *"abc")
    one, other = here.spawner.workers
    one.begin()
    assert here.run_next(other) == ["b"]
    assert names_of(other.next_calls) == "c"
    assert not one.next_calls


def test_calls_are_begun_in_order_of_admission_over_all_workers(bench: Make) -> None:
    """Here, of two workers that take turns."""
    operation = plain()
    here = bench(operation)
    here.call(operation, *"abcdef")
    names = [here.run_next(worker)[0] for _ in range(3) for worker in here.spawner]
    assert names == list("abcdef")


def test_urgent_calls_go_first_over_all_workers(bench: Make) -> None:
    """With priorities, to whichever worker is free."""
    operation = plain()
    here = bench(operation, limits={"priorities": True})
    here.call(operation, "a", "b")
    here.call(operation, "low", priority=Priority.LOW)
    here.call(operation, "normal")
    here.call(operation, "high", priority=Priority.HIGH)
    one, other = here.spawner.workers
    here.run_next(other)
    here.run_next(one)
    assert [here.run_next(worker)[0] for worker in (other, one, other)] == ["high", "normal", "low"]


def test_a_background_call_waits_until_a_worker_is_free(bench: Make) -> None:
    """It is not handed over ahead: a direct call that comes meanwhile goes first."""
    operation = plain(mean=1.0)
    here = bench(operation, devices=1)
    here.call(operation, "a")
    here.call(operation, "job", is_background=True)
    (worker,) = here.spawner.workers
    here.pass_time(0.9995)
    assert len(worker.groups) == 1
    here.call(operation, "b")
    assert len(worker.groups) == 2
    assert [here.run_next(worker)[0] for _ in range(3)] == ["a", "b", "job"]


def test_a_batch_is_chosen_from_all_that_waits(bench: Make) -> None:
    """And the next one from what is left, for another worker."""
    operation = batched()
    here = bench(operation)
    here.call(operation, *"abcde")
    assert [names_of(worker.next_calls) for worker in here.spawner] == ["abc", "de"]


def test_each_worker_has_as_many_streams_as_may_take_turns(bench: Make) -> None:
    """The others wait in the queue, for whichever is free first."""
    operation = streaming()
    here = bench(operation)
    here.call(operation, *"abc")
    one, other = here.spawner.workers
    for worker in (one, other):
        worker.begin()
        worker.open()
    here.rest()
    assert not one.groups
    assert not other.groups
    assert operation.open_streams == 2
    other.end(other.streams[0])
    here.rest()
    assert names_of(other.next_calls) == "c"
    assert operation.open_streams == 1


def test_a_stream_that_has_stalled_leaves_its_turns_to_another_one(bench: Make) -> None:
    """On the same worker."""
    operation = streaming()
    here = bench(operation, devices=1)
    here.call(operation, *"ab")
    (worker,) = here.spawner.workers
    worker.begin()
    worker.open()
    here.rest()
    assert not worker.groups
    worker.stall(worker.streams[0])
    here.rest()
    assert names_of(worker.next_calls) == "b"


def test_a_worker_may_have_twice_as_many_streams_as_take_turns(bench: Make) -> None:
    """However many of them have stalled: each keeps its memory."""
    operation = streaming()
    here = bench(operation, devices=1)
    here.call(operation, *"abc")
    (worker,) = here.spawner.workers
    for _ in "ab":
        worker.begin()
        worker.stall(worker.open())
        here.rest()
    assert not worker.groups
    worker.end(worker.streams[0])
    here.rest()
    assert names_of(worker.next_calls) == "c"


def test_a_stream_that_waits_in_a_worker_keeps_a_later_one_out(bench: Make) -> None:
    """It is parked there, and is the next to open."""
    operation = streaming()
    here = bench(operation, devices=1)
    here.call(operation, "a")
    (worker,) = here.spawner.workers
    worker.park()
    here.rest()
    here.call(operation, "b")
    assert not worker.groups


def test_of_idle_workers_one_without_streams_goes_first(bench: Make) -> None:
    """It would have to wait for their steps."""
    operation, other_operation = streaming(), plain()
    here = bench(operation, other_operation)
    here.call(operation, "stream")
    one, other = here.spawner.workers
    one.begin()
    one.open()
    here.rest()
    here.call(other_operation, "a")
    assert names_of(other.next_calls) == "a"


def test_a_worker_gets_no_more_calls_than_it_can_keep_track_of(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the places in its page are for one group or batch more."""
    monkeypatch.setattr(remote, "SLOTS", 4)
    operation = plain("stream", None, may_stream=True, streams=4)
    here = bench(operation, devices=1)
    here.call(operation, *"abc")
    (worker,) = here.spawner.workers
    for _ in "ab":
        worker.begin()
        worker.open()
        here.rest()
    assert not worker.groups
    worker.end(worker.streams[0])
    here.rest()
    assert names_of(worker.next_calls) == "c"


# What the front knows of them.


def test_the_estimated_wait_is_that_of_the_workers_that_serve(bench: Make) -> None:
    """Half as long with two of them as with one."""
    operation = plain(mean=1.0)
    here = bench(operation)
    here.call(operation, *"abcdef")
    assert here.engine.estimated_wait(operation) == 2.0  # two run
    here.die(here.worker_of(0))
    assert here.engine.estimated_wait(operation) == 5.0
    here.worker_of(0).load()
    here.rest()
    assert here.engine.estimated_wait(operation) == 2.0  # two run again


def test_a_result_that_is_being_finished_holds_a_place(bench: Make) -> None:
    """Until it is sent; the worker goes on meanwhile."""
    operation = plain()
    here = bench(operation, devices=1)
    here.call(operation, "a", "b")
    (worker,) = here.spawner.workers
    worker.begin()
    worker.hand_to_pool()
    here.rest()
    assert names_of(worker.next_calls) == "b"
    assert here.engine.capacity.waiting == 1
    worker.finished()
    here.rest()
    assert here.outcome("a") == "a"
    assert here.engine.capacity.waiting == 0


@pytest.mark.parametrize("chunk_first", [True, False])
def test_an_open_stream_holds_no_place(bench: Make, chunk_first: bool) -> None:
    """Whether its first chunk or the end of its turn comes first."""
    operation = streaming()
    here = bench(operation, devices=1)
    here.call(operation, "a")
    (worker,) = here.spawner.workers
    (call,) = worker.begin()
    if chunk_first:
        worker.push(call, b"x")
        here.rest()
    worker.open()
    here.rest()
    if not chunk_first:
        worker.push(call, b"x")
        here.rest()
    assert here.engine.capacity.waiting == 0


def test_a_worker_acknowledges_what_the_reader_has_taken(bench: Make) -> None:
    """In steps of 128 KiB."""
    operation = streaming()
    here = bench(operation, devices=1)
    here.call(operation, "a")
    (worker,) = here.spawner.workers
    worker.begin()
    call = worker.open()
    worker.push(call, b"x" * 100_000)
    here.rest()
    assert call.taken == 0
    worker.push(call, b"x" * 100_000)
    here.rest()
    assert call.taken == 2 * (100_000 + CHUNK_OVERHEAD)
    worker.push(call, b"x" * 100_000)
    here.rest()
    assert call.taken == 2 * (100_000 + CHUNK_OVERHEAD)
    worker.end(call)
    here.rest()
    assert here.outcome("a") == [b"x" * 100_000] * 3


def test_a_stream_of_a_group_that_has_overtaken_another_holds_no_place(bench: Make) -> None:
    """What was to run before it is still being prepared in the worker."""
    operation, first = streaming(), plain(mean=1.0)
    here = bench(operation, first, devices=1)
    here.call(first, "a")
    here.call(operation, "stream")
    (worker,) = here.spawner.workers
    assert here.engine.capacity.waiting == 1
    worker.groups.reverse()
    worker.begin()
    worker.open()
    here.rest()
    assert here.engine.capacity.waiting == 0
    assert here.run_next(worker) == ["a"]


def test_chunks_that_come_together_are_acknowledged_as_what_they_take(bench: Make) -> None:
    """The worker counts each of them with what it takes beside its bytes."""
    operation = streaming()
    here = bench(operation, devices=1)
    here.call(operation, "a")
    (worker,) = here.spawner.workers
    worker.begin()
    call = worker.open()
    chunks = [b"x"] * (ACKNOWLEDGED // (1 + CHUNK_OVERHEAD) + 1)
    worker.push(call, *chunks)
    here.rest()
    assert call.taken == len(chunks) * (1 + CHUNK_OVERHEAD)


UNKNOWN = 10_000  # the number of no call and no group
ABOUT_UNKNOWN = {
    FromWorker.DONE: encode_outcome(UNKNOWN, Job(plain(), None, NOBODY)),
    FromWorker.GROUP_DONE: [NUMBER.pack(UNKNOWN)],
    FromWorker.RETURNED: [NUMBER.pack(UNKNOWN)],
    FromWorker.PREPARED: [COST.pack(UNKNOWN, 1.0)],
    FromWorker.BEGUN: [NUMBER.pack(UNKNOWN)],
    FromWorker.PROGRESS: [SHARE.pack(UNKNOWN, 0.5), b"\0"],
}


@pytest.mark.parametrize("kind", list(ABOUT_UNKNOWN), ids=lambda kind: kind.name)
def test_what_a_worker_tells_of_a_call_that_is_over_is_ignored(
    bench: Make, kind: FromWorker
) -> None:
    """It was on its way when the front forgot the call."""
    operation = plain()
    here = bench(operation, devices=1)
    (worker,) = here.spawner.workers
    here.do(lambda: worker.send(kind, *ABOUT_UNKNOWN[kind]))
    here.call(operation, "a")
    assert here.run_next(worker) == ["a"]
    assert here.engine.capacity.waiting == 0


def test_the_estimated_wait_without_a_worker_is_that_of_one(bench: Make) -> None:
    """One will come."""
    operation = plain(mean=1.0)
    here = bench(operation, devices=1)
    here.die(here.worker_of(0))
    here.call(operation, *"ab")
    assert here.engine.estimated_wait(operation) == 2.0


# What becomes of the calls of a worker that dies.


def test_a_call_that_had_begun_fails_and_is_not_run_again(bench: Make) -> None:
    """Its caller hears at once; the other worker gets nothing."""
    operation = plain()
    here = bench(operation)
    here.call(operation, "a")
    one, other = here.spawner.workers
    one.begin()
    here.die(one)
    assert isinstance(here.outcome("a"), WorkerDied)
    assert not other.groups
    assert here.engine.capacity.waiting == 0


def test_a_call_that_had_not_begun_is_run_by_another_worker(bench: Make) -> None:
    """Its caller notices nothing."""
    operation = plain()
    here = bench(operation)
    here.call(operation, "a")
    one, other = here.spawner.workers
    here.die(one)
    assert here.run_next(other) == ["a"]
    assert here.outcome("a") == "a"


def test_a_call_in_the_place_of_one_that_has_ended_has_not_begun(bench: Make) -> None:
    """The worker's page says of each call by itself what it has come to."""
    operation = plain()
    here = bench(operation)
    one, other = here.spawner.workers
    here.call(operation, "a")
    assert here.run_next(one) == ["a"]
    here.call(operation, "b")
    assert one.groups
    here.die(one)
    assert here.run_next(other) == ["b"]


def test_a_call_that_goes_back_is_in_front_of_later_ones(bench: Make) -> None:
    """At its old rank."""
    operation = plain()
    here = bench(operation)
    here.call(operation, *"abcd")
    one, other = here.spawner.workers
    other.begin()
    here.die(one)
    assert [call.name for call in other.finish()] == ["b"]
    here.rest()
    assert [here.run_next(other)[0] for _ in range(3)] == ["a", "c", "d"]


def test_a_batch_that_had_begun_fails_as_a_whole(bench: Make) -> None:
    """One that had not is run elsewhere."""
    operation = batched()
    here = bench(operation)
    here.call(operation, *"abcdef")
    one, other = here.spawner.workers
    one.begin(together=3)
    here.die(one)
    assert all(isinstance(here.outcome(name), WorkerDied) for name in "abc")
    here.die(other)
    here.worker_of(0).load()
    here.rest()
    here.pass_time(0.01)
    assert here.run_next(here.worker_of(0), 3) == list("def")


def test_a_stream_that_had_begun_ends_with_the_failure(bench: Make) -> None:
    """Behind the chunks that were sent before."""
    operation = streaming()
    here = bench(operation)
    here.call(operation, "a")
    one, other = here.spawner.workers
    one.begin()
    one.push(one.open(), b"first")
    here.rest()
    here.die(one)
    assert isinstance(here.outcome("a"), WorkerDied)
    assert not other.groups


def test_a_stream_that_had_no_chunk_so_far_fails(bench: Make) -> None:
    """It had begun."""
    operation = streaming()
    here = bench(operation)
    here.call(operation, "a")
    one, other = here.spawner.workers
    one.begin()
    one.open()
    here.rest()
    here.die(one)
    assert isinstance(here.outcome("a"), WorkerDied)
    assert not other.groups
    assert here.engine.capacity.waiting == 0


def test_a_call_that_was_parked_goes_back(bench: Make) -> None:
    """It waited in the worker until it could open a stream, and had not begun."""
    operation = streaming()
    here = bench(operation)
    here.call(operation, "a")
    one, other = here.spawner.workers
    one.park()
    here.rest()
    assert operation.parked_jobs == 1
    here.die(one)
    assert names_of(other.next_calls) == "a"
    assert operation.parked_jobs == 0


def test_streams_of_a_dead_worker_count_no_longer(bench: Make) -> None:
    """As if they had ended."""
    operation = streaming()
    here = bench(operation)
    here.call(operation, *"abc")
    one, other = here.spawner.workers
    for worker in (one, other):
        worker.begin()
        worker.push(worker.open(), b"x")
    one.stall(one.streams[0])
    here.rest()
    assert (operation.open_streams, operation.stalled_streams) == (2, 1)
    here.die(one)
    assert (operation.open_streams, operation.stalled_streams) == (1, 0)


def test_results_that_were_written_before_a_death_are_delivered(bench: Make) -> None:
    """The front reads what is left in the socket before it buries the worker."""
    operation = plain()
    here = bench(operation)
    here.call(operation, "a")
    one = here.spawner.workers[0]

    def last_words() -> None:
        one.begin()
        one.finish()
        one.die()

    here.do(last_words)
    assert here.outcome("a") == "a"


def test_what_a_worker_does_before_its_end_gets_it_no_new_calls(bench: Make) -> None:
    """Those go to the worker that lives."""
    operation = batched()
    here = bench(operation)
    here.call(operation, *"abcdefghi")
    one, other = here.spawner.workers

    def last_words() -> None:
        one.begin(together=3)
        one.finish()
        one.die()

    here.do(last_words)
    assert [names_of(calls) for _, calls in one.groups] == ["ghi"]  # which it had before
    here.pass_time(0.01)
    assert here.run_next(other, 3) == list("def")
    assert here.run_next(other, 3) == list("ghi")


def test_a_result_that_was_not_sent_is_lost(bench: Make) -> None:
    """The call had begun, so it fails."""
    operation = plain()
    here = bench(operation)
    here.call(operation, "a", "b", "c")
    one = here.spawner.workers[0]
    one.is_mute = True
    one.begin()
    one.finish()
    here.die(one)
    assert isinstance(here.outcome("a"), WorkerDied)


def test_a_result_that_was_being_finished_is_lost_with_its_place(bench: Make) -> None:
    """Nothing counts as waiting any more."""
    operation = plain()
    here = bench(operation)
    here.call(operation, "a")
    one = here.spawner.workers[0]
    one.begin()
    one.hand_to_pool()
    here.rest()
    assert here.engine.capacity.waiting == 1
    here.die(one)
    assert isinstance(here.outcome("a"), WorkerDied)
    assert here.engine.capacity.waiting == 0


def test_a_call_that_was_called_off_does_not_go_back(bench: Make) -> None:
    """Nobody wants it."""
    operation = plain()
    here = bench(operation)
    here.call(operation, "a")
    one, other = here.spawner.workers
    here.leave("a")
    here.die(one)
    assert not other.groups
    assert here.engine.capacity.waiting == 0


def test_a_parked_call_that_was_called_off_holds_no_place(bench: Make) -> None:
    """Also if its group ended after that, and its worker died then."""
    operation = streaming()
    here = bench(operation)
    here.call(operation, "a")
    one = here.spawner.workers[0]
    one.is_mute = True
    one.park()
    here.leave("a")
    one.speak()
    here.rest()
    here.die(one)
    assert here.engine.capacity.waiting == 0


def test_a_deadline_holds_for_a_call_that_has_gone_back(bench: Make) -> None:
    """It is taken out of the queue at its time."""
    operation = plain()
    here = bench(operation, devices=1)
    here.call(operation, "a", deadline=here.loop.now + 2.0)
    here.die(here.spawner.workers[0])
    here.pass_time(1.9)
    assert not here.is_over("a")
    here.pass_time(0.2)
    assert isinstance(here.outcome("a"), DeadlineExceeded)
    assert here.engine.capacity.waiting == 0


# Calls that are prepared in workers.


def test_a_prepared_call_is_run_by_whichever_worker_is_free(bench: Make) -> None:
    """The worker that has prepared it forgets it if another one runs it."""
    operation, other_operation = prepared(), plain()
    here = bench(operation, other_operation)
    here.call(other_operation, "x", "y")
    one, other = here.spawner.workers
    here.call(operation, "a")
    one.prepared()
    here.rest()
    here.run_next(other)
    assert here.run_next(other) == ["a"]
    assert here.outcome("a") == "a"
    assert "a" not in [call.name for call in one.calls.values()]
    assert here.remote_of(0).preparing == 0


def test_a_prepared_call_that_is_called_off_is_forgotten_by_its_worker(bench: Make) -> None:
    """Also if it was called off just when it was prepared."""
    operation = prepared()
    here = bench(operation)
    here.call(operation, "a", "b", "c")
    one, other = here.spawner.workers
    one.is_mute = True
    one.prepared()
    here.leave("a")
    one.speak()
    here.rest()
    assert not [call for call in one.calls.values() if call.name == "a"]
    assert here.engine.capacity.waiting == 2
    for name in "bc":
        here.leave(name)
    for worker in (one, other):
        while worker.preparing:
            worker.prepared()
    here.rest()
    assert not one.calls
    assert not other.calls
    assert here.engine.capacity.waiting == 0
    assert [remote.preparing for remote in here.fleet.workers] == [0, 0]


def test_calls_that_a_dead_worker_was_preparing_are_prepared_elsewhere(bench: Make) -> None:
    """At most three workers may die of it."""
    operation = prepared()
    here = bench(operation, devices=3)
    here.call(operation, "a")
    for _ in range(3):
        assert not here.is_over("a")
        (worker,) = [one for one in here.spawner if one.preparing]
        here.die(worker)
    assert isinstance(here.outcome("a"), WorkerDied)
    assert here.engine.capacity.waiting == 0


def test_a_call_that_a_dead_worker_had_prepared_is_prepared_anew(bench: Make) -> None:
    """By the worker that runs it, once."""
    operation, other_operation = prepared(), plain()
    here = bench(operation, other_operation)
    here.call(other_operation, "x", "y")
    one, other = here.spawner.workers
    one.begin()
    here.call(operation, "a")
    one.prepared()
    here.rest()
    assert here.remote_of(0).preparing == 1  # where it would run by preference
    here.die(one)
    assert here.run_next(other) == ["y"]
    assert here.run_next(other) == ["a"]
    assert here.outcome("a") == "a"
    assert not other.groups
    assert here.engine.capacity.waiting == 0


def test_calls_are_prepared_by_the_first_worker_that_comes_back(bench: Make) -> None:
    """If none was there."""
    operation = prepared()
    here = bench(operation, devices=1)
    here.die(here.worker_of(0))
    here.call(operation, "a", "b")
    here.worker_of(0).load()
    here.rest()
    assert names_of(here.worker_of(0).preparing) == "ab"


def test_a_call_that_waits_to_be_prepared_leaves_at_its_deadline(bench: Make) -> None:
    """With its place, although no worker is there."""
    operation = prepared()
    here = bench(operation, devices=1)
    here.die(here.worker_of(0))
    here.call(operation, "a", deadline=here.loop.now + 1.0)
    here.pass_time(1.1)
    assert isinstance(here.outcome("a"), DeadlineExceeded)
    assert here.engine.capacity.waiting == 0
    here.worker_of(0).load()
    here.rest()
    assert not here.worker_of(0).calls


def test_a_call_that_was_called_off_is_not_prepared_again(bench: Make) -> None:
    """Its place is free at once."""
    operation = prepared()
    here = bench(operation)
    here.call(operation, "a")
    one, other = here.spawner.workers
    here.leave("a")
    here.die(one)
    assert not other.preparing
    assert here.engine.capacity.waiting == 0


def test_a_call_that_cannot_be_prepared_fails(bench: Make) -> None:
    """With the error, and without a place."""
    operation = prepared()
    here = bench(operation)
    here.call(operation, "a")
    here.spawner.workers[0].prepared(error=DeadlineExceeded("no"))
    here.rest()
    assert isinstance(here.outcome("a"), DeadlineExceeded)
    assert here.engine.capacity.waiting == 0


# Calls that kill workers.


def kill_with(here: FleetBench, operation: Operation, body: bytes, times: int) -> None:
    """Let a call with a content kill so many workers; another one takes the place of each."""
    for number in range(times):
        name = f"{body!r} {number}"
        here.call(operation, name, body=body)
        (worker,) = [one for one in here.spawner if one.groups]
        worker.begin()
        here.die(worker)
        assert isinstance(here.outcome(name), WorkerDied)
        here.pass_time(PAUSES[-1] * (1 + JITTER))
        for one in here.spawner:
            if not one.is_loaded:
                one.load()
        here.rest()


def test_a_call_that_kills_three_workers_is_refused(bench: Make) -> None:
    """Other contents are served."""
    operation = plain()
    here = bench(operation, devices=1)
    kill_with(here, operation, b"poison", 3)
    with pytest.raises(WorkerFailed, match="refused"):
        here.call(operation, "again", body=b"poison")
    here.call(operation, "fine", body=b"fine")
    assert here.run_next(here.worker_of(0)) == ["fine"]


def test_calls_that_wait_are_refused_with_the_one_that_killed(bench: Make) -> None:
    """Those with the same content; the others wait on."""
    operation = plain()
    here = bench(operation, devices=1)
    kill_with(here, operation, b"poison", 2)
    here.call(operation, "third", body=b"poison")
    here.worker_of(0).begin()
    here.call(operation, "same", body=b"poison")
    here.call(operation, "other", body=b"fine")
    here.die(here.worker_of(0))
    assert isinstance(here.outcome("third"), WorkerDied)
    assert isinstance(here.outcome("same"), WorkerFailed)
    assert not here.is_over("other")
    assert here.engine.capacity.waiting == 1


def test_a_waiting_call_that_is_refused_is_forgotten_where_it_was_prepared(bench: Make) -> None:
    """That worker does not seem to be busy with it."""
    operation = plain("prepared", None, prepare=_nothing)
    here = bench(operation)

    def prepare_next() -> None:
        (worker,) = [one for one in here.spawner if one.preparing]
        worker.prepared()
        here.rest()

    here.call(operation, "busy", body=b"fine")
    prepare_next()
    here.worker_of(0).begin()
    for number in range(3):
        here.call(operation, f"poison {number}", body=b"poison")
        prepare_next()
        here.worker_of(1).begin()
        if number == 2:
            here.call(operation, "same", body=b"poison")
            prepare_next()
            assert here.remote_of(0).preparing == 1
        here.die(here.worker_of(1))
        here.pass_time(2.0)
        here.worker_of(1).load()
        here.rest()
    assert isinstance(here.outcome("same"), WorkerFailed)
    assert here.remote_of(0).preparing == 0
    assert [call.name for call in here.worker_of(0).calls.values()] == ["busy"]


def test_a_poison_call_that_another_worker_has_not_begun_is_refused(bench: Make) -> None:
    """It is passed over there; that it has ended so does not clear it."""
    operation = plain()
    here = bench(operation)
    kill_with(here, operation, b"poison", 2)
    here.call(operation, "third", body=b"poison")
    here.call(operation, "runs", body=b"fine")
    one, other = here.worker_of(0), here.worker_of(1)
    one.begin()
    other.begin()
    for name, body in (("first", b"fine"), ("same", b"poison"), ("last", b"fine")):
        here.call(operation, name, body=body)
    assert [[call.name for call in one.groups[1][1]] for one in (one, other)] == [
        ["first"],
        ["same"],
    ]
    here.die(one)
    assert "refused" in str(here.outcome("same"))
    other.finish()
    here.rest()
    assert here.run_next(other) == ["first"]
    assert "same" not in other.begun
    with pytest.raises(WorkerFailed, match="refused"):
        here.call(operation, "again", body=b"poison")


def test_a_poison_call_that_a_lost_worker_has_not_begun_is_refused(bench: Make) -> None:
    """It goes back only after the others were refused."""
    operation = plain()
    here = bench(operation)
    kill_with(here, operation, b"poison", 2)
    here.call(operation, "third", body=b"poison")
    here.call(operation, "runs", body=b"fine")
    one, other = here.worker_of(0), here.worker_of(1)
    one.begin()
    other.begin()
    for name, body in (("first", b"fine"), ("same", b"poison"), ("last", b"fine")):
        here.call(operation, name, body=body)
    here.do(other.close_socket)
    here.die(one)
    here.die(other)
    assert "refused" in str(here.outcome("same"))


def test_a_poison_call_that_another_worker_runs_is_not_called_off(bench: Make) -> None:
    """It may end well, and then it is none."""
    operation = plain()
    here = bench(operation)
    kill_with(here, operation, b"poison", 2)
    here.call(operation, "third", body=b"poison")
    here.call(operation, "same", body=b"poison")
    one, other = here.worker_of(0), here.worker_of(1)
    one.begin()
    other.begin()
    here.die(one)
    assert not here.is_over("same")
    other.finish()
    here.rest()
    assert here.outcome("same") == "same"


def begin_third(here: FleetBench, operation: Operation) -> FakeWorker:
    """Let a call that is prepared first kill two workers, and a third one begin it."""
    for number in range(3):
        here.call(operation, f"poison {number}", body=b"poison")
        (worker,) = [one for one in here.spawner if one.preparing]
        worker.prepared()
        here.rest()
        (worker,) = [one for one in here.spawner if one.groups]
        worker.begin()
        if number < 2:
            here.die(worker)
            here.pass_time(2.0)
            for one in here.spawner:
                if not one.is_loaded:
                    one.load()
            here.rest()
    return worker


def test_poison_calls_that_are_being_prepared_are_refused(bench: Make) -> None:
    """In the worker that died, and in another one."""
    operation = prepared()
    here = bench(operation)
    one = begin_third(here, operation)
    here.call(operation, "same", body=b"poison")
    here.call(operation, "also the same", body=b"poison")
    (other,) = [worker for worker in here.spawner if worker is not one]
    assert [len(worker.preparing) for worker in (one, other)] == [1, 1]
    here.die(one)
    for name in ("same", "also the same"):
        assert "refused" in str(here.outcome(name))
    other.prepared()
    here.rest()
    assert not other.calls
    assert here.engine.capacity.waiting == 0


def test_a_call_that_kills_three_workers_as_it_is_prepared_is_refused(bench: Make) -> None:
    """A decoder may crash as well as a model; and no device is to blame."""
    operation = prepared()
    here = bench(operation, devices=1)
    here.call(operation, "first", body=b"poison")
    for _ in range(3):
        assert here.worker_of(0).preparing
        here.die(here.worker_of(0))
        here.pass_time(2.0)
        here.worker_of(0).load()
        here.rest()
    assert isinstance(here.outcome("first"), WorkerDied)
    with pytest.raises(WorkerFailed, match="refused"):
        here.call(operation, "again", body=b"poison")
    assert here.posts[0]._restarts.failures == 2
    here.call(operation, "fine", body=b"fine")
    here.worker_of(0).prepared()
    here.rest()
    assert here.run_next(here.worker_of(0)) == ["fine"]


def test_a_batch_is_chosen_by_the_costs_that_workers_have_computed(bench: Make) -> None:
    """Here, two of three calls fit into one."""
    cost = Batch(max_size=4, max_delay=0.0, cost=len, max_cost=10)
    operation = plain("by cost", batch=cost, prepare=_nothing)
    here = bench(operation, devices=1)
    here.call(operation, *"abc")
    (worker,) = here.spawner.workers
    for _ in "abc":
        worker.prepared(cost=5)
    here.rest()
    assert max(len(calls) for _, calls in worker.groups) == 2


def test_poison_calls_that_wait_to_be_prepared_are_refused(bench: Make) -> None:
    """While no worker is there to prepare them."""
    operation = prepared()
    here = bench(operation, devices=1)
    worker = begin_third(here, operation)
    here.do(worker.close_socket)
    here.call(operation, "same", body=b"poison")
    here.die(worker)
    assert "refused" in str(here.outcome("same"))
    assert here.engine.capacity.waiting == 0


@pytest.mark.parametrize("kind", ["plain", "stream"])
def test_a_call_that_ends_well_in_between_is_not_refused(bench: Make, kind: str) -> None:
    """Three deaths in a row refuse it, not three in all."""
    operation = plain() if kind == "plain" else streaming()
    here = bench(operation, devices=1)
    kill_with(here, operation, b"poison", 2)
    here.call(operation, "well", body=b"poison")
    worker = here.worker_of(0)
    worker.begin()
    if kind == "plain":
        worker.finish()
    else:
        worker.end(worker.open())
    here.rest()
    kill_with(here, operation, b"poison", 2)
    here.call(operation, "again", body=b"poison")


def test_a_background_job_is_not_refused_for_its_content(bench: Make) -> None:
    """It is given up after so many attempts, and then its document says why."""
    operation = plain()
    here = bench(operation, devices=1)
    kill_with(here, operation, b"poison", 3)
    here.call(operation, "job", body=b"poison", is_background=True)
    assert here.run_next(here.worker_of(0)) == ["job"]


# How workers come and go.


def test_the_app_starts_once_all_workers_have_loaded(bench: Make) -> None:
    """It is not ready before."""
    here = bench(plain(), start=False)
    one, other = here.start(load=False)
    one.load()
    here.rest()
    assert here.starting is not None
    assert not here.starting.done()
    other.load()
    here.rest()
    assert here.state is State.READY


def test_so_many_workers_load_at_a_time(bench: Make) -> None:
    """The others wait, also when they come back."""
    here = bench(plain(), start=False, devices=3, workers={"load_at_once": 1})
    assert len(here.start(load=False)) == 1
    assert [post.state for post in here.posts[1:]] == [PostState.WAITING] * 2
    for number in range(3):
        assert len(here.spawner.workers) == number + 1
        here.spawner.workers[-1].load()
        here.rest()
    assert here.state is State.READY
    for worker in list(here.spawner):
        here.die(worker)
    assert len(list(here.spawner)) == 1


def test_if_one_worker_cannot_load_at_first_the_app_does_not_start(bench: Make) -> None:
    """Its error is raised, and the others are ended."""
    here = bench(plain(), start=False)
    one, other = here.start(load=False)
    one.fail_to_load(ValueError("no such model"))
    here.die(one, 1)
    assert not other.is_alive
    assert here.starting is not None
    assert str(here.starting.exception()) == "no such model"
    assert here.state is State.FAILED


def test_an_error_of_init_is_raised_even_if_the_process_has_ended_by_then(bench: Make) -> None:
    """Not what is known of its end."""
    here = bench(plain(), start=False, devices=1)
    (one,) = here.start(load=False)

    def last_words() -> None:
        one.fail_to_load(ValueError("no such model"))
        one.die(1)

    here.do(last_words)
    assert here.starting is not None
    assert str(here.starting.exception()) == "no such model"


def test_a_worker_that_has_loaded_and_died_at_once_has_not_loaded(bench: Make) -> None:
    """The app does not start without it."""
    here = bench(plain(), start=False, devices=1)
    (one,) = here.start(load=False)

    def last_words() -> None:
        one.load()
        one.die()

    here.do(last_words)
    assert here.starting is not None
    assert isinstance(here.starting.exception(), WorkerFailed)
    assert here.state is State.FAILED


def test_an_app_that_has_other_handlers_in_its_workers_does_not_start(bench: Make) -> None:
    """Both sides would take their numbers for those of other handlers."""
    here = bench(plain(), start=False, devices=1)
    (one,) = here.start(load=False)
    one.load(handlers=["plain", "another"])
    here.pass_time(0.0)
    here.pass_time(1.1)  # it is killed, as it goes on
    assert here.starting is not None
    assert "has other handlers in its workers than here: plain, another" in str(
        here.starting.exception()
    )


def test_a_process_that_cannot_be_started_fails_the_start(bench: Make) -> None:
    """For want of memory or descriptors."""
    here = bench(plain(), start=False)
    here.spawner.error = OSError("no more processes")
    here.start(load=False)
    assert here.starting is not None
    assert str(here.starting.exception()) == "no more processes"


def test_a_process_that_cannot_be_started_later_counts_as_a_failure(bench: Make) -> None:
    """The next attempt comes after a pause."""
    here = bench(plain(), devices=1)
    here.spawner.error = OSError("no more processes")
    here.die(here.worker_of(0))
    assert here.posts[0].state is PostState.PAUSED
    assert what_happened(here.posts[0]) == "could not be started: no more processes"
    here.spawner.error = None
    here.pass_time(PAUSES[1] * (1 + JITTER))
    here.worker_of(0).load()
    here.rest()
    assert here.posts[0].is_ready


def test_a_worker_that_loads_for_too_long_is_killed(bench: Make) -> None:
    """After ``load_timeout``."""
    here = bench(plain(), start=False, devices=1, workers={"load_timeout": 30.0})
    (one,) = here.start(load=False)
    here.pass_time(29.9)
    assert one.is_alive
    here.pass_time(0.2)
    assert one.was_killed
    assert not one.is_alive
    assert here.starting is not None
    assert "longer than 30 s" in str(here.starting.exception())


def test_a_worker_that_dies_is_replaced_while_the_others_serve(bench: Make) -> None:
    """The first time, at once."""
    operation = plain()
    here = bench(operation)
    one, other = here.spawner.workers
    here.die(one)
    here.call(operation, "a")
    assert here.posts[0].state is PostState.LOADING
    assert here.run_next(other) == ["a"]
    here.call(operation, "b", "c")
    here.worker_of(0).load()
    here.rest()
    assert names_of(here.worker_of(0).next_calls) == "c"


def test_pauses_grow_until_a_device_is_given_up(bench: Make) -> None:
    """The engine fails only if no other device is left."""
    operation = plain()
    here = bench(operation)
    for index in range(2):
        post = here.posts[index]
        for pause in (*PAUSES, None):
            here.die(here.worker_of(index))
            if pause is None:
                break
            here.pass_time(pause * (1 - JITTER) * 0.99)
            assert (post.worker is None) == (pause > 0)
            here.pass_time(pause * 2.1 * JITTER)
            assert post.state is PostState.LOADING
            here.worker_of(index).load()
            here.rest()
        assert post.state is PostState.GIVEN_UP
        if index == 0:
            assert here.state is State.READY
            here.call(operation, "a")
            assert here.run_next(here.worker_of(1)) == ["a"]
            here.call(operation, "b")
    assert here.state is State.FAILED
    assert isinstance(here.outcome("b"), WorkerFailed)


def test_a_worker_that_hangs_is_killed_alone(bench: Make) -> None:
    """And what it ran fails; the other goes on."""
    operation = plain()
    here = bench(operation, limits={"hang_timeout": 10.0})
    here.call(operation, "a")
    one, other = here.spawner.workers
    one.begin()
    for _ in range(9):
        here.pass_time(1.0)
    assert one.is_alive
    here.call(operation, "b")
    other.begin()
    for _ in range(3):
        here.pass_time(1.0)
    assert one.was_killed
    assert other.is_alive
    assert isinstance(here.outcome("a"), WorkerDied)
    assert "hangs: plain has not returned for 10 s" in what_happened(here.posts[0])
    other.finish()
    here.rest()
    assert here.outcome("b") == "b"


def test_a_worker_whose_prepared_calls_run_elsewhere_does_not_hang(bench: Make) -> None:
    """It is idle."""
    operation = prepared()
    here = bench(operation, limits={"hang_timeout": 10.0})
    one, other = here.spawner.workers
    here.call(operation, "a", "b", "c", "d")
    while one.preparing:
        one.prepared()
    here.rest()
    one.begin()
    while other.preparing:
        other.prepared()
    here.rest()
    while other.next_calls:
        here.run_next(other)
    one.finish()
    here.rest()
    while one.next_calls:
        here.run_next(one)
    assert [here.outcome(name) for name in "abcd"] == list("abcd")
    assert not one.calls
    assert not other.calls
    for _ in range(20):
        here.pass_time(1.0)
    assert one.is_alive
    assert other.is_alive


def test_a_worker_that_does_not_begin_what_it_was_given_is_killed(bench: Make) -> None:
    """It was stopped while it was idle; another one runs the call."""
    operation = plain()
    here = bench(operation, limits={"hang_timeout": 10.0})
    here.call(operation, "a")
    one, other = here.spawner.workers
    for _ in range(12):
        here.pass_time(1.0)
    assert one.was_killed
    assert here.run_next(other) == ["a"]


def test_a_worker_whose_prepared_calls_wait_does_not_hang(bench: Make) -> None:
    """Here, until a stream ends, which makes no step for want of a reader."""
    operation = plain("stream", None, may_stream=True, prepare=_nothing)
    here = bench(operation, devices=1, limits={"hang_timeout": 10.0})
    (worker,) = here.spawner.workers
    for name in "ab":
        here.call(operation, name)
        worker.prepared()
        here.rest()
        if name == "a":
            worker.begin()
            worker.open()
            here.rest()
    assert here.remote_of(0).preparing == 1
    for _ in range(12):
        here.pass_time(1.0)
    assert worker.is_alive


def test_a_worker_that_hangs_as_it_prepares_is_killed(bench: Make) -> None:
    """The call is prepared elsewhere."""
    operation = prepared()
    here = bench(operation, limits={"hang_timeout": 10.0})
    here.call(operation, "a")
    one, other = here.spawner.workers
    for _ in range(12):
        here.pass_time(1.0)
    assert one.was_killed
    assert names_of(other.preparing) == "a"


def test_a_new_worker_is_watched_too(bench: Make) -> None:
    """As the first one was."""
    operation = plain()
    here = bench(operation, devices=1, limits={"hang_timeout": 10.0})
    here.die(here.worker_of(0))
    worker = here.worker_of(0)
    worker.load()
    here.rest()
    here.call(operation, "a")
    worker.begin()
    for _ in range(12):
        here.pass_time(1.0)
    assert worker.was_killed


def test_a_process_that_outlives_its_socket_is_killed_after_a_second(bench: Make) -> None:
    """Until then it gets nothing: others take what comes."""
    operation = plain()
    here = bench(operation)
    one, other = here.spawner.workers
    here.do(one.close_socket)
    here.call(operation, "a", "b")
    assert here.run_next(other) == ["a"]
    assert here.run_next(other) == ["b"]
    here.pass_time(0.9)
    assert one.is_alive
    here.pass_time(0.2)
    assert one.was_killed
    assert not one.is_alive
    assert here.posts[0].state is PostState.LOADING


def test_a_process_that_outlives_its_failure_to_load_is_killed_after_a_second(
    bench: Make,
) -> None:
    """It would keep the device from the next one."""
    here = bench(plain(), devices=1)
    here.die(here.worker_of(0))
    worker = here.worker_of(0)
    here.do(lambda: worker.fail_to_load(ValueError("no such model")))
    here.pass_time(0.9)
    assert worker.is_alive
    here.pass_time(0.2)
    assert worker.was_killed
    assert here.posts[0].state is PostState.PAUSED


def test_the_next_worker_is_not_killed_for_the_socket_of_the_last_one(bench: Make) -> None:
    """Which has ended by itself within the second that it has for that."""
    here = bench(plain(), devices=1)
    worker = here.worker_of(0)
    here.do(worker.close_socket)
    here.die(worker)
    successor = here.worker_of(0)
    successor.load()
    here.rest()
    here.pass_time(1.1)
    assert successor.is_alive


def test_a_minute_of_service_makes_up_for_earlier_deaths(bench: Make) -> None:
    """The next worker loads at once again."""
    here = bench(plain(), devices=1)
    for _ in range(2):
        here.die(here.worker_of(0))
        here.pass_time(PAUSES[1] * (1 + JITTER))
        here.worker_of(0).load()
        here.rest()
    here.pass_time(GOOD_STRETCH)
    here.die(here.worker_of(0))
    assert here.posts[0].state is PostState.LOADING


def test_a_worker_without_a_socket_prepares_nothing(bench: Make) -> None:
    """Others do."""
    operation = prepared()
    here = bench(operation)
    one, other = here.spawner.workers
    here.do(one.close_socket)
    here.call(operation, "a", "b")
    assert names_of(other.preparing) == "ab"


def test_a_worker_that_has_lost_its_accelerator_is_replaced(bench: Make) -> None:
    """The reason is its error, also if that is read after its end."""
    here = bench(plain())
    one, other = here.spawner.workers
    one.tell_unusable(RuntimeError("CUDA error: device-side assert"))
    here.rest()
    here.die(one, 70)

    def last_words() -> None:
        other.tell_unusable(RuntimeError("CUDA error: device-side assert"))
        other.die(70)

    here.do(last_words)
    for post in here.posts:
        assert "CUDA error: device-side assert" in what_happened(post)


def test_an_errand_ends_if_its_worker_dies_before_it_was_sent(bench: Make) -> None:
    """Also while the worker ran something else."""
    operation = plain()
    here = bench(operation)
    here.call(operation, "a")
    one = here.spawner.workers[0]
    one.begin()
    task = here.loop.create_task(here.fleet.run_errand(errand()))
    here.rest()
    assert not one.errands
    here.die(one)
    assert task.done()
    assert isinstance(task.exception(), WorkerDied)


def test_an_errand_ends_if_its_worker_dies_as_it_runs_it(bench: Make) -> None:
    """Whoever has sent it is told."""
    here = bench(plain())
    task = here.loop.create_task(here.fleet.run_errand(errand()))
    here.rest()
    one = here.spawner.workers[0]
    assert one.errands
    here.die(one)
    assert isinstance(task.exception(), WorkerDied)


def test_a_worker_gets_nothing_between_its_calls_and_an_errand(bench: Make) -> None:
    """Otherwise, it would never come to that."""
    operation = plain()
    here = bench(operation, devices=1)
    here.call(operation, "a")
    (worker,) = here.spawner.workers
    worker.begin()
    task = here.loop.create_task(here.fleet.run_errand(errand()))
    here.rest()
    here.call(operation, "b")
    assert len(worker.groups) == 1
    worker.finish()
    here.rest()
    assert worker.errands
    assert not worker.groups
    worker.ran("done")
    here.rest()
    assert task.result() == ["done"]
    assert here.run_next(worker) == ["b"]


def test_a_worker_that_comes_in_the_middle_of_an_errand_runs_it_too(bench: Make) -> None:
    """It had loaded before it could know of it."""
    operation = plain()
    here = bench(operation)
    one, other = here.spawner.workers
    here.die(other)
    here.call(operation, "a")
    one.begin()
    task = here.loop.create_task(here.fleet.run_errand(errand()))
    here.rest()
    latecomer = here.worker_of(1)
    latecomer.load()
    here.rest()
    one.finish()
    here.rest()
    one.ran(1)
    here.rest()
    assert latecomer.errands
    latecomer.ran(2)
    here.rest()
    assert task.result() == [1, 2]


def test_a_worker_that_loads_during_an_errand_runs_it_before_it_serves(bench: Make) -> None:
    """Also one that was sent while it ran an earlier one."""
    here = bench(plain())
    one, other = here.spawner.workers
    for name in ("first", "second"):
        if name == "second":
            here.die(other)
            latecomer = here.worker_of(1)
            latecomer.load()
            here.rest()
            assert len(latecomer.errands) == 1
        task = here.loop.create_task(here.fleet.run_errand(errand(name)))
        here.rest()
        for worker in (one, other):
            if worker.is_alive:
                worker.ran()
                here.rest()
        assert task.done()
    latecomer.ran()
    here.rest()
    assert len(latecomer.errands) == 1
    assert not here.posts[1].is_ready
    latecomer.ran()
    here.rest()
    assert here.posts[1].is_ready


def errand(name: str = "swap") -> Errand:
    return Errand(name=name, run=_no_errand, told=name.encode)


def _no_errand() -> None:
    """Do nothing."""


# How they stop.


def test_calls_are_ended_before_the_workers_are(bench: Make) -> None:
    """Each is told to end once nothing is left."""
    operation = plain()
    here = bench(operation)
    here.call(operation, "a")
    one, other = here.spawner.workers
    one.begin()
    stop = here.loop.create_task(here.engine.stop())
    here.rest()
    assert not one.is_stopping
    one.finish()
    here.rest()
    assert one.is_stopping
    assert other.is_stopping
    here.die(one, 0)
    here.die(other, 0)
    assert stop.done()
    assert here.state is State.STOPPED


def test_calls_of_a_worker_that_dies_as_the_server_drains_are_run(bench: Make) -> None:
    """They were admitted."""
    operation = plain()
    here = bench(operation)
    here.call(operation, "a")
    one, other = here.spawner.workers
    here.do(here.engine.drain)
    here.die(one)
    assert here.run_next(other) == ["a"]


@pytest.mark.parametrize("state", [PostState.LOADING, PostState.PAUSED, PostState.WAITING])
def test_a_server_can_stop_while_a_worker_is_missing(bench: Make, state: PostState) -> None:
    """It starts no other one."""
    here = bench(plain(), workers={"load_at_once": 1})
    post = here.posts[1]
    if state is PostState.WAITING:
        here.die(here.worker_of(0))
    here.die(here.worker_of(1))
    if state is PostState.PAUSED:
        here.die(here.worker_of(1))
    assert post.state is state
    started = len(here.spawner.workers)
    here.stop()
    assert here.state is State.STOPPED
    here.pass_time(100.0)
    assert len(here.spawner.workers) == started
    assert not list(here.spawner)


def test_a_start_that_is_cancelled_ends_the_workers(bench: Make) -> None:
    """Also those that wait until fewer others load."""
    here = bench(plain(), start=False, devices=3, workers={"load_at_once": 2})
    here.start(load=False)
    assert here.starting is not None
    here.starting.cancel()
    here.rest()
    assert here.starting.cancelled()
    assert here.state is State.STOPPED
    assert not list(here.spawner)
    assert len(here.spawner.workers) == 2


def test_a_worker_that_does_not_end_is_killed(bench: Make) -> None:
    """Once the grace period is over."""
    operation = plain()
    here = bench(operation)
    here.call(operation, "a")
    one = here.spawner.workers[0]
    one.begin()
    here.stop()
    assert isinstance(here.outcome("a"), Draining)
    here.rest()
    assert one.was_killed
    assert here.state is State.STOPPED


def test_an_engine_that_has_failed_ends_its_workers(bench: Make) -> None:
    """When it is stopped."""
    here = bench(plain())
    here.do(lambda: here.engine.fail("a test said so"))
    here.stop()
    assert not list(here.spawner)
