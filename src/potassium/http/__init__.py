"""HTTP, as handlers and jobs need it: requests, answers, JSON, streams. Knows nothing of jobs."""

__all__: list[str] = []
