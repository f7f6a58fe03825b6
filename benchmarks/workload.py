"""The models of starts.py that no package brings, saved as checkpoints.

The plain torch model has linear layers of a total size; the language model is a Llama of random
weights. The folder, the size and the device come from the environment, which servers and scripts
inherit.
"""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

__all__ = [
    "DEVICE",
    "FOLDER",
    "GIB",
    "Net",
    "layers",
    "load_language",
    "load_plain",
    "paths",
    "quantised",
    "row",
    "write",
    "write_language",
]

FOLDER, GIB, DEVICE = "STARTS_FOLDER", "STARTS_GIB", "STARTS_DEVICE"
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


def device() -> str:
    return os.environ.get(DEVICE, "cpu")


def row() -> torch.Tensor:
    return torch.ones(1, WIDTH, device=device())


def load_plain() -> Net:
    """Load the model as most apps do."""
    net = Net(layers())
    net.load_state_dict(torch.load(paths()[0], weights_only=True))
    net.to(device()).eval()
    return net


def load_language(**options: Any) -> Any:
    """Load the language model; ``device_map`` loads it straight to where it belongs."""
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - slow

    folder = Path(os.environ[FOLDER]) / "llama"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", **options)
    return model if options else model.to(device())


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


def write_language() -> None:
    """Write the language model, unless it is there: 1.2 billion weights of 16 bits."""
    from smollm2 import CONFIGS  # noqa: PLC0415 - as above
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415 - as above

    folder = Path(os.environ[FOLDER]) / "llama"
    if not folder.exists():
        torch.set_default_dtype(torch.bfloat16)
        with torch.device(device()):
            model = LlamaForCausalLM(LlamaConfig(**CONFIGS["random-1b"], tie_word_embeddings=True))
        torch.set_default_dtype(torch.float32)
        model.save_pretrained(folder)
