"""Background jobs: stored, run when there is capacity, and reported by webhooks."""

__all__: list[str] = []
