"""Streams make steps together, in rounds, with one another and with everything else."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.operations import operation_on
from support.worker import Thread, take_now

from potassium.engine.batching import Ceiling
from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.engine.rounds import MOST_CHUNKS
from potassium.engine.shared_step import SharedStep
from potassium.engine.steps import Steps
from potassium.engine.stream import BUFFER
from potassium.errors import ClientLeft

Run = Callable[[Sequence[Any], Ceiling], list[Any]]

STEP = 0  # in a script, where it waits for the shared step


class SharedScript(Steps):
    """Sends chunks of the sizes that it is given, and waits where one is ``STEP``."""

    def __init__(self, thread: Thread, name: str, sizes: Sequence[int]) -> None:
        self.name = name
        self.results: list[Any] = []
        self._thread = thread
        self._sizes = iter(sizes)
        self._waited = False

    def __next__(self) -> bytes | None:
        if self._waited:
            self._waited = False
            self.results.append(self.result)
            if isinstance(self.result, BaseException):
                raise self.result
        for size in self._sizes:
            if size == STEP:
                self._waited = True
                return None
            self._thread.write(f"{self.name}+")
            return b"x" * size
        self._thread.write(f"{self.name} ends")
        raise StopIteration

    def close(self) -> None:
        self._thread.write(f"{self.name} closed")


class Bench:
    """A GPU thread with an operation whose streams step together."""

    def __init__(
        self, run: Run | None = None, *, streams: int = 8, rows: int = 8, cost: float | None = None
    ) -> None:
        self.thread = Thread()
        self.scripts: dict[str, SharedScript] = {}
        shared = SharedStep(run or self.run_step, max_rows=rows, max_cost=cost)
        self.operation = operation_on(
            "shared", lambda argument: argument(), streams=streams, shared_step=shared
        )

    def run_step(self, steps: Sequence[SharedScript], _: Ceiling) -> list[Any]:
        names = "".join(one.name for one in steps)
        self.thread.write(f"[{names}]")
        return [f"{one.name} of {names}" for one in steps]

    def stream(self, name: str, *sizes: int, cost: float = 1) -> Job:
        script = self.scripts[name] = SharedScript(self.thread, name, sizes)
        script.cost = cost
        return self.thread.job(self.operation, lambda: script)

    def log(self, *groups: Sequence[Job]) -> str:
        return " ".join(self.thread.run(*groups))


async def test_all_streams_that_wait_make_the_step_together() -> None:
    """In each round the step runs once; each stream gets its own result."""
    bench = Bench()
    log = bench.log([bench.stream(name, STEP, 1, STEP, 1) for name in "abc"])
    assert log == "[abc] a+ b+ c+ [abc] a+ a ends b+ b ends c+ c ends"
    assert bench.scripts["b"].results == ["b of abc"] * 2


async def test_a_stream_sends_all_that_came_of_a_step_before_the_next() -> None:
    """So that it misses no round."""
    bench = Bench()
    log = bench.log([bench.stream("a", STEP, 1, 1, 1, STEP), bench.stream("b", STEP, 1, STEP)])
    assert log == "[ab] a+ a+ a+ b+ [ab] a ends b ends"


async def test_a_stream_that_sends_without_end_leaves_others_their_turns() -> None:
    """One that does not wait for the step has a bounded number of chunks in a round."""
    bench = Bench()
    log = bench.log([bench.stream("a", *[1] * (2 * MOST_CHUNKS)), bench.stream("b", STEP)])
    chunks = " ".join(["a+"] * MOST_CHUNKS)
    assert log == f"{chunks} [b] b ends {chunks} a ends"


async def test_a_stream_that_comes_later_joins_the_next_step() -> None:
    """It does not wait until the others have ended, and the others do not wait for it."""
    bench = Bench()
    log = bench.log([bench.stream("a", *[STEP] * 4)], [bench.stream("b", *[STEP] * 2)])
    assert log == "[a] [ab] [ab] b ends [a] a ends"


async def test_one_group_runs_between_two_rounds() -> None:
    """Other calls do not wait for the streams, and the streams wait for one group at most."""
    bench = Bench()
    other = operation_on("other", lambda argument: argument())
    groups = [[bench.thread.plain(name, other)] for name in "pqr"]
    log = bench.log([bench.stream("a", *[STEP] * 3)], *groups)
    assert log == "[a] p [a] q [a] a ends r"


async def test_groups_run_for_as_long_as_a_shared_step_has_taken() -> None:
    """A costly step is worth waiting for those that come; other calls have half of the thread."""
    bench = Bench()
    clock = bench.thread.clock

    def take(seconds: float) -> Callable[[], None]:
        def pass_time() -> None:
            clock.now += seconds

        return pass_time

    bench.thread.during.update({"[a]": take(4), **{name: take(2) for name in "pqrs"}})
    other = operation_on("other", lambda argument: argument())
    groups = [[bench.thread.plain(name, other)] for name in "pqrs"]
    log = bench.log([bench.stream("a", *[STEP] * 3)], *groups)
    assert log == "[a] p q [a] r [a] a ends s"


async def test_streams_that_come_during_a_step_join_the_next_one() -> None:
    """Even if each has been handed over on its own."""
    bench = Bench()

    def arrive() -> None:
        bench.thread.clock.now += 1
        for name in "bcd":
            bench.thread.hand_over([bench.stream(name, STEP)])

    bench.thread.during["[a]"] = arrive
    log = bench.log([bench.stream("a", STEP, STEP)])
    assert log == "[a] [abcd] a ends b ends c ends d ends"


async def test_a_stream_whose_client_has_left_is_closed_before_the_step() -> None:
    """It is not part of the step that it waited for."""
    bench = Bench()
    left = bench.stream("a", STEP, 1, STEP, 1)
    bench.thread.during["b+"] = lambda: left.call_off(ClientLeft())
    log = bench.log([left, bench.stream("b", STEP, 1, STEP, 1)])
    assert log == "[ab] a+ b+ a closed [b] b+ b ends"
    assert bench.operation.open_streams == 0


async def test_a_stream_that_is_not_read_is_not_part_of_the_step() -> None:
    """What came of it could not be sent; once there is room, it goes on where it was."""
    bench = Bench()
    slow = bench.stream("a", STEP, BUFFER, STEP, 1)
    other = bench.stream("b", *[STEP, 1] * 6)
    looks = iter(range(10))
    run_step = bench.run_step

    def run(steps: Sequence[SharedScript], ceiling: Ceiling) -> list[Any]:
        if next(looks) == 2:
            take_now(slow)
        return run_step(steps, ceiling)

    assert bench.operation.shared_step is not None
    bench.operation.shared_step.run = run
    log = bench.log([slow, other])
    assert log == "[ab] a+ b+ [b] b+ [b] b+ [ba] b+ a+ a ends [b] b+ [b] b+ b ends"
    assert bench.scripts["a"].results == ["a of ab", "a of ba"]


async def test_an_exception_in_place_of_a_result_is_raised_in_that_stream_alone() -> None:
    """The others go on."""

    def run(steps: Sequence[SharedScript], _: Ceiling) -> list[Any]:
        return [ValueError("no") if one.name == "a" else 1 for one in steps]

    bench = Bench(run)
    jobs = [bench.stream(name, STEP, 1) for name in "ab"]
    assert bench.log(jobs) == "b+ b ends"
    stream = jobs[0].stream
    assert stream is not None
    assert stream.failure is not None
    assert str(stream.failure.error) == "no"


async def test_a_step_that_raises_fails_all_of_its_streams() -> None:
    """And none besides."""

    def run(steps: Sequence[SharedScript], _: Ceiling) -> list[Any]:
        if len(steps) > 1:
            raise SystemExit("no")
        return [1]

    bench = Bench(run)
    jobs = [bench.stream(name, STEP) for name in "ab"]
    late = bench.stream("c", STEP, 1)
    bench.log(jobs, [late])
    for job in jobs:
        assert job.stream is not None
        assert job.stream.failure is not None
        assert isinstance(job.stream.failure.error, SystemExit)
    assert late.stream is not None
    assert late.stream.failure is None


@pytest.mark.parametrize("is_raised", [True, False])
async def test_after_a_fatal_error_all_streams_end(is_raised: bool) -> None:
    """Whether the step raised it or returned it in the place of one row."""

    def run(steps: Sequence[SharedScript], _: Ceiling) -> list[Any]:
        if is_raised:
            raise RuntimeError("lost")
        return [RuntimeError("lost"), *[1] * (len(steps) - 1)]

    bench = Bench(run)
    bench.thread.worker._is_fatal = lambda error: "lost" in str(error)
    log = bench.log([bench.stream(name, STEP, STEP) for name in "ab"])
    assert log == "a closed b closed"


async def test_as_many_go_together_as_the_operation_allows() -> None:
    """Those that have waited longest; each gets its turn."""
    bench = Bench(rows=2)
    log = bench.log([bench.stream(name, STEP, STEP) for name in "abc"])
    assert log == "[ab] [ca] a ends [bc] b ends c ends"


async def test_a_step_costs_its_rows_times_the_costliest() -> None:
    """A row that costs too much goes alone."""
    bench = Bench(cost=8)
    jobs = [
        bench.stream(name, STEP, cost=cost)
        for name, cost in zip("abcde", (2, 4, 4, 9, 1), strict=True)
    ]
    assert bench.log(jobs) == "[ab] a ends b ends [c] c ends [d] d ends [e] e ends"


async def test_the_time_of_a_step_is_shared_by_its_rows() -> None:
    """So that the sum of what calls have taken is what the thread was busy."""
    bench = Bench()
    jobs = [bench.stream(name, STEP, 1) for name in "ab"]

    def pass_time() -> None:
        assert bench.thread.worker.current is jobs[0]
        assert bench.thread.worker.since == bench.thread.clock.now
        bench.thread.clock.now += 4

    bench.thread.during["[ab]"] = pass_time
    bench.log(jobs)
    assert [job.stream and job.stream.spent for job in jobs] == [2, 2]
    assert bench.thread.worker.busy == 4


async def test_streams_that_wait_at_the_end_are_closed() -> None:
    """When the thread stops."""
    bench = Bench()
    stream = bench.stream("a", STEP, STEP)
    bench.thread.during["[a]"] = bench.thread.worker.stop
    assert bench.log([stream]) == "[a] a closed"


Script = list[int]
SCRIPTS = st.lists(st.lists(st.sampled_from([STEP, 1, BUFFER]), max_size=8), min_size=1, max_size=6)


@given(SCRIPTS, st.integers(1, 4), st.integers(1, 4), st.data())
def test_each_step_of_each_stream_is_run_once(  # noqa: C901 - a run, and what it must be like
    scripts: list[Script], streams: int, rows: int, data: st.DataObject
) -> None:
    """Whatever is read when, and whoever leaves: nothing is run twice, or for one that has left."""

    async def run() -> None:  # noqa: C901
        bench = Bench(streams=streams, rows=rows)
        jobs = [bench.stream(name, *sizes) for name, sizes in zip("abcdef", scripts, strict=False)]
        ran: dict[str, int] = {}
        left: set[str] = set()

        def names_of(steps: Sequence[SharedScript]) -> Iterator[str]:
            for one in steps:
                assert one.name not in left
                ran[one.name] = ran.get(one.name, 0) + 1
                yield one.name

        def step(steps: Sequence[SharedScript], _: Ceiling) -> list[Any]:
            assert 1 <= len(steps) <= rows
            names = list(names_of(steps))
            assert len(set(names)) == len(names)
            leaver = data.draw(st.sampled_from([None, None, None, *jobs]))
            if leaver is not None and not _is_over(leaver):
                leaver.call_off(ClientLeft())
                left.add("abcdef"[jobs.index(leaver)])
            return [(one.name, ran[one.name]) for one in steps]

        assert bench.operation.shared_step is not None
        bench.operation.shared_step.run = step
        plain = operation_on("other", lambda argument: argument())

        def read() -> None:
            for job in jobs:
                if job.stream is not None and job.called_off is None and job.stream._ahead():
                    take_now(job)
            if bench.thread.is_open(*jobs):
                bench.thread.hand_over([bench.thread.job(plain, read)])

        bench.log(jobs, [bench.thread.job(plain, read)])
        assert not bench.thread.worker._rounds._waiting  # nobody is held on to
        for name, sizes, job in zip("abcdef", scripts, jobs, strict=False):
            script = bench.scripts[name]
            steps = sizes.count(STEP)
            expected = [(name, number + 1) for number in range(steps)]
            got = script.results
            assert got == expected[: len(got)]
            if name not in left:
                assert got == expected
                assert _is_over(job)

    asyncio.run(run())


def _is_over(job: Job) -> bool:
    return job.stream is not None and job.stream.has_ended


def test_an_operation_without_a_step_has_none() -> None:
    """Its streams make their steps alone."""
    assert Operation("plain", lambda _: None).shared_step is None
