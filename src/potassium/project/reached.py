"""What a function reaches in the user's own files: the source of all that it may run."""

import ast
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from potassium.project.module_source import ModuleSource, imported_from

__all__ = ["Reached", "reached_from"]

WHOLE = "*"  # a module in whole, because nobody can say which of its names are used

Definition = tuple[str, str]  # the module and the name


@dataclass
class Reached:
    """What a function reaches.

    Attributes:
        sources: the source of each definition, without comments and layout.
        globals: the names that functions among these assign with a ``global`` statement.

    """

    sources: dict[Definition, str] = field(default_factory=dict)
    globals: set[Definition] = field(default_factory=set)

    def differences(self, other: "Reached") -> list[str]:
        """Return the full names of what is not the same in ``other``, or only in one of both."""
        return sorted(
            ".".join(one).removesuffix(f".{WHOLE}")
            for one in self.sources.keys() | other.sources.keys()
            if self.sources.get(one) != other.sources.get(one)
        )


def reached_from(
    module: str,
    function: str,
    modules: Mapping[str, ModuleSource],
    *,
    is_left_out: Callable[[str, str], bool] = lambda _module, _name: False,
    statements: Iterable[tuple[str, ast.stmt]] = (),
) -> Reached:
    """Return what ``function`` of ``module`` reaches within ``modules``.

    Names are followed from definition to definition, through imports of these modules. It is the
    source that is read; what is looked up in another way, such as ``globals()["name"]``, by
    ``importlib``, or in a file, is not seen. If a module has no such function at its top level, it
    counts in whole.

    Args:
        module: the full name of the module.
        function: the name of the function in it.
        modules: the sources that are followed, by the full names of their modules.
        is_left_out: returns whether a name of a module is not followed.
        statements: modules, and statements of theirs that count, too.

    """
    search = _Search(modules, is_left_out)
    search.begin(module, function)
    for place, statement in statements:
        search.begin_at(place, statement)
    return search.found


class _Search:
    """Follows names from definition to definition.

    A name and the attributes that follow it, ``a.b.c``, are a chain: ``["a", "b", "c"]``.
    """

    def __init__(
        self, modules: Mapping[str, ModuleSource], is_left_out: Callable[[str, str], bool]
    ) -> None:
        self.found = Reached()
        self._modules = modules
        self._is_left_out = is_left_out
        self._seen: set[tuple[str, ...]] = set()

    def begin(self, module: str, function: str) -> None:
        """Add a function, and what it reaches; decorators that are left out do not count."""
        source = self._modules[module]
        bindings = source.bindings.get(function, [])
        statements = [self._undecorated(source, one) for one in bindings]
        if not statements:
            self._visit(module, [WHOLE])
            return
        self.found.sources[module, function] = _dump(statements)
        for statement in statements:
            self._look_into(source, statement)

    def begin_at(self, module: str, statement: ast.stmt) -> None:
        """Add a statement, and what it reaches."""
        source = self._modules[module]
        statement = self._undecorated(source, statement)
        name = getattr(statement, "name", "app.init")
        self.found.sources.setdefault((module, name), _dump([statement]))
        self._look_into(source, statement)

    def _undecorated(self, source: ModuleSource, statement: ast.stmt) -> ast.stmt:
        if not isinstance(statement, ast.FunctionDef):
            return statement
        plain = copy.copy(statement)
        plain.decorator_list = [
            one
            for one in statement.decorator_list
            if not any(self._is_left_out(source.name, name) for name, *_ in _references(one))
        ]
        return plain

    def _visit(self, module: str, chain: list[str]) -> None:
        """Add what ``chain`` means in a module, and what that reaches."""
        source, name = self._modules[module], chain[0]
        if (module, *chain) in self._seen or self._is_left_out(module, name):
            return
        self._seen.add((module, *chain))
        statements = source.tree.body if name == WHOLE else source.bindings.get(name)
        altered = source.alterations.get(name, [])
        if statements is None:
            self._visit_elsewhere(source, chain)
            if not altered:
                return
        statements = [*(statements or []), *altered]
        is_new = (module, name) not in self.found.sources
        self.found.sources.setdefault((module, name), _dump(statements))
        for statement in statements:
            for node in _imports_in(statement):
                if name in _names_of(node):
                    self._visit_import(source, node, chain)
            if is_new and not isinstance(statement, ast.Import | ast.ImportFrom):
                self._look_into(source, statement)
        if name == WHOLE:
            for one in source.bindings:
                self._visit(module, [one])

    def _visit_elsewhere(self, source: ModuleSource, chain: list[str]) -> None:
        """Visit a name that ``source`` has by ``import *``, or because it is a submodule."""
        for node in source.tree.body:
            if isinstance(node, ast.ImportFrom) and any(one.name == "*" for one in node.names):
                module = imported_from(node, source.package)
                if module in self._modules:
                    self._visit(module, chain)
        if f"{source.name}.{chain[0]}" in self._modules:
            self._visit_path([source.name, *chain])

    def _look_into(self, source: ModuleSource, statement: ast.stmt) -> None:
        """Visit all that a statement refers to."""
        imports = _imports_in(statement)
        for chain in _references(statement):
            local = [one for one in imports if chain[0] in _names_of(one)]
            for one in local:
                self._visit_import(source, one, chain)
            self._visit(source.name, chain)
        for node in ast.walk(statement):
            if isinstance(node, ast.Global):
                self.found.globals.update((source.name, name) for name in node.names)

    def _visit_import(
        self, source: ModuleSource, node: ast.Import | ast.ImportFrom, chain: list[str]
    ) -> None:
        """Visit what a chain means that begins with a name which ``node`` imports."""
        for alias in node.names:
            if isinstance(node, ast.ImportFrom):
                if (alias.asname or alias.name) == chain[0]:
                    module = imported_from(node, source.package)
                    self._visit_path([module, alias.name, *chain[1:]])
            elif alias.asname == chain[0]:
                self._visit_path([alias.name, *chain[1:]])
            elif alias.asname is None and alias.name.partition(".")[0] == chain[0]:
                self._visit_path(chain)

    def _visit_path(self, names: list[str]) -> None:
        """Visit what a full name leads to: a module of the user's, or a name in one."""
        parts = ".".join(names).split(".")
        for length in range(len(parts), 0, -1):
            module = ".".join(parts[:length])
            if module in self._modules:
                self._visit(module, parts[length:] or [WHOLE])
                return


def _references(node: ast.AST) -> Iterator[list[str]]:
    """Yield each name that is read in ``node``, with the attributes that follow."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield [node.id, *attributes]
    for child in ast.iter_child_nodes(node):
        yield from _references(child)


def _imports_in(statement: ast.stmt) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(statement) if isinstance(node, ast.Import | ast.ImportFrom)]


def _names_of(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [alias.asname or alias.name.partition(".")[0] for alias in node.names]


def _dump(statements: Sequence[ast.stmt]) -> str:
    return "\n".join(map(ast.dump, statements))
