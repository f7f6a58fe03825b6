"""What has to be known of an app to put it into an image."""

import ast
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Literal, get_args

from potassium.app import Potassium
from potassium.config import DEFAULT_PORT, Jobs, Limits
from potassium.deployment.stop_time import stop_seconds
from potassium.errors import UsageError

__all__ = ["APP", "CACHE", "Accelerator", "ImageFacts", "image_facts"]

Accelerator = Literal["cuda", "cpu"]

APP = PurePosixPath("/app")  # the code, read-only
CACHE = PurePosixPath("/cache")  # the home of the user that the server runs as

# Of several, the first one counts: a lock says more than what it was made of.
REQUIREMENTS = ("uv.lock", "requirements.txt", "pyproject.toml")
DOWNLOAD = "download.py"
DOWNLOAD_REQUIREMENTS = "requirements-download.txt"


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What has to be known of an app to put it into an image.

    Attributes:
        target: the app's file or module, as it was given.
        command: what starts the server.
        requirements: the file that lists what to install, in the app's folder; None if there is
            none.
        download: the script that downloads the model, in the app's folder; None if there is none.
        download_requirements: the file that lists what the script needs; None for huggingface_hub.
        python: the version of Python, such as ``"3.12"``.
        port: the port that the server listens on, unless the platform sets another.
        accelerator: ``"cpu"`` for the much smaller build of torch that runs on CPUs only.
        fastboot: whether the image has a snapshot of what ``init`` loads.
        stop_seconds: seconds between SIGTERM and SIGKILL; see ``stop_seconds``.
        jobs: the folder of background jobs; None if they are not kept in a file.

    """

    target: str
    command: tuple[str, ...]
    requirements: str | None = None
    download: str | None = None
    download_requirements: str | None = None
    python: str = "3.12"
    port: int = DEFAULT_PORT
    accelerator: Accelerator = "cuda"
    fastboot: bool = False
    stop_seconds: int = stop_seconds(Limits())
    jobs: PurePosixPath | None = None

    @property
    def writable(self) -> tuple[PurePosixPath, ...]:
        """The folders to which the server writes; everything else may be read-only."""
        return (*([self.jobs] if self.jobs else []), CACHE, PurePosixPath("/tmp"))  # noqa: S108


def image_facts(  # noqa: PLR0913 - each may be set by who runs the command
    target: str,
    app: Potassium | None = None,
    *,
    folder: Path | None = None,
    python: str | None = None,
    port: int | None = None,
    accelerator: Accelerator = "cuda",
) -> ImageFacts:
    """Find out what has to be known of an app. Runs nothing of it.

    Args:
        target: the app's file, such as ``"server/app.py"``, or its module, such as
            ``"server.app"``; the app's name may follow: ``"app.py:app"``.
        app: the app, if it could be imported; otherwise, its limits and jobs are taken for the
            default ones.
        folder: what goes into the image; defaults to the folder of the file, or for a module to the
            working directory.
        python: the version of Python; defaults to that in ``.python-version``, then that of this
            process.
        port: the port; defaults to the one that the file gives to ``app.serve()``, then 8000.
        accelerator: ``"cuda"`` or ``"cpu"``.

    Raises:
        UsageError: there is no such file, it is not Python, or the app keeps its jobs beside its
            code.

    """
    if accelerator not in get_args(Accelerator):
        raise UsageError(f'accelerator={accelerator!r} must be "cuda" or "cpu".')
    where = target.partition(":")[0]
    folder = folder or (Path(where).parent if where.endswith(".py") else Path())
    command, own_port = _command(target, folder)
    plan = app and app._parts.plan  # noqa: SLF001 - what it was created with
    limits, jobs = (plan.limits, plan.jobs) if plan else (Limits(), Jobs())
    has_script = (folder / DOWNLOAD).is_file()
    return ImageFacts(
        target=target,
        command=command,
        requirements=_first_of(REQUIREMENTS, folder),
        download=DOWNLOAD if has_script else None,
        download_requirements=_first_of([DOWNLOAD_REQUIREMENTS], folder) if has_script else None,
        python=python or _python_of(folder),
        port=port or own_port or DEFAULT_PORT,
        accelerator=accelerator,
        stop_seconds=stop_seconds(limits),
        jobs=_folder_of(jobs),
    )


def _command(target: str, folder: Path) -> tuple[tuple[str, ...], int | None]:
    """Return what starts the server, in ``folder``, and the port that the file names, if any."""
    where, colon, name = target.partition(":")
    if not where.endswith(".py"):
        return ("potassium", "serve", target), None
    serves, port = _serves(Path(where))
    file = _name_in(folder, where)
    if serves and not name:
        return ("python", file), port
    return ("potassium", "serve", f"{file}{colon}{name}"), port


def _first_of(names: Iterable[str], folder: Path) -> str | None:
    return next((one for one in names if (folder / one).is_file()), None)


def _name_in(folder: Path, file: str) -> str:
    try:
        return Path(file).resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise UsageError(f"{file} is not in the folder {folder}.") from None


def _serves(file: Path) -> tuple[bool, int | None]:
    """Return whether ``python file`` serves the app, and the port that the file names, if any."""
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from error
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not Python: {error}.") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "serve":
            given = [*node.args[1:2], *(one.value for one in node.keywords if one.arg == "port")]
            ports = [one.value for one in given if isinstance(one, ast.Constant)]
            return True, next((one for one in ports if isinstance(one, int) and one), None)
    return False, None


def _python_of(folder: Path) -> str:
    """Return the version that ``.python-version`` says, or the one that runs, as ``3.12``."""
    pinned = folder / ".python-version"
    said = pinned.read_text("utf-8").split()[:1] if pinned.is_file() else []
    version = said[0] if said and said[0].startswith("3.") else sys.version
    return ".".join(version.split()[0].split(".")[:2])


def _folder_of(jobs: Jobs | None) -> PurePosixPath | None:
    """Return where the image has the folder with the file of jobs.

    Raises:
        UsageError: it is the folder of the code, which is read-only.

    """
    if jobs is None or not jobs.is_in_file:
        return None
    folder = PurePosixPath(normpath(APP / Path(str(jobs.path)).as_posix())).parent
    if folder in {APP, *APP.parents}:
        raise UsageError(
            f"Jobs(path={str(jobs.path)!r}) is beside the code, which a container cannot write to: "
            'name a folder, such as Jobs(path=".potassium/jobs.db").'
        )
    return folder
