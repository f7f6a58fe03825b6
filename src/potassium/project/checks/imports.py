"""What a module did when it was imported."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from potassium.handlers.torch_modules import module_of
from potassium.project.finding import Finding, note, problem
from potassium.project.unserved import Unserved
from potassium.serving.import_times import LIBRARIES

__all__ = ["findings", "shadows"]

MOST = 2.0  # seconds that an import may take, besides the libraries that models come with

# Libraries that a file beside the app must not be called like; and so must none of Python's own.
OURS = ("anyio", "click", "httpx", "orjson", "potassium", "pydantic", "starlette", "uvicorn")
OFTEN = ("datasets", "numpy", "onnx", "pandas", "PIL", "safetensors", "tokenizers")
HARMLESS = {"antigravity", "test", "this"}  # parts of Python that nobody imports


def findings(imported: Unserved) -> Iterable[Finding]:
    """Yield what the module of an app should not have done."""
    yield from _served(imported)
    yield from _loaded(imported)
    yield from shadows(imported.target.folder)


def shadows(folder: Path) -> Iterable[Finding]:
    """Yield files that ``python app.py`` takes for libraries, because they are beside it."""
    for path in sorted(folder.glob("*.py")):
        if path.stem not in (LIBRARIES | {*OURS, *OFTEN} | sys.stdlib_module_names) - HARMLESS:
            continue
        say = note if path.stem in sys.stdlib_module_names else problem
        yield say(
            "import",
            f"{path.name} is beside the app: with python app.py, whatever imports {path.stem} gets "
            "this file instead of the library.",
            f"Rename it, for example to my_{path.name}.",
        )


def _served(imported: Unserved) -> Iterator[Finding]:
    for place in imported.served_at:
        yield problem(
            "import",
            f"{place} serves as soon as the module is imported, so everything that imports it "
            "hangs: tests, other servers, tools.",
            'Put the call under: if __name__ == "__main__":',
        )


def _loaded(imported: Unserved) -> Iterator[Finding]:
    """Yield what hints that a model is loaded by the import."""
    instead = "Load it in the function that @app.init decorates, and return it from there."
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is not None and cuda.is_initialized():
        yield problem(
            "import",
            "The import has initialized CUDA: every import loads the model, and not on the GPU "
            "thread.",
            instead,
        )
    names = [
        name
        for name, value in vars(sys.modules[imported.target.module]).items()
        if _is_model(value)
    ]
    if names:
        yield note(
            "import",
            f"{', '.join(names)}: every import of the module loads a model.",
            instead,
        )
    elif imported.seconds > MOST:
        known = "".join(f", {name} {took:.1f} s" for name, took in imported.libraries.items())
        yield note(
            "import",
            f"It took {imported.seconds:.1f} s{known and f' (besides{known[1:]})'}.",
            f"If that is the model: {instead[0].lower()}{instead[1:]}",
        )


def _is_model(value: object) -> bool:
    with suppress(Exception):  # of the app's own objects, whatever they do
        module_of(value)
        return not isinstance(value, type)
    return False
