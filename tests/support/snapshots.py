"""Snapshots, made without a build."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from potassium.fastboot.keys import accelerator, digest_of, facts_of, software
from potassium.fastboot.manifest import MANIFEST, Keys, Manifest
from potassium.fastboot.restoring import Place, restored
from potassium.fastboot.root import Root
from potassium.fastboot.writing import write

__all__ = ["Snapshot"]


class Snapshot:
    """A snapshot of ``contents``, beside a file ``app.py`` and a file ``weights.bin``."""

    def __init__(self, folder: Path, contents: dict[str, Any], **other: Any) -> None:
        self.folder = folder
        self.app = folder / "app.py"
        self.app.write_text("x = 1\n")
        self.weights = folder / "weights.bin"
        self.weights.write_bytes(b"weights")
        self.path = folder / "snapshot"
        self.path.mkdir(0o755)
        written = write(Root(contents, [], **other), self.path)
        keys = Keys(
            init="init",
            device=None,
            software=software(frozenset(("potassium", "anyio"))),
            accelerator=accelerator(),
            sources={"app.py": digest_of(self.app)},
            modules={"app": "app.py"},
            environment={},
            files={"weights.bin": facts_of(self.weights), "other.bin": None},
        )
        self.manifest = Manifest(
            keys=keys,
            made=0.0,
            objects_size=written.objects_size,
            objects_sha256=written.objects_sha256,
            tensors_size=written.tensors_size,
            chunks=written.chunks,
        )
        self.save()

    @property
    def place(self) -> Place:
        return Place(self.path, self.app, "init", None)

    def save(self) -> None:
        """Write the manifest."""
        (self.path / MANIFEST).write_bytes(self.manifest.encoded())

    def change_keys(self, **changed: Any) -> None:
        """Let the snapshot be made where something else was so."""
        self.manifest = replace(self.manifest, keys=replace(self.manifest.keys, **changed))
        self.save()

    def read(self, place: Place | None = None) -> dict[str, Any]:
        """Restore the snapshot, and return the cache."""
        return restored(place or self.place)[0].contents
