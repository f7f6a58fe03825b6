"""The job store on SQLite."""

__all__: list[str] = []
