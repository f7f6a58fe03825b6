"""Worker processes: the model in other processes than HTTP, and the frames between them."""

__all__: list[str] = []
