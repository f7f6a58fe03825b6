"""The page about troubles quotes what the project says, and nothing else."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from potassium import errors

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
PLACE = "\0"  # of a value
FEWEST = 11  # characters of a quotation that are the project's own

CODES = {error.code for name in errors.__all__ if hasattr(error := getattr(errors, name), "code")}
# The codes of errors that Starlette raises.
CODES |= {"not_found", "method_not_allowed"}

# What others say.
OTHERS = {"Address already in use", "running", "stuck", "activity", "/_k/status", "docker stop"}


@cache
def texts() -> frozenset[str]:
    """Return every text in the package but documentation, with ``PLACE`` for each value."""
    found = set()
    for file in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if id(node) in docs:
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.sub(r"%[-.\d]*[sdfr]", PLACE, node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = (
                    one.value if isinstance(one, ast.Constant) else PLACE for one in node.values
                )
                found.add("".join(map(str, parts)))
    return frozenset(found)


def quoted() -> Iterator[str]:
    """Yield what the first column of each table quotes."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    for row in rows:
        yield from re.findall(r"`([^`]+)`", row.split(" | ")[0])


def is_said(quotation: str) -> bool:
    """Return whether one text has all parts of a quotation, in this order."""
    own = [part for part in quotation.split("...") if part]
    if sum(map(len, own)) < FEWEST:
        return False
    pattern = re.compile(".*".join(map(re.escape, own)), re.DOTALL)
    return any(pattern.search(text) for text in texts())


QUOTED = [one for one in quoted() if one not in OTHERS]


def test_there_is_much_to_check() -> None:
    assert len(QUOTED) > 50
    assert len(CODES & {*QUOTED}) > 20


@pytest.mark.parametrize("quotation", QUOTED)
def test_each_code_and_line_exists(quotation: str) -> None:
    """As the code of an error, or as part of a text in the package."""
    assert quotation in CODES or is_said(quotation)


def test_what_is_asked_of_servers_exists() -> None:
    """The status and readiness, at the paths that the page gives."""
    asked = set(re.findall(r"localhost:8000(/[\w/]+)", PAGE))
    assert asked == {"/readyz", "/_k/status"}
    assert asked <= texts()


@pytest.mark.parametrize("name", ["options", "metrics"])
def test_options_and_metrics_that_are_named_exist(name: str) -> None:
    """They are on the pages about them."""
    page = (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    if name == "metrics":
        found = set(re.findall(r"potassium_\w+", PAGE))
    else:
        found = set(re.findall(r"(?:Limits|Jobs|Webhooks)\((\w+)=", PAGE))
    assert found
    assert {one for one in found if one not in page} == set()
