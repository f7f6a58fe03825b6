"""The user's own files: where the app is, and how it is imported."""

__all__: list[str] = []
