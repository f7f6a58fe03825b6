"""What the package's parts may know of one another."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import potassium

SOURCE = Path(potassium.__file__).parent
MODULES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))

# Lower layers first; a module imports from its own layer and from those before it.
LAYERS = [
    ["errors.py", "config.py", "environment.py", "urls.py"],
    ["engine/"],
    ["webhooks/"],
    ["jobs/"],
    [
        "codec.py",
        "wire.py",
        "http.py",
        "reply.py",
        "problem.py",
        "request_id.py",
        "body.py",
        "preferences.py",
        "binding.py",
    ],
    ["accelerator.py"],
    ["steps.py", "batches.py", "calls.py"],
    ["handler.py"],
    ["departures.py", "start_failure.py", "failure.py", "webhook.py"],
    ["background.py", "job_service.py"],
    ["intake.py"],
    ["running.py"],
    ["runtime.py"],
    ["path.py", "keys.py", "signals.py"],
    ["relay.py", "endpoint.py", "health.py", "front.py"],
    ["job_routes.py"],
    ["server.py", "app.py"],
    ["testing.py", "__init__.py"],
]


def layer_of(module: str) -> int:
    for number, names in enumerate(LAYERS):
        if any(
            module == name or (name.endswith("/") and module.startswith(name)) for name in names
        ):
            return number
    raise AssertionError(f"{module} is in no layer")


def imports_of(module: str) -> set[str]:
    tree = ast.parse((SOURCE / module).read_text())
    nodes = list(ast.walk(tree))
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return names | {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}


def as_file(name: str) -> str:
    path = name.removeprefix("potassium").removeprefix(".").replace(".", "/")
    if (SOURCE / path / "__init__.py").exists():
        return f"{path}/__init__.py".removeprefix("/")
    return f"{path}.py"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    """A module imports nothing from a layer above its own."""
    ours = [as_file(name) for name in imports_of(module) if name.split(".")[0] == "potassium"]
    assert [name for name in ours if layer_of(name) > layer_of(module)] == []


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("engine/")])
def test_the_engine_knows_nothing_of_http(module: str) -> None:
    """The engine imports neither Starlette nor httpx nor a model library."""
    roots = {name.split(".")[0] for name in imports_of(module)}
    assert not roots & {"starlette", "httpx", "uvicorn", "torch", "numpy", "pydantic"}


@pytest.mark.parametrize("module", MODULES)
def test_model_libraries_are_never_imported(module: str) -> None:
    """torch, transformers and numpy are recognised by what the app has imported."""
    roots = {name.split(".")[0] for name in imports_of(module)}
    assert not roots & {"torch", "transformers", "numpy"}


def test_import_brings_in_nothing_that_is_not_needed_yet() -> None:
    """Importing the package imports no server, no client and no validation library."""
    code = "import sys, potassium; print(*{name.split('.')[0] for name in sys.modules})"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not set(output.stdout.split()) & {"uvicorn", "httpx", "pydantic", "torch", "numpy"}


def test_stores_need_no_client() -> None:
    """What keeps jobs and deliveries imports no HTTP client."""
    code = "import sys, potassium.jobs.store; assert 'httpx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name",
    ["potassium", *(info.name for info in pkgutil.walk_packages(potassium.__path__, "potassium."))],
)
def test_all_is_sorted_and_true(name: str) -> None:
    """Each module's ``__all__`` is sorted and names what is there."""
    module = importlib.import_module(name)
    assert module.__all__ == sorted(module.__all__)
    assert [item for item in module.__all__ if not hasattr(module, item)] == []


def test_the_package_is_typed() -> None:
    """Type checkers take the package's annotations."""
    assert (SOURCE / "py.typed").exists()
