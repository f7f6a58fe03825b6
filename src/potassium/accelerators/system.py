"""What accelerators are looked for in: the one place from which all else takes it."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from potassium.accelerators.nvml import NvidiaGpu, nvml_gpus
from potassium.accelerators.torch_builds import torch_builds

__all__ = ["System", "this_system"]


@dataclass(frozen=True, kw_only=True)
class System:
    """What accelerators are looked for in; tests give another one than this machine.

    Attributes:
        environ: the environment variables.
        root: the folder that stands for ``/``.
        platform: what the machine is, such as ``"Linux x86_64"``.
        nvml: returns the GPUs that NVIDIA's library knows; None if there is no library.
        builds: returns what the installed torch is built for; None if there is no torch.

    """

    environ: Mapping[str, str]
    root: Path
    platform: str
    nvml: Callable[[], Sequence[NvidiaGpu] | None]
    builds: Callable[[], frozenset[str] | None]

    def at(self, path: str) -> Path:
        """Return where an absolute path is."""
        return self.root / path.lstrip("/")

    def read(self, path: str) -> str:
        """Return the text of a file; an empty one if it cannot be read."""
        try:
            return self.at(path).read_text("utf-8", "replace")
        except OSError:
            return ""

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, in order; none if it cannot be read."""
        try:
            return sorted(one.name for one in self.at(folder).iterdir())
        except OSError:
            return []


def this_system() -> System:
    """Return what this process runs on. What has been asked once is remembered."""
    return System(
        environ=os.environ,
        root=Path("/"),
        platform=f"{platform.system()} {platform.machine()}",
        nvml=cache(nvml_gpus),
        builds=cache(torch_builds),
    )
