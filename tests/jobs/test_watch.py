"""Waiting for something to happen to a job."""

import asyncio

from potassium.jobs.watch import Watch


async def test_who_watches_is_told() -> None:
    """All watchers of a job wake up when something has happened to it."""
    watch = Watch()
    with watch.over("a") as one, watch.over("a") as another:
        waiting = [asyncio.create_task(change.wait(5)) for change in (one, another)]
        await asyncio.sleep(0)
        watch.tell("a")
        assert [await task for task in waiting] == [True, True]


async def test_nothing_happens_for_so_long() -> None:
    """A watcher whose time is over wakes up too, and knows that nothing has happened."""
    with Watch().over("a") as change:
        assert await change.wait(0.001) is False
        assert await change.wait(0) is False


async def test_what_happens_between_two_waits_is_noticed() -> None:
    """A busy watcher misses nothing, and is woken once for everything that happened."""
    watch = Watch()
    with watch.over("a") as change:
        watch.tell("a")
        watch.tell("a")
        assert await change.wait(5) is True
        assert await change.wait(0) is False


async def test_what_happens_to_others_is_none_of_its_business() -> None:
    """A watcher is woken only for its own job."""
    watch = Watch()
    with watch.over("a") as change, watch.over("b"):
        watch.tell("b")
        watch.tell("c")
        assert await change.wait(0) is False


async def test_all_are_told_at_once() -> None:
    """At a drain, all watchers look again."""
    watch = Watch()
    with watch.over("a") as one, watch.over("b") as another:
        watch.tell_all()
        assert await one.wait(0)
        assert await another.wait(0)


async def test_nothing_is_kept_of_watchers_that_left() -> None:
    """Jobs that nobody watches use no memory; a watcher that leaves does not affect another."""
    watch = Watch()
    with watch.over("a") as stays:
        with watch.over("a"):
            pass
        watch.tell("a")
        assert await stays.wait(0)
    assert not watch._changes
