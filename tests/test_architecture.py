"""What the subpackages may import from one another, and how large files may be."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import potassium

SOURCE = Path(potassium.__file__).parent
FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))

# Lower layers first. A file imports from its own package and from the layers below it, not from
# another package of its own layer.
LAYERS = [
    {"errors"},
    {"config", "prefetch"},
    {"engine", "accelerators"},
    {"http"},
    {"media", "client", "store"},
    {"handlers", "webhooks", "connections"},
    {"jobs", "workers", "fastboot", "text"},
    {"observe"},
    {"serving"},
    {"schema", "pages"},
    {"server"},
    {"app"},
    {"testing", "deployment", "openai", "__init__"},
    {"project"},
    {"doctor", "ray", "reload", "worker_process", "building"},
    {"cli"},
    {"__main__"},
]

LONGEST_FILE = 300  # lines
LONGEST_FUNCTION = 50  # lines
MOST_AT_THE_TOP = 6  # modules


def package_of(file: str) -> str:
    return file.partition("/")[0].removesuffix(".py")


def layer_of(package: str) -> int:
    return next(number for number, packages in enumerate(LAYERS) if package in packages)


@cache
def imported_names(file: str) -> frozenset[str]:
    """Return what a file imports, also inside functions and for type checkers only."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((SOURCE / file).read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def imported_files(file: str) -> set[str]:
    """Return the package's own files that a file imports."""
    return {as_file(name) for name in imported_names(file) if name.split(".")[0] == "potassium"} - {
        file
    }


def as_file(name: str) -> str:
    """Return the file of a module, or of the module that contains this name."""
    path = name.removeprefix("potassium").removeprefix(".").replace(".", "/")
    for candidate in (f"{path}.py", f"{path}/__init__.py"):
        if candidate in FILES:
            return candidate
    return as_file(name.rpartition(".")[0])


@pytest.mark.parametrize("file", FILES)
def test_imports_point_one_way(file: str) -> None:
    """A file imports from its own package and from the layers below it, and nothing else."""
    package = package_of(file)
    above = [
        other
        for other in imported_files(file)
        if package_of(other) != package and layer_of(package_of(other)) >= layer_of(package)
    ]
    assert above == []


def test_no_files_import_each_other() -> None:
    """There is no circle of imports, not even one that only type checkers would follow."""
    try:
        TopologicalSorter({file: imported_files(file) for file in FILES}).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("engine/")])
def test_the_engine_knows_nothing_of_http(file: str) -> None:
    """The engine imports neither Starlette nor httpx, no model library, and nothing that counts."""
    roots = {name.split(".")[0] for name in imported_names(file)}
    assert not roots & {"starlette", "httpx", "uvicorn", "torch", "numpy", "pydantic"}
    assert not roots & {"prometheus_client", "opentelemetry"}


# The types of inputs that are files: whoever uses one has its library.
TYPES_OF_FILES = {"media/array.py", "media/arrow.py", "media/audio.py", "media/image.py"}


# What a snapshot has of torch is restored by torch, and only there.
OF_SNAPSHOTS = {
    "fastboot/keys.py",
    "fastboot/random_states.py",
    "fastboot/storages.py",
    "fastboot/torch_devices.py",
    "fastboot/torch_objects.py",
}
OF_TEXTS = {file for file in FILES if file.startswith("text/")}  # public, for who has a model
WITH_LIBRARIES = TYPES_OF_FILES | OF_SNAPSHOTS | OF_TEXTS


@pytest.mark.parametrize("file", [file for file in FILES if file not in WITH_LIBRARIES])
def test_model_libraries_are_never_imported(file: str) -> None:
    """torch, transformers and numpy are recognised by what the app has imported."""
    roots = {name.split(".")[0] for name in imported_names(file)}
    assert not roots & {"torch", "transformers", "numpy"}


@pytest.mark.parametrize("file", [file for file in FILES if file not in OF_TEXTS])
def test_nothing_else_needs_what_generates_texts(file: str) -> None:
    """Apps without it import nothing of it; how texts end is told by OpenAI's API, too."""
    needed = {name for name in imported_files(file) if name.startswith("text/")}
    assert needed <= ({"text/chunks.py"} if file.startswith("openai/") else set())


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith("openai/")])
def test_nothing_else_needs_the_api_of_openai(file: str) -> None:
    """It stands in front of an app, which does not know of it."""
    assert not any(name.startswith("openai/") for name in imported_files(file))


def test_import_brings_in_nothing_that_is_not_needed_yet() -> None:
    """Importing the package imports no server, no client and no validation library."""
    imported = imported_by("from potassium import *")
    assert "starlette" in imported
    assert not imported & {"fastapi", "uvicorn", "httpx", "pydantic", "torch", "numpy", "PIL"}
    assert not imported & {"soundfile", "safetensors", "pyarrow", "pandas", "matplotlib"}
    assert not imported & {"prometheus_client", "opentelemetry"}


def test_public_names_are_found_before_they_are_imported() -> None:
    """Completion lists them, and a name that does not exist is an error as in any module."""
    listed = "import potassium; assert {*potassium.__all__} <= {*dir(potassium)}"
    assert "starlette" not in imported_by(listed)
    missing = "Potasium"
    with pytest.raises(AttributeError, match="no attribute 'Potasium'"):
        getattr(potassium, missing)


def test_the_client_brings_in_nothing_of_the_server() -> None:
    """Who only calls servers imports none, nor pydantic before it is asked for a type."""
    imported = imported_by("import potassium.client")
    assert "httpx" in imported
    assert not imported & {"starlette", "uvicorn", "pydantic", "numpy"}
    call = "from potassium.client.results import value_as; assert value_as(list[int], b'[1]', None)"
    assert "pydantic" in imported_by(call)


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("client/")])
def test_the_client_shares_only_json_with_the_server(file: str) -> None:
    """Of the server's packages, the client imports the errors and the codec of JSON alone."""
    shared = {name for name in imported_files(file) if not name.startswith("client/")}
    assert shared <= {"errors/__init__.py", "http/codec.py"}


def imported_by(code: str) -> set[str]:
    """Return the top-level packages that a new process has imported once it has run ``code``."""
    code += "; import sys; print(*{name.split('.')[0] for name in sys.modules})"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(output.stdout.split())


def test_stores_need_no_client() -> None:
    """The stores of jobs and deliveries import no HTTP client."""
    code = "import sys, potassium.jobs.store; assert 'httpx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name",
    ["potassium", *(info.name for info in pkgutil.walk_packages(potassium.__path__, "potassium."))],
)
def test_all_is_sorted_and_true(name: str) -> None:
    """Each module's ``__all__`` names what exists: constants, then classes, then functions."""
    module = importlib.import_module(name)
    assert module.__all__ == sorted(module.__all__, key=lambda item: (not item.isupper(), item))
    assert [item for item in module.__all__ if not hasattr(module, item)] == []


def test_the_package_is_typed() -> None:
    """Type checkers use the package's annotations."""
    assert (SOURCE / "py.typed").exists()


def test_the_top_level_is_small() -> None:
    """The top level has a handful of modules; everything else is in subpackages."""
    assert len([file for file in FILES if "/" not in file]) <= MOST_AT_THE_TOP


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_one_idea(file: str) -> None:
    """No file is too long to keep in mind, and no function is longer than a screen."""
    text = (SOURCE / file).read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    long = [
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert long == []
