"""The forms in which results that are no plain JSON are sent: pictures, sound, arrays, tables.

No module here imports a library that an app may not have, before a value of its classes exists.
"""

__all__: list[str] = []
