"""``potassium build``: makes a snapshot of what ``init`` loads, and checks it."""

__all__: list[str] = []
