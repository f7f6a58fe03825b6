"""The job store on PostgreSQL, which many servers share."""

__all__: list[str] = []
