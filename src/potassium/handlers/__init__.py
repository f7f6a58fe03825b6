"""One registered function: how its input binds, and what runs it."""

__all__: list[str] = []
