"""The nox sessions, and where they are documented."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent


def sessions() -> list[str]:
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [function.name for function in functions if function.decorator_list]


def test_the_readme_lists_every_session() -> None:
    """The section "Working on it" names each nox session."""
    _, _, told = (ROOT / "README.md").read_text().partition("## Working on it")
    assert [name for name in sessions() if f"`{name}`" not in told] == []


def test_every_benchmark_has_a_session() -> None:
    """Each benchmark that is a command of its own can be run from a fresh clone."""
    commands = [
        file.stem
        for file in (ROOT / "benchmarks").glob("*.py")
        if "ArgumentParser(description=" in file.read_text()
    ]
    noxfile = (ROOT / "noxfile.py").read_text()
    assert [name for name in commands if f"benchmarks/{name}.py" not in noxfile] == []
