"""Looks at the machine that a server is to run on."""

__all__: list[str] = []
