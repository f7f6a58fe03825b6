"""What can be found wrong with an app before its model is loaded."""

__all__: list[str] = []
