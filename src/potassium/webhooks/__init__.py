"""Results that are posted onward: kept, signed, and tried again until they have arrived.

Nothing is imported here: the stores of jobs keep deliveries too, and have no need of httpx.
"""

__all__: list[str] = []
