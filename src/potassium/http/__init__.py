"""HTTP: requests, responses, JSON, streams. Knows nothing about background jobs."""

__all__: list[str] = []
