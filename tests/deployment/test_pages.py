"""The pages about deploying show what is rendered, and figures that the code has."""

import re
from pathlib import Path, PurePosixPath

import pytest

from potassium import Limits
from potassium.deployment import ImageFacts, render_dockerfile, stop_seconds
from potassium.server import CLOSING_TIME, KEEP_ALIVE
from potassium.serving.leftovers import LAST_MOMENTS, PATIENCE
from potassium.serving.runtime import STOP_TIME

ROOT = Path(__file__).parent.parent.parent


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text("utf-8")


def block(name: str, language: str) -> str:
    """Return the one block of code in this language on a page."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", page(name), re.DOTALL)
    return str(found)


def test_the_dockerfile_on_the_page_is_the_one_that_is_printed() -> None:
    facts = ImageFacts(
        target="app.py",
        command=("python", "app.py"),
        requirements="requirements.txt",
        download="download.py",
        jobs=PurePosixPath("/app/.potassium"),
    )
    assert block("containers", "dockerfile") == render_dockerfile(facts)


def test_the_time_to_stop_on_the_page_is_that_of_the_code() -> None:
    rest = CLOSING_TIME + STOP_TIME + LAST_MOMENTS + PATIENCE
    assert f"`grace_period` + {rest:.0f} s" in page("deploy")
    assert f"**{stop_seconds(Limits())} s**" in page("deploy")
    assert f"the server keeps them for {KEEP_ALIVE} s" in page("proxies")


@pytest.mark.parametrize("name", ["deploy", "containers", "kubernetes", "systemd", "proxies"])
def test_every_file_that_is_named_exists(name: str) -> None:
    """In the folder ``deploy``."""
    named = set(re.findall(r"deploy/[\w./@-]+", page(name)))
    assert named
    assert {one for one in named if not (ROOT / one.rstrip(".")).exists()} == set()
