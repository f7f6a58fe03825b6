"""Whether what ``Jobs(store=...)`` has been given is a store."""

from collections.abc import Sequence

from potassium.errors import UsageError
from potassium.jobs.store import JobStore
from potassium.webhooks.model import DeliveryStore

__all__ = ["check_store", "missing_from"]


def check_store(store: object) -> None:
    """Check that ``store`` has what every ``JobStore`` has.

    Raises:
        UsageError: it is a class, or something is missing.

    """
    if isinstance(store, type):
        raise UsageError(f"Jobs(store=...) takes an object: write {store.__name__}(...).")
    if missing := missing_from(store):
        raise UsageError(
            f"Jobs(store=...): {type(store).__name__} is no potassium.jobs.JobStore, as it does "
            f"not have {', '.join(missing)}."
        )


def missing_from(store: object) -> Sequence[str]:
    """Return the names of the attributes and methods of a ``JobStore`` that ``store`` lacks.

    What a subclass has inherited from ``JobStore`` itself does nothing, so it is not there either.
    """
    protocols = (JobStore, DeliveryStore)
    names = {name for one in protocols for name in (*vars(one), *one.__annotations__)}
    empty = {name: value for one in protocols for name, value in vars(one).items()}
    return [
        name
        for name in sorted(names)
        if name[0] != "_"
        and (
            not hasattr(store, name)
            or (name in empty and getattr(type(store), name, None) is empty[name])
        )
    ]
