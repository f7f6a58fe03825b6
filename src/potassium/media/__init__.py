"""Values that come and go as files: pictures, sound, arrays."""

__all__: list[str] = []
