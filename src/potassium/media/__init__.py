"""Values that come as files: pictures, sound, arrays."""

__all__: list[str] = []
