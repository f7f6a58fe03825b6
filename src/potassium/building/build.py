"""Builds a snapshot: makes it in one process, restores it in another, and puts it in place."""

import compileall
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from potassium.building.answers import BuildCall, are_alike
from potassium.building.child import Task
from potassium.building.gain import Phase, phases
from potassium.building.placing import put_in_place
from potassium.config.import_path import ImportPath
from potassium.fastboot.compiled_code import finish
from potassium.fastboot.manifest import MANIFEST, Manifest
from potassium.fastboot.read_ahead import NEEDED
from potassium.fastboot.trusted import write_own

__all__ = ["Built", "NotBuilt", "build"]


class NotBuilt(Exception):
    """There is no new snapshot; the text says why."""


@dataclass(frozen=True)
class Built:
    """A new snapshot.

    Attributes:
        folder: where it is.
        manifest: what it says of itself.
        compiled: bytes of what compilers have made.
        plain: what the process said that has run ``init``.
        restored: what the process said that has restored the snapshot.

    """

    folder: Path
    manifest: Manifest
    compiled: int
    plain: dict[str, Any]
    restored: dict[str, Any]

    @property
    def phases(self) -> list[Phase]:
        """How long the parts of a start take with ``init``, and with the snapshot."""
        return phases(self.plain, self.restored)

    @property
    def varying(self) -> list[str]:
        """The paths of handlers whose answers vary by themselves, so that nobody can compare."""
        return [one["path"] for one in self.plain["answers"] if one["varies"]]


def build(target: ImportPath, calls: Sequence[BuildCall], tell: Callable[[str], object]) -> Built:
    """Make a snapshot of what the app's ``init`` loads; the old one stays until it is there.

    Args:
        target: where the app is.
        calls: calls to make before and after, whose answers must be alike.
        tell: called with what happens next.

    Raises:
        NotBuilt: something cannot be kept, or does not come back as it was; nothing has changed.

    """
    tell("Running init, and writing what it loads.")
    plain = _run(_task(target, calls))
    new = Path(plain["folder"])
    try:
        finish(new)
        tell("Restoring that in another process, and comparing.")
        restored = _run(_task(target, calls, plain))
        _check_answers(plain["answers"], restored["answers"])
        manifest = Manifest.decoded((new / MANIFEST).read_bytes())
        manifest = replace(manifest, settings=restored["settings"])
        for source in manifest.keys.sources:  # nobody may be able to write beside them later
            compileall.compile_file(Path(plain["home"], source), quiet=2)
        write_own(new / MANIFEST, manifest.encoded())
        write_own(new / NEEDED, "\n".join(restored["needed"]).encode(errors="surrogateescape"))
        compiled = finish(new)
        put_in_place(new, Path(plain["place"]))
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return Built(Path(plain["place"]), manifest, compiled, plain, restored)


def _task(
    target: ImportPath, calls: Sequence[BuildCall], made: dict[str, Any] | None = None
) -> Task:
    """Return the task of making a snapshot, or of restoring the one that was ``made``."""
    return Task(
        folder=str(target.folder),
        module=target.module,
        name=target.name,
        snapshot=made["folder"] if made else None,
        tensors=made["tensors"] if made else (),
        settings=made["settings"] if made else {},
        calls=tuple((one.path, str(one.body)) for one in calls),
    )


def _run(task: Task) -> dict[str, Any]:
    """Run a process of the build; return what it has to say.

    Raises:
        NotBuilt: it has failed.

    """
    with tempfile.TemporaryDirectory(prefix="potassium-build-") as folder:
        order, report = Path(folder, "task.json"), Path(folder, "report.json")
        order.write_text(json.dumps(asdict(task)))
        command = [sys.executable, "-m", "potassium.building.child", str(order), str(report)]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)  # noqa: S603
        if not report.exists():
            raise NotBuilt(f"The process ended with status {ended.returncode} and said nothing.")
        document: dict[str, Any] = json.loads(report.read_text())
    if "error" in document:
        raise NotBuilt(document["error"])
    return document


def _check_answers(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> None:
    """Check that the restored app answers as the other one did, where that does not vary.

    Raises:
        NotBuilt: it does not.

    """
    for one, other in zip(before, now, strict=True):
        if not one["varies"] and not are_alike(one["shown"], other["shown"]):
            raise NotBuilt(
                f"{one['path']} answers differently once the snapshot is restored: "
                f"{_short(other['shown'])} instead of {_short(one['shown'])}"
            )


def _short(shown: Any) -> str:
    text = json.dumps(shown)
    return text if len(text) < 200 else f"{text[:200]}..."  # noqa: PLR2004 - a line or two
