"""What torch.compile and Triton have made: kept in a folder of the snapshot, and found there."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from potassium.fastboot.trusted import OTHERS_WRITE, Folder

__all__ = ["COMPILED", "begin", "finish", "use"]

COMPILED = "compiled"

# Where each keeps what it makes. Whoever has set one has a cache already.
CACHES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}

MODE = 0o755


def begin(snapshot: Path) -> None:
    """Let compilers keep what they make in a new snapshot."""
    (snapshot / COMPILED).mkdir(MODE)
    _name(snapshot / COMPILED)


def finish(snapshot: Path) -> int:
    """Let nobody else write to what was made; return how many bytes it has.

    Locks, and what is empty, are removed.
    """
    size = 0
    for path, _, files in os.walk(snapshot / COMPILED, topdown=False):
        for name in files:
            file = Path(path, name)
            if name.endswith(".lock"):
                file.unlink()
            else:
                file.chmod(file.stat().st_mode & ~OTHERS_WRITE)
                size += file.stat().st_size
        Path(path).chmod(MODE)
        if not any(Path(path).iterdir()):
            Path(path).rmdir()
    return size


def use(snapshot: Folder) -> None:
    """Let compilers find what a snapshot has, if it has any.

    They write to the folder as well. Where they may not, or others could change what they write,
    it is a copy that ends with the process.

    Raises:
        Unfit: somebody else may have written to it.

    """
    if not (snapshot.path / COMPILED).exists():
        return
    snapshot.check_below(COMPILED)
    folder = snapshot.path / COMPILED
    if not os.access(folder, os.W_OK) or OTHERS_WRITE & ~_umask():
        copy = _for_this_process() / COMPILED
        folder = Path(shutil.copytree(folder, copy, copy_function=shutil.copyfile))
    _name(folder)


def _umask() -> int:
    """Return which permissions new files of this process do not have."""
    mask = os.umask(OTHERS_WRITE)
    os.umask(mask)
    return mask


def _for_this_process() -> Path:
    """Return a new folder that is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="potassium-compiled-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _name(folder: Path) -> None:
    if any(map(str.isspace, str(folder))):  # torch does not quote it for the C++ compiler
        link = _for_this_process() / COMPILED
        link.symlink_to(folder, target_is_directory=True)
        folder = link
    for variable, name in CACHES.items():
        os.environ.setdefault(variable, str(folder / name))
