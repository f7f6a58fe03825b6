"""Serving an app while its code changes, with the model that is loaded."""

__all__: list[str] = []
