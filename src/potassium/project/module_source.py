"""The source of a module: what its names are bound to, and what it imports."""

import ast
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

__all__ = ["ModuleSource", "imported_from"]


class ModuleSource:
    """The source of a module as it is on disk.

    It is parsed when it is first looked into, which raises a SyntaxError if it is not Python.

    Attributes:
        name: the full name of the module.
        path: its file.
        text: the source.

    """

    def __init__(self, name: str, path: Path, text: bytes | None = None) -> None:
        """Take the source of a module, or read it.

        Raises:
            OSError: it cannot be read.

        """
        self.name = name
        self.path = path
        self.text = path.read_bytes() if text is None else text

    @cached_property
    def tree(self) -> ast.Module:
        """The source, parsed."""
        return ast.parse(self.text, str(self.path))

    @property
    def package(self) -> str:
        """The package that relative imports begin in."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    @cached_property
    def bindings(self) -> dict[str, list[ast.stmt]]:
        """The statements at the top level that bind each name, compound ones as a whole."""
        found: dict[str, list[ast.stmt]] = {}
        for statement in self.tree.body:
            for name in sorted(set(_bound(statement))):
                found.setdefault(name, []).append(statement)
        return found

    @cached_property
    def alterations(self) -> dict[str, list[ast.stmt]]:
        """The statements at the top level that change what a name is bound to.

        Such as ``name["key"] = 1``, ``name.attribute = 1`` and ``name.append(1)``.
        """
        found: dict[str, list[ast.stmt]] = {}
        for statement in self.tree.body:
            for name in sorted(set(_altered(statement))):
                found.setdefault(name, []).append(statement)
        return found

    @cached_property
    def imports(self) -> set[str]:
        """The full names of what it imports anywhere: modules, and perhaps names in them."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                module = imported_from(node, self.package)
                found.add(module)
                found.update(f"{module}.{alias.name}" for alias in node.names)
        return found | {parent for name in found for parent in _parents(name)}


def imported_from(node: ast.ImportFrom, package: str) -> str:
    """Return the full name of the module that ``node``, in a module of ``package``, imports."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _bound(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement binds in its own scope."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Import):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest
    for child in ast.iter_child_nodes(node):
        yield from _bound(child)


def _altered(node: ast.AST) -> Iterator[str]:
    """Yield the names of which a statement changes an attribute or an item, or calls a method."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return
    part: ast.AST = node
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        part = node.value.func
    elif not isinstance(getattr(node, "ctx", None), ast.Store):
        part = ast.Pass()
    is_part = False
    while isinstance(part, ast.Attribute | ast.Subscript):
        part, is_part = part.value, True
    if is_part and isinstance(part, ast.Name):
        yield part.id
    for child in ast.iter_child_nodes(node):
        yield from _altered(child)


def _parents(name: str) -> Sequence[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]
