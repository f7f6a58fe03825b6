"""What commands have in common that talk to a running server."""

__all__: list[str] = []
