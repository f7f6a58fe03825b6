"""The page about commands shows what they print."""

import re
from pathlib import Path

from cli.project.conftest import Type

PAGE = (Path(__file__).parents[3] / "docs" / "commands.md").read_text("utf-8")


def printed(command: str) -> str:
    """Return what the page shows below a command."""
    found = re.search(
        rf"^\$ {re.escape(command)}\n(.*?)^(?:\$ .*|```)$", PAGE, re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found[1]


def test_what_new_prints(type_: Type) -> None:
    assert type_("new", "sentiment").out == printed("potassium new sentiment")


def test_what_check_prints(type_: Type, folder: Path) -> None:
    source = re.search(r"in `bad.py`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert source is not None
    (folder / "bad.py").write_text(source[1])

    assert type_("check", "bad.py").out == printed("potassium check bad.py")


def test_what_openapi_and_dockerfile_print(type_: Type, folder: Path) -> None:
    type_("new", "sentiment")
    for name in ("Dockerfile", ".dockerignore"):
        (folder / "sentiment" / name).unlink()
    (folder / "sentiment").rename(folder / "moved")
    for one in (folder / "moved").iterdir():
        one.rename(folder / one.name)

    start = type_("openapi", "--indent", "0").out[:59]
    assert f"{start}\n" == printed("potassium openapi --indent 0 | head -c 59")
    for command in (
        "potassium openapi app.py -o openapi.json",
        "potassium dockerfile app.py --cpu --python 3.13 -o Dockerfile",
    ):
        assert type_(*command.split()[1:]).err == printed(command)
