"""What workers.py measures, and for how long."""

from dataclasses import dataclass

import variants
from variants import Variant


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to start, and how often and for how many seconds to measure it."""

    devices: str
    with_peers: bool
    rounds: int
    seconds: float
    chunks: int
    patience: float

    def variants(self, *names: str) -> list[Variant]:
        """Return both of Potassium's, and the named peers if they are wanted."""
        return variants.potassium(self.devices) + variants.others(*names if self.with_peers else ())
