"""The plain torch model of starts.py: linear layers of a total size, saved as a checkpoint.

The folder and the size come from the environment, which servers and scripts inherit.
"""

import os
from pathlib import Path

import torch
from torch import nn

__all__ = ["FOLDER", "GIB", "Net", "layers", "load_plain", "paths", "quantised", "row", "write"]

FOLDER, GIB = "STARTS_FOLDER", "STARTS_GIB"
WIDTH = 2048


class Net(nn.Module):  # type: ignore[misc] # torch has no types here
    """Layers of 16 MiB each."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(count))

    def forward(self, row: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            row = torch.relu(layer(row))
        return row


def layers() -> int:
    return max(1, round(float(os.environ[GIB]) * 2**30 / (4 * WIDTH * WIDTH)))


def paths() -> tuple[Path, Path]:
    """Return the files of the weights: for torch.load, and as safetensors."""
    folder = Path(os.environ[FOLDER])
    return folder / "weights.pt", folder / "weights.safetensors"


def row() -> torch.Tensor:
    return torch.ones(1, WIDTH)


def load_plain() -> Net:
    """Load the model as most apps do."""
    net = Net(layers())
    net.load_state_dict(torch.load(paths()[0], weights_only=True))
    net.eval()
    return net


def quantised(net: Net) -> nn.Module:
    """Return the model with weights of 8 bits."""
    made: nn.Module = torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)
    return made


def write() -> None:
    """Write the weights, unless they are there."""
    from safetensors.torch import save_file  # noqa: PLC0415 - apps do without

    checkpoint, tensors = paths()
    if not tensors.exists():
        state = Net(layers()).state_dict()
        torch.save(state, checkpoint)
        save_file(state, tensors)
