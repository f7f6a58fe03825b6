"""The tests that every store of background jobs must pass, for a store of your own.

::

    class TestMyStore(JobStoreSuite, DurableStoreSuite):
        @pytest.fixture(autouse=True)
        def place(self, tmp_path):
            self.path = tmp_path / "jobs"

        def new_store(self):
            return MyStore(self.path)

``JobStoreSuite`` is for every store, ``DurableStoreSuite`` for one that is durable, and
``SharedStoreSuite`` for one that servers share. ``DeliveryStoreSuite``, which is part of the first,
is about deliveries of webhooks alone. They need ``pip install pytest pytest-asyncio``.
"""

try:
    import pytest
    import pytest_asyncio  # noqa: F401 - used by the modules below
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "The tests of job stores need pytest and its plugin: pip install pytest pytest-asyncio"
    ) from error

# pytest shows the values in a failed assertion only where it was told to.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "claims",
            "deliveries",
            "durability",
            "outcomes",
            "records",
            "samples",
            "sharing",
            "submissions",
            "suite",
            "suspects",
        )
    )
)

from potassium.testing.job_store.deliveries import DeliveryStoreSuite  # noqa: E402 - see above
from potassium.testing.job_store.durability import DurableStoreSuite  # noqa: E402
from potassium.testing.job_store.sharing import SharedStoreSuite  # noqa: E402
from potassium.testing.job_store.suite import JobStoreSuite  # noqa: E402

__all__ = ["DeliveryStoreSuite", "DurableStoreSuite", "JobStoreSuite", "SharedStoreSuite"]
