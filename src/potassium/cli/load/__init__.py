"""Load on a server, generated and measured."""

__all__: list[str] = []
