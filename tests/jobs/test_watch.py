"""Waiting for something to happen to a job."""

import asyncio
from itertools import pairwise

import pytest

from potassium.errors import StoreFailed, TooManyWatchers
from potassium.jobs.watch import AT_ONCE, Watch


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_watches_is_told() -> None:
    """All watchers of a job wake up when something has happened to it."""
    watch = Watch(1000)
    with watch.over("a") as one, watch.over("a") as another:
        waiting = [asyncio.create_task(change.wait(5)) for change in (one, another)]
        await asyncio.sleep(0)
        watch.tell("a")
        assert [await task for task in waiting] == [True, True]


async def test_nothing_happens_for_so_long() -> None:
    """A watcher whose time is over wakes up too, and knows that nothing has happened."""
    with Watch(1000).over("a") as change:
        assert await change.wait(0.001) is False
        assert await change.wait(0) is False


async def test_what_happens_between_two_waits_is_noticed() -> None:
    """A busy watcher misses nothing, and is woken once for everything that happened."""
    watch = Watch(1000)
    with watch.over("a") as change:
        watch.tell("a")
        watch.tell("a")
        assert await change.wait(5) is True
        assert await change.wait(0) is False


async def test_what_happens_to_others_is_none_of_its_business() -> None:
    """A watcher is woken only for its own job."""
    watch = Watch(1000)
    with watch.over("a") as change, watch.over("b"):
        watch.tell("b")
        watch.tell("c")
        assert await change.wait(0) is False


async def test_all_are_told_at_once() -> None:
    """At a drain, all watchers look again."""
    watch = Watch(1000)
    with watch.over("a") as one, watch.over("b") as another:
        watch.tell_all()
        assert await one.wait(0)
        assert await another.wait(0)


async def test_nothing_is_kept_of_watchers_that_left() -> None:
    """Jobs that nobody watches use no memory; a watcher that leaves does not affect another."""
    watch = Watch(1000)
    with watch.over("a") as stays:
        with watch.over("a"):
            pass
        watch.tell("a")
        assert await stays.wait(0)
    assert not watch._changes


async def test_who_waits_for_the_end_is_not_woken_by_progress() -> None:
    """A job may report twenty times a second; its end wakes those who watch everything too."""
    watch = Watch(1000)
    with watch.over("a", until_end=True) as end, watch.over("a") as everything:
        watch.tell("a")
        assert await everything.wait(0)
        assert await end.wait(0) is False
        watch.tell_end("a")
        assert await end.wait(0)
        assert await everything.wait(0)
    assert not watch._ends


async def test_no_more_watch_than_may() -> None:
    """Whatever they watch, and whatever for; one that leaves makes room."""
    watch = Watch(2)
    with watch.over("a"):
        with watch.over("b", until_end=True):
            for until_end in (False, True):
                with pytest.raises(TooManyWatchers, match="2 clients") as refused:
                    watch.over("c", until_end=until_end).__enter__()
                assert refused.value.headers == {"Retry-After": "5"}
        with watch.over("c"):
            pass
    assert watch._watchers == 0


class Crowd:
    """Watchers of one job, each of which reads it when it is woken."""

    def __init__(self, watch: Watch, size: int) -> None:
        self.watch = watch
        self.woken = 0
        self.all_are_awake = asyncio.Event()
        self.reads = 0
        self.state = "queued"
        self.store = asyncio.Event()  # the store answers once it is set
        self.store.set()
        self.tasks = [asyncio.create_task(self._watch()) for _ in range(size)]

    async def _watch(self) -> str:
        with self.watch.over("a") as change:
            await change.wait(5)
            self.woken += 1
            if self.woken == len(self.tasks):
                self.all_are_awake.set()
            return await self.read()

    async def read(self) -> str:
        return await self.watch.read("a", "state", self._read)

    async def _read(self) -> str:
        self.reads += 1
        state = self.state
        await self.store.wait()
        return state


async def test_many_watchers_are_woken_over_several_turns_of_the_loop() -> None:
    """Others have their turn in between, however many watch one job."""
    watch = Watch(1000)
    crowd = Crowd(watch, 100)
    await asyncio.sleep(0)
    watch.tell("a")
    seen = []
    while crowd.woken < 100:
        await asyncio.sleep(0)
        seen.append(crowd.woken)
    assert max(after - before for before, after in pairwise([0, *seen])) == AT_ONCE
    await asyncio.gather(*crowd.tasks)


@pytest.mark.parametrize("is_slow", [False, True])
async def test_many_watchers_read_once_what_has_changed(is_slow: bool) -> None:
    """All get it, whether the store answers before the last of them is woken or after."""
    watch = Watch(1000)
    crowd = Crowd(watch, 100)
    await asyncio.sleep(0)
    crowd.state = "succeeded"
    if is_slow:
        crowd.store.clear()
    watch.tell("a")
    await crowd.all_are_awake.wait()
    crowd.store.set()
    assert set(await asyncio.gather(*crowd.tasks)) == {"succeeded"}
    assert crowd.reads == 1


async def test_what_was_read_before_a_change_is_not_shared_after_it() -> None:
    """A watcher that is woken never gets a state from before that."""
    watch = Watch(1000)
    crowd = Crowd(watch, 1)
    crowd.store.clear()
    early = asyncio.create_task(crowd.read())
    await settle()
    crowd.state = "running"
    watch.tell("a")
    late = asyncio.create_task(crowd.read())
    await settle()
    crowd.store.set()
    assert [await early, await late] == ["queued", "running"]
    await asyncio.gather(*crowd.tasks)


async def test_nothing_that_was_read_is_kept() -> None:
    """It may be large: it is gone once all who were woken have it."""
    watch = Watch(1000)
    crowd = Crowd(watch, 100)
    await asyncio.sleep(0)
    watch.tell("a")
    await asyncio.gather(*crowd.tasks)
    await crowd.read()
    await asyncio.sleep(0)
    reads = watch._reads
    assert [*reads._current, *reads._of_job, *reads._running] == []


async def test_a_reader_that_leaves_takes_nothing_from_the_others() -> None:
    """They get what it began to read."""
    crowd = Crowd(Watch(1000), 0)
    crowd.store.clear()
    leaves, stays = (asyncio.create_task(crowd.read()) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.wait({leaves})
    crowd.store.set()
    assert await stays == "queued"
    assert crowd.reads == 1


async def test_a_read_that_fails_fails_for_all_who_share_it() -> None:
    """And the next one is tried again."""
    watch = Watch(1000)
    reads = 0

    async def read() -> int:
        nonlocal reads
        reads += 1
        if reads == 1:
            raise StoreFailed("no")
        return reads

    both = (watch.read("a", "state", read) for _ in range(2))
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreFailed] * 2
    assert await watch.read("a", "state", read) == 2
