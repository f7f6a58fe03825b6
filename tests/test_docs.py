"""What the documentation says about this repository."""

import ast
import re
from pathlib import Path

import pytest

from potassium import Batch, Jobs, Limits, Metrics, Webhooks, Workers, errors
from potassium.handlers.options import HandlerOptions
from potassium.ray import Autoscaling

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))
PATH = re.compile(r"`([a-z_]+(?:/[a-z0-9_]+)*\.py)`")
LINK = re.compile(r"\]\((?!https?:)([\w./#-]+)\)")
# Never sent to a client: raised into the app's own code, or when nobody listens any more.
NOT_ANSWERED = {"UsageError", "Unavailable", "StreamBroken", "ClientLeft"}
TEST = re.compile(r"`((?:tests|src/potassium/testing)/[\w/]+\.py)(?:::(\w+))?`")


def functions(file: Path) -> set[str]:
    """Return the names of the functions at the top level of a file, and of methods."""
    tree = ast.parse(file.read_text("utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    bodies = [tree.body, *(one.body for one in classes)]
    return {node.name for body in bodies for node in body if isinstance(node, kinds)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    """A test that is given as the proof of something exists under that name."""
    missing = [
        (file, name)
        for file, name in TEST.findall(document.read_text("utf-8"))
        if not (ROOT / file).is_file() or (name and name not in functions(ROOT / file))
    ]
    assert missing == []


def test_every_fault_is_shown_by_a_test() -> None:
    """Every row of the table of faults names a test."""
    table = (ROOT / "docs" / "reliability.md").read_text("utf-8").partition("## Figures")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert rows
    assert [row for row in rows if not any(name for _, name in TEST.findall(row))] == []


def test_the_architecture_page_leads_to_every_module() -> None:
    """Every path in "To change this, go there" exists, and no module of the package is missing."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = set(PATH.findall(page.partition("## To change this, go there")[2]))
    package = ROOT / "src" / "potassium"
    modules = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    rooms = {path for path in modules if path.endswith("/__init__.py")}
    assert sorted(named - modules) == []
    assert sorted(modules - rooms - named) == []


def test_every_page_is_in_the_navigation() -> None:
    """A page that nobody finds is not documentation."""
    navigation = (ROOT / "zensical.toml").read_text("utf-8")
    assert [page.name for page in DOCUMENTS if f'"{page.name}"' not in navigation] == []


def test_every_error_is_in_the_contract_and_in_its_tree() -> None:
    """The contract has each code with its status, and the tree in ``errors`` has each class."""
    contract = (ROOT / "docs" / "contract.md").read_text("utf-8")
    rows = [line for line in contract.splitlines() if line.startswith("| ")]
    tree = (errors.__doc__ or "").partition("PotassiumError\n")[2]
    for name in set(errors.__all__) - {"PotassiumError"}:
        error = getattr(errors, name)
        assert re.search(rf"\b{name}\b", tree)
        if name not in NOT_ANSWERED:
            status, code = f"| {error.status} ", f"`{error.code}`"
            assert [row for row in rows if code in row and status.strip("| ") in row], name


@pytest.mark.parametrize(
    "group", [Autoscaling, Batch, Jobs, Limits, Metrics, Webhooks, Workers, HandlerOptions]
)
def test_every_option_is_in_the_documentation(group: type) -> None:
    """Each option of a group is on the page about options, or on one about the group."""
    names = ("options.md", "batching.md", "cluster.md")
    pages = [(ROOT / "docs" / name).read_text("utf-8") for name in names]
    shown = set(re.findall(r"`(\w+)(?:=[^`]*)?`", "".join(pages)))
    assert set(group.__annotations__) - shown == set()


def test_every_link_of_the_readme_leads_somewhere() -> None:
    """It leads to a file that exists, and to a heading in it if the link names one."""
    for target in LINK.findall((ROOT / "README.md").read_text("utf-8")):
        path, _, anchor = target.partition("#")
        file = ROOT / path
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings]
            assert anchor in slugs, target


def test_the_lines_on_the_page_about_logs_are_those_that_are_written() -> None:
    """Each line that is shown is what one of the calls of a logger, or an error, makes."""
    page = (ROOT / "docs" / "logs.md").read_text("utf-8")
    shown = re.findall(r"^(?:[\d\-:, ]+)?(?:INFO|WARNING|ERROR): +(.*)$", page, re.MULTILINE)
    formats = [
        "".join(re.escape(part) if index % 2 == 0 else ".*" for index, part in enumerate(parts))
        for parts in map(re.compile(r"(%[-.\d]*[sdfr])").split, logged())
    ]
    assert len(shown) >= 10
    unknown = [one for one in shown if not any(re.fullmatch(form, one) for form in formats)]
    assert unknown == []


def logged() -> list[str]:
    """Return the text of each call of a logger in the package, before formatting."""
    texts = []
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                constants = [one.value for one in node.args if isinstance(one, ast.Constant)]
                texts += [
                    text
                    for text in constants
                    if isinstance(text, str)
                    and node.func.attr in {"info", "warning", "error", "critical", "log"}
                    and len(text.replace("%s", "")) > 2
                ]
    return texts
