"""What torch is built for."""

import subprocess
import sys
from pathlib import Path

import pytest

from potassium.accelerators.torch_builds import torch_builds

VERSION = """from typing import Optional

__version__ = '2.13.0'
cuda: Optional[str] = {cuda}
git_version = 'cf30153c4c131c8164ee7798e5022d810682e2cb'
hip: Optional[str] = {hip}
rocm: Optional[str] = {hip}
xpu: Optional[str] = None
"""


@pytest.mark.parametrize(
    ("text", "builds"),
    [
        (VERSION.format(cuda="'12.8'", hip=None), {"cuda"}),
        (VERSION.format(cuda=None, hip="'6.4.43482'"), {"hip"}),
        (VERSION.format(cuda=None, hip=None), set()),
        ("cuda = '11.8'\nhip = None\n", {"cuda"}),  # of older releases
        (None, None),
    ],
)
def test_it_is_read_from_the_file_that_the_build_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, builds: set[str] | None
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise RuntimeError('it is not imported')")
    if text is not None:
        (tmp_path / "torch" / "version.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    assert torch_builds() == builds


def test_no_torch_is_no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert torch_builds() is None


def test_the_installed_torch_is_not_imported() -> None:
    """Nor is anything else that knows of accelerators."""
    code = (
        "import sys; from potassium.accelerators.visible import own_device, visible; "
        "visible(); own_device(); assert not {'torch', 'numpy', 'pynvml'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
