"""An event loop whose time stands still until a test moves it."""

import asyncio


class ManualLoop(asyncio.SelectorEventLoop):
    """Runs what is ready on demand; timers go by ``now``, which a test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def step(self, times: int = 1) -> None:
        """Run ``times`` iterations of the loop, each of which runs what is ready; never blocks."""
        for _ in range(times):
            self.call_soon(self.stop)
            self.run_forever()

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is ready to run, and no timer is due."""
        timers = self._scheduled  # type: ignore[attr-defined]
        return not self._ready and not (timers and timers[0].when() <= self.now)  # type: ignore[attr-defined]

    def rest(self) -> None:
        """Run what is ready, and what that makes ready, until nothing is; never blocks."""
        for _ in range(10_000):
            self.step()
            if self.is_at_rest:
                return
        raise AssertionError("the loop does not come to rest")
