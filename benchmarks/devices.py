"""The devices that have a worker each, in an environment variable, which the workers see, too."""

import os
from typing import Any

import potassium

DEVICES = "DEVICES"


def options() -> dict[str, Any]:
    """Return the arguments of ``Potassium()`` for these workers; none stands for one process."""
    devices = os.environ.get(DEVICES)
    return {"workers": potassium.Workers(devices=devices.split(","))} if devices else {}
