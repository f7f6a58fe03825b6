"""The accelerators of a machine, found without torch and without touching one of them."""

__all__: list[str] = []
