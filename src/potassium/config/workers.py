"""How many worker processes hold a model, and on which devices."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from potassium.config.checks import check_count, check_seconds
from potassium.errors import UsageError

__all__ = ["Workers"]

AUTO = "auto"
DEVICE = re.compile(r"cpu|mps|(?!cpu|mps)[a-z]+:(0|[1-9][0-9]*)")


@dataclass(frozen=True)
class Workers:
    """How many worker processes hold a model, and on which devices.

    Attributes:
        devices: ``"auto"`` is a worker for each accelerator that is visible, or one on the CPU if
            there is none. A number is so many workers: each has an accelerator of its own, or all
            are on the CPU if there is none. A list names the device of each worker, such as
            ``["cuda:0", "cuda:1"]``; a device may be named more than once. ``"cuda:1"`` alone is
            one worker.
        load_at_once: maximum number of workers that load their model at the same time, so that the
            memory of the machine suffices; None for all of them.
        app: where workers import the app from, such as ``"package.module:app"`` or
            ``"app.py:app"``; None for the module that has it.
        load_timeout: maximum seconds for ``init``; a worker that takes longer is killed. None for
            any time.

    Raises:
        UsageError: a value is invalid. Whether a device exists is found out when the app starts.

    """

    devices: int | str | Sequence[str] = AUTO
    load_at_once: int | None = field(default=None, kw_only=True)
    app: str | None = field(default=None, kw_only=True)
    load_timeout: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check every value."""
        devices = self.devices
        if isinstance(devices, str):
            if devices != AUTO:
                self._check_device(devices)
        elif isinstance(devices, Sequence) and not isinstance(devices, bytes) and len(devices):
            for one in devices:
                self._check_device(one)
            object.__setattr__(self, "devices", tuple(devices))  # a list might change
        else:
            self._check_number()
        if self.load_at_once is not None:
            check_count("load_at_once", self.load_at_once)
        if self.load_timeout is not None:
            check_seconds("load_timeout", self.load_timeout)
        app = self.app
        if app is not None and (not isinstance(app, str) or not app.partition(":")[0].strip()):
            raise UsageError(
                f'Workers(app={app!r}): write MODULE:NAME or FILE:NAME, such as "app.py:app".'
            )

    def _check_number(self) -> None:
        if type(self.devices) is not int or self.devices < 1:
            raise UsageError(
                f"Workers({self.devices!r}): write a number of workers above zero, "
                'devices such as ["cuda:0", "cuda:1"], or "auto".'
            )

    def _check_device(self, one: object) -> None:
        if not isinstance(one, str) or not DEVICE.fullmatch(one):
            raise UsageError(
                f"Workers({self.devices!r}): {one!r} is no device; write one such as "
                '"cuda:0" or "cpu".'
            )
