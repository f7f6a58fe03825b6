"""Answers requests while the server runs; starts and stops the engine and all around it."""

__all__: list[str] = []
