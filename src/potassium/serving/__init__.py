"""What answers requests while the server runs, and what starts and stops it."""

__all__: list[str] = []
