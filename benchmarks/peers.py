"""The peers that Potassium is compared with, each installed in its own environment.

A peer's own dependencies take precedence there. torch, transformers and the model come from the
environment that the benchmark runs in, so that all servers compute with the same versions.
"""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".bench"
PEERS = {
    "litserve": "litserve==0.2.19",
    "mosec": "mosec==0.9.8",
    "fastsafetensors": "fastsafetensors==0.5.0",
    "tensorizer": "tensorizer==2.12.1",
}


def python(peer: str) -> str:
    """Return the interpreter of a peer's environment, which is created if necessary."""
    folder = FOLDER / peer
    interpreter = folder / "bin" / "python"
    made = folder / "made-for"
    wanted = f"{PEERS[peer]}, Python {sys.version}"
    if not made.exists() or made.read_text() != wanted:
        print(f"Installing {PEERS[peer]} in {folder}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        constraints = str(ROOT / "constraints.txt")
        pip = [str(interpreter), "-m", "pip", "install", "-qq", "-c", constraints]
        subprocess.run([*pip, PEERS[peer]], check=True)
        made.write_text(wanted)
    own = sysconfig.get_path("purelib", scheme="venv", vars={"base": str(folder)})
    shared = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    Path(own, "shared.pth").write_text("\n".join(shared) + "\n")
    return str(interpreter)
