"""What a store promises about deliveries of webhooks."""

import itertools
from typing import Any

import pytest
import pytest_asyncio

from potassium.jobs import Delivery, DeliveryStore, Full, JobStore
from potassium.testing.job_store.promises import Promises
from potassium.testing.job_store.samples import NOW, attempt, delivery

__all__ = ["DeliveryStoreSuite"]


async def take(  # noqa: PLR0913 - each has a default
    deliveries: DeliveryStore,
    *,
    now: float = NOW,
    limit: int = 9,
    hosts: tuple[str, ...] = (),
    owners: tuple[str, ...] = (),
    is_guarded: bool = False,
) -> list[Delivery]:
    """Take from each owner once, except for these hosts and owners."""
    return list(
        await deliveries.take_due(
            is_guarded=is_guarded, now=now, limit=limit, full=Full(hosts=hosts, owners=owners)
        )
    )


async def next_due(deliveries: DeliveryStore, *hosts: str) -> float | None:
    """Return when the next turn to get one of the app's own deliveries comes."""
    return await deliveries.next_due(is_guarded=False, full=Full(hosts=hosts))


class DeliveryStoreSuite(Promises):
    """Tests of a ``DeliveryStore``.

    It is part of ``JobStoreSuite``. For a store of deliveries alone, override ``deliveries``.
    """

    @pytest_asyncio.fixture(loop_scope="function")
    async def deliveries(self, store: JobStore) -> DeliveryStore:
        """Return the store of deliveries."""
        return store

    async def test_a_delivery_is_kept_as_it_was_given(self, deliveries: DeliveryStore) -> None:
        """Whoever takes it gets all of its fields."""
        given = delivery(
            url="https://user:pw@A.test:81/x?y",
            body=b"\x00",
            job_id="j",
            is_guarded=True,
            trace=(("traceparent", "00-1-2-01"), ("tracestate", 'a="b"')),
            attempts=3,
        )
        await deliveries.add(given)
        assert await take(deliveries, is_guarded=True) == [given]

    async def test_deliveries_are_taken_in_the_order_of_time(
        self, deliveries: DeliveryStore
    ) -> None:
        """To one host, the one due first comes first; none is taken before its time."""
        times = [NOW + 3, NOW + 1, NOW + 2, NOW + 5]
        for due_at in times:
            await deliveries.add(delivery(due_at=due_at))
        assert await next_due(deliveries) == NOW + 1
        for due_at in sorted(times)[:3]:
            assert [each.due_at for each in await take(deliveries, now=NOW + 4)] == [due_at]
        assert await take(deliveries, now=NOW + 4) == []
        assert await next_due(deliveries) == NOW + 5

    async def test_hosts_take_turns(self, deliveries: DeliveryStore) -> None:
        """However many wait for a host, each other host that has a delivery due goes first."""
        for number in range(5):
            await deliveries.add(delivery(id=f"a{number}", url="https://a.test/", due_at=NOW - 9))
        await deliveries.add(delivery(id="b0", url="https://b.test/", due_at=NOW - 5))
        assert [each.id for each in await take(deliveries, now=NOW, limit=1)] == ["a0"]
        await deliveries.add(delivery(id="c0", url="https://c.test/", due_at=NOW))
        taken = [await take(deliveries, now=NOW + number, limit=1) for number in range(1, 5)]
        assert [each.id for (each,) in taken] == ["b0", "a1", "c0", "a2"]

    async def test_a_turn_is_one_delivery_of_each_host(self, deliveries: DeliveryStore) -> None:
        """As many hosts as asked for have a turn at once."""
        for host in "abc":
            for _ in range(2):
                await deliveries.add(delivery(url=f"https://{host}.test/"))
        assert len(await take(deliveries, limit=2)) == 2
        assert {each.host for each in await take(deliveries)} == {"a.test", "b.test", "c.test"}
        assert len(await take(deliveries)) == 1

    async def test_hosts_of_an_owner_take_turns(self, deliveries: DeliveryStore) -> None:
        """The ports of a machine that clients name have the turns of one, and share these."""

        async def add(*names: str) -> None:
            for name in names:
                url = f"http://{name[0]}.test:{name[1]}/"
                await deliveries.add(delivery(id=name, url=url, is_guarded=True))

        async def turns(count: int, **full: tuple[str, ...]) -> list[str]:
            taken = []
            for _ in range(count):
                now = NOW + next(seconds)
                got = await take(deliveries, now=now, limit=1, is_guarded=True, **full)
                taken += [each.id for each in got]
            return taken

        seconds = itertools.count(1)

        await add("a1", "a1.", "a2", "a2.", "a3", "b1", "b1.", "b2")
        assert await turns(5) == ["a1", "b1", "a2", "b2", "a3"]
        assert await turns(2, hosts=("a.test:1",)) == ["b1.", "a2."]
        assert await turns(1, hosts=("a.test:1",)) == []
        side: dict[str, Any] = {"is_guarded": True}
        assert await deliveries.next_due(**side, full=Full(hosts=("a.test:1",))) is None
        assert await deliveries.next_due(**side, full=Full(owners=("a.test",))) is None
        assert await turns(9) == ["a1."]

    async def test_the_next_turn_is_of_whoever_is_not_full(self, deliveries: DeliveryStore) -> None:
        """Neither a full host nor a full owner has one, but their neighbours have."""
        for port, due_at in ((1, NOW), (2, NOW + 9)):
            url = f"http://a.test:{port}/"
            await deliveries.add(delivery(url=url, is_guarded=True, due_at=due_at))
        await deliveries.add(delivery(url="http://b.test/", is_guarded=True, due_at=NOW + 5))
        for full, expected in (
            (Full(), NOW),
            (Full(hosts=["a.test:1"]), NOW + 5),
            (Full(owners=["a.test"]), NOW + 5),
            (Full(owners=["b.test"]), NOW),
            (Full(hosts=["a.test:1"], owners=["b.test"]), NOW + 9),
            (Full(hosts=["a.test:1", "a.test:2", "b.test"]), None),
        ):
            assert await deliveries.next_due(is_guarded=True, full=full) == expected

    async def test_deliveries_to_clients_urls_are_apart(self, deliveries: DeliveryStore) -> None:
        """Those to the app's own URLs are neither behind nor among them, even on the same host."""
        own = delivery(url="https://a.test/", due_at=NOW)
        clients = delivery(url="https://a.test:444/", is_guarded=True, due_at=NOW - 1)
        for each in (own, clients):
            await deliveries.add(each)
        assert await next_due(deliveries) == NOW
        assert await take(deliveries) == [own]
        assert await take(deliveries, is_guarded=True, owners=("a.test",)) == []
        assert await take(deliveries, is_guarded=True) == [clients]

    async def test_what_is_undelivered_is_counted(self, deliveries: DeliveryStore) -> None:
        """That includes what is being tried, and not what has arrived or was given up."""
        first, second = delivery(), delivery(url="https://b.test/", job_id="j")
        for each in (first, second, delivery(due_at=NOW + 9)):
            await deliveries.add(each)
        await take(deliveries)
        assert await deliveries.undelivered() == 3
        await deliveries.tried(first, attempt(first, next_at=None))
        assert await deliveries.undelivered() == 2
        await deliveries.stop(second)
        assert await deliveries.undelivered() == 1

    async def test_a_taken_delivery_is_nobody_elses(self, deliveries: DeliveryStore) -> None:
        """Nobody else takes it until its attempt is stored; then it is due again."""
        await deliveries.add(delivery())
        (taken,) = await take(deliveries)
        assert await take(deliveries) == []
        assert await next_due(deliveries) is None
        await deliveries.tried(taken, attempt(taken, next_at=NOW + 5))
        assert await take(deliveries, now=NOW + 4) == []
        assert await take(deliveries, now=NOW + 5) == [taken.tried(NOW + 5)]

    async def test_hosts_can_be_left_out(self, deliveries: DeliveryStore) -> None:
        """Deliveries to other hosts are taken ahead of those to a host that has enough."""
        await deliveries.add(delivery(url="https://User@A.test:81/1"))
        await deliveries.add(delivery(url="https://b.test/", due_at=NOW - 1))
        await deliveries.add(delivery(url="https://a.test/"))
        assert await next_due(deliveries, "b.test") == NOW
        others = await take(deliveries, hosts=("a.test:81", "b.test"))
        assert [each.host for each in others] == ["a.test"]
        assert {each.host for each in await take(deliveries)} == {"b.test", "a.test:81"}

    async def test_every_attempt_is_kept(self, deliveries: DeliveryStore) -> None:
        """The attempts of all deliveries of a job are listed in order of time."""
        first, second = delivery(job_id="j"), delivery(job_id="j")
        await deliveries.add(first)
        await deliveries.add(second)
        await deliveries.add(delivery(job_id="other"))
        for _ in range(3):
            await take(deliveries)
        attempts = [
            attempt(first, next_at=NOW + 3, at=NOW + 1),
            attempt(second, next_at=None, at=NOW + 2),
            attempt(first.tried(NOW + 3), next_at=None, at=NOW + 3),
        ]
        await deliveries.tried(first, attempts[0])
        await deliveries.tried(second, attempts[1])
        (again,) = await take(deliveries, now=NOW + 3)
        await deliveries.tried(again, attempts[2])
        assert list(await deliveries.attempts_of("j")) == attempts
        assert await next_due(deliveries) is None

    async def test_deliveries_to_a_url_can_be_given_up(self, deliveries: DeliveryStore) -> None:
        """None of the job to that URL is due any more, not even one being tried that fails."""
        first, second = delivery(job_id="j"), delivery(job_id="j", due_at=NOW + 1)
        for each in (first, second):
            await deliveries.add(each)
        (taken,) = await take(deliveries)
        await deliveries.stop(taken)
        await deliveries.tried(taken, attempt(taken, next_at=NOW))
        assert await take(deliveries, now=NOW + 5) == []
        assert len(await deliveries.attempts_of("j")) == 1

    @pytest.mark.parametrize(
        "differs",
        [
            {"url": "https://a.test/other"},
            {"job_id": "other"},
            {"job_id": None},
            {"is_guarded": True},
        ],
        ids=lambda differs: next(iter(differs)),
    )
    async def test_only_deliveries_to_that_url_are_given_up(
        self, deliveries: DeliveryStore, differs: dict[str, Any]
    ) -> None:
        """Those to other URLs of the host, about other jobs, or of others, are still due."""
        first = delivery(job_id="j")
        other = delivery(**{"job_id": "j", "due_at": NOW + 1, **differs})
        for each in (first, other):
            await deliveries.add(each)
        await take(deliveries)
        await deliveries.stop(first)
        assert await take(deliveries, now=NOW + 5, is_guarded=other.is_guarded) == [other]

    async def test_what_nobody_can_ask_for_is_forgotten(self, deliveries: DeliveryStore) -> None:
        """A delivery of a direct call leaves nothing behind when it has ended."""
        await deliveries.add(delivery(id="direct"))
        (taken,) = await take(deliveries)
        await deliveries.tried(taken, attempt(taken, next_at=NOW))
        (taken,) = await take(deliveries)
        await deliveries.tried(taken, attempt(taken, next_at=None))
        await deliveries.add(delivery(id="direct"))  # as good as new
        assert len(await take(deliveries)) == 1
