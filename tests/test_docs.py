"""What the documents say of this repository."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def functions(file: Path) -> set[str]:
    """Return the names of the functions at the top of a file."""
    tree = ast.parse(file.read_text("utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in tree.body if isinstance(node, kinds)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    """Who is shown a test as the proof of something finds it under that name."""
    missing = [
        (file, name)
        for file, name in TEST.findall(document.read_text("utf-8"))
        if not (ROOT / file).is_file() or (name and name not in functions(ROOT / file))
    ]
    assert missing == []


def test_every_fault_is_shown_by_a_test() -> None:
    """No row of the table of faults goes without one."""
    table = (ROOT / "docs" / "reliability.md").read_text("utf-8").partition("## Figures")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert rows
    assert [row for row in rows if not any(name for _, name in TEST.findall(row))] == []
