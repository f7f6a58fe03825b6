"""All that a store of jobs promises."""

from potassium.jobs import JobStore, SteadyClock
from potassium.jobs.conformance import missing_from
from potassium.testing.job_store.claims import Claims
from potassium.testing.job_store.deliveries import DeliveryStoreSuite
from potassium.testing.job_store.durability import DurableStoreSuite
from potassium.testing.job_store.outcomes import Outcomes
from potassium.testing.job_store.records import Records
from potassium.testing.job_store.samples import new_job
from potassium.testing.job_store.sharing import SharedStoreSuite
from potassium.testing.job_store.submissions import Submissions
from potassium.testing.job_store.suspects import Suspects

__all__ = ["JobStoreSuite"]


class JobStoreSuite(Submissions, Claims, Suspects, Outcomes, Records, DeliveryStoreSuite):
    """Tests of a ``JobStore``, those of deliveries among them; subclasses override ``new_store``.

    A store that is durable must pass ``DurableStoreSuite`` as well, and one that is shared
    ``SharedStoreSuite``: name them as further base classes.
    """

    async def test_it_has_all_that_a_store_has(self, store: JobStore) -> None:
        """Whatever the interface has is there. Its clock is a SteadyClock, and nothing is wrong."""
        assert missing_from(store) == []
        assert isinstance(store.clock, SteadyClock)
        assert (store.fault, store.dropped) == (None, 0)
        await store.upkeep()

    async def test_what_it_says_of_itself_is_tested(self, store: JobStore) -> None:
        """Durable stores pass DurableStoreSuite, shared ones SharedStoreSuite, others neither."""
        assert store.is_durable == isinstance(self, DurableStoreSuite)
        assert store.is_shared == isinstance(self, SharedStoreSuite)

    async def test_a_store_that_was_closed_can_be_opened_again(self) -> None:
        """An app that starts anew in the same process opens the store that it was given."""
        store = self.new_store()
        for _ in range(2):
            await store.open()
            job = await store.submit(new_job())
            assert await store.get(job.id) == job.light
            await store.close()
