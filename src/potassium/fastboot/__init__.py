"""Snapshots of what ``init`` has loaded: how they are written, checked and restored."""

__all__: list[str] = []
