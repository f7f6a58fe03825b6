"""The schema of an app, in OpenAPI; imported only when somebody asks for it."""

__all__: list[str] = []
