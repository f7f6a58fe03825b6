"""What torch is built for, without importing it."""

import re
from importlib.util import find_spec
from pathlib import Path

__all__ = ["BUILDS", "torch_builds"]

BUILDS = frozenset(("cuda", "hip", "xpu"))

# torch/version.py, as torch's setup.py writes it: cuda: Optional[str] = '12.8'
BUILT_FOR = re.compile(rf"^({'|'.join(sorted(BUILDS))})\b[^=\n]*= *['\"]", re.MULTILINE)


def torch_builds() -> frozenset[str] | None:
    """Return what of ``BUILDS`` the installed torch is for; None if that is not known."""
    try:
        spec = find_spec("torch")
    except (ImportError, ValueError):  # what is imported as torch is something else
        return None
    for folder in (spec and spec.submodule_search_locations) or ():
        try:
            text = Path(folder, "version.py").read_text("utf-8")
        except OSError:
            continue
        return frozenset(BUILT_FOR.findall(text))
    return None
