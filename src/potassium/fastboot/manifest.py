"""What a snapshot says of itself: ``manifest.json``."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from potassium.fastboot.unfit import Unfit

__all__ = ["FORMAT", "MANIFEST", "OBJECTS", "TENSORS", "Chunk", "Keys", "Manifest"]

FORMAT = 1  # of the files; another one is not read

MANIFEST, OBJECTS, TENSORS = "manifest.json", "objects.pkl", "tensors.bin"


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Bytes that lie in ``tensors.bin``: the storage of tensors, or the buffer of another object.

    Attributes:
        offset: where they begin, in bytes.
        size: how many there are.
        device: where they were, as torch calls it.
        digest: of the bytes, for the check after the build. At a start, nobody computes it.

    """

    offset: int
    size: int
    device: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Keys:
    """What must be the same at a start as it was when the snapshot was made.

    Attributes:
        init: the full name of the function.
        device: what it was told; None if it has no parameter for that.
        software: versions by name: Python, the machine, and distributions.
        accelerator: the kind of device, such as ``"cpu"`` or ``"cuda 9.0"``.
        sources: SHA-256 of the user's own files by path; of modules that were imported.
        modules: those files by the names of their modules.
        environment: SHA-256 of variables that were read by name; None for one that was not set.
        files: size and time of change, in nanoseconds, of files that were read, by path; None for
            one that was looked for and not there. Paths below the app's folder begin there.

    """

    init: str
    device: str | None
    software: Mapping[str, str]
    accelerator: str
    sources: Mapping[str, str]
    modules: Mapping[str, str]
    environment: Mapping[str, str | None]
    files: Mapping[str, tuple[int, int] | None]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is in a snapshot, and where it fits.

    Attributes:
        keys: where it fits.
        made: seconds since 1970.
        objects_size: bytes of ``objects.pkl``.
        objects_sha256: its SHA-256.
        tensors_size: bytes of ``tensors.bin``.
        chunks: what lies in that.
        imports: the user's own modules that only ``init`` has imported.
        settings: settings of torch that it has changed, by name.
        variables: environment variables that it has set; None for one that it has removed.
        init_seconds: how long it took.
        format: the version of all this.

    """

    keys: Keys
    made: float
    objects_size: int
    objects_sha256: str
    tensors_size: int
    chunks: tuple[Chunk, ...]
    imports: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str | None] = field(default_factory=dict)
    init_seconds: float = 0.0
    format: int = FORMAT

    def encoded(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def decoded(cls, text: bytes) -> "Manifest":
        """Return what ``text`` says.

        Raises:
            Unfit: it is damaged, or of another version.

        """
        try:
            document: dict[str, Any] = json.loads(text)
            if document["format"] != FORMAT:
                raise Unfit(f"its format is {document['format']}, and not {FORMAT}")
            keys = document.pop("keys")
            files = {
                path: None if facts is None else (int(facts[0]), int(facts[1]))
                for path, facts in keys.pop("files").items()
            }
            chunks = tuple(Chunk(**one) for one in document.pop("chunks"))
            document["imports"] = tuple(document["imports"])
            return cls(keys=Keys(**keys, files=files), chunks=chunks, **document)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise Unfit(f"{MANIFEST} is damaged") from error
