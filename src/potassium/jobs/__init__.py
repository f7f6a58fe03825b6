"""Background jobs: kept in a store, run when there is time, told of by webhooks."""

__all__: list[str] = []
