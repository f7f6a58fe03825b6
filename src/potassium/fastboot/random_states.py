"""The states of torch's generators of random numbers, so that a start draws what another would."""

import sys
from typing import Any

__all__ = ["put_states", "states"]

CPU = "cpu"


def states() -> dict[str, Any]:
    """Return the state of each generator by its device; none if torch is not imported."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return {}
    found = {CPU: torch.get_rng_state()}
    if torch.cuda.is_initialized():
        for number, state in enumerate(torch.cuda.get_rng_state_all()):
            found[f"cuda:{number}"] = state
    return found


def put_states(states: dict[str, Any]) -> None:
    """Set the generators of those devices that there are."""
    for device, state in states.items():
        import torch  # noqa: PLC0415 - the snapshot has to do with it

        if device == CPU:
            torch.set_rng_state(state)
        elif int(device.partition(":")[2]) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, device)
