"""Handlers: the registered functions, how their input is bound, and how they run."""

__all__: list[str] = []
