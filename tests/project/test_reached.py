"""What the source of an ``init`` is, as far as the user's own files go."""

from pathlib import Path

import pytest

from potassium.project.module_source import ModuleSource
from potassium.project.reached import Reached, reached_from

APP = """
import torch
from helpers import load, unused
from potassium import Potassium

app = Potassium()
NAME = "small"

@app.init
def init():
    return {"model": load(NAME)}

@app.handler("/")
def handle(cache, json_in):
    return predict(json_in)

def predict(value):
    return value
"""

HELPERS = """
PRECISION = "half"

def load(name):
    return Net(name, PRECISION)

class Net(Base := object):
    def forward(self):
        return step()

def step():
    return 1

def unused():
    return 2
"""


def reached(folder: Path, **modules: str) -> Reached:
    sources = {}
    for name, text in modules.items():
        full = name.replace("__", ".")
        path = folder.joinpath(*full.split("."))
        is_package = any(one.startswith(f"{name}__") for one in modules)
        path = path / "__init__.py" if is_package else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        sources[full] = ModuleSource(full, path)
    return reached_from("app", "init", sources, is_left_out=lambda _, name: name == "app")


def names(found: Reached) -> set[str]:
    return {".".join(one) for one in found.sources}


def changed(folder: Path, before: dict[str, str], **after: str) -> list[str]:
    return reached(folder, **before).differences(reached(folder, **{**before, **after}))


def test_init_reaches_what_it_calls_in_other_files(tmp_path: Path) -> None:
    found = reached(tmp_path, app=APP, helpers=HELPERS)

    assert names(found) == {
        *("app.init", "app.NAME", "app.load"),
        *("helpers.load", "helpers.Net", "helpers.step", "helpers.PRECISION"),
    }


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ('"model": load', '"net": load', ["app.init"]),
        ('NAME = "small"', 'NAME = "large"', ["app.NAME"]),
        ("import load, unused", "import unused as load, unused", ["app.load", "helpers.Net"]),
    ],
)
def test_a_change_in_what_init_runs_is_a_difference(
    tmp_path: Path, old: str, new: str, difference: list[str]
) -> None:
    modules = {"app": APP, "helpers": HELPERS}

    found = changed(tmp_path, modules, app=APP.replace(old, new))

    assert set(difference) <= set(found)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('PRECISION = "half"', 'PRECISION = "full"'),
        ("return 1", "return 3"),
        ("Base := object", "Base := dict"),
        ("def forward", "def backward"),
    ],
)
def test_so_is_one_in_another_file(tmp_path: Path, old: str, new: str) -> None:
    modules = {"app": APP, "helpers": HELPERS}

    assert changed(tmp_path, modules, helpers=HELPERS.replace(old, new)) != []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return predict(json_in)", "return None"),
        ("return value", "return [value]"),
        ("app = Potassium()", "app = Potassium('other')"),
        ("@app.init\n", "@app.init()\n"),
        ("def init():", "def init():  # loads the model"),
        ("import torch\n", "import torch\nimport os\n"),
        ('NAME = "small"\n', '\n\nNAME = "small"\n\n'),
    ],
)
def test_a_change_elsewhere_is_none(tmp_path: Path, old: str, new: str) -> None:
    assert old in APP
    modules = {"app": APP, "helpers": HELPERS}

    assert changed(tmp_path, modules, app=APP.replace(old, new)) == []


def test_a_helper_that_only_handlers_use_does_not_count(tmp_path: Path) -> None:
    modules = {"app": APP, "helpers": HELPERS}

    assert changed(tmp_path, modules, helpers=HELPERS.replace("return 2", "return 3")) == []


@pytest.mark.parametrize(
    ("imports", "call"),
    [
        ("import lib", "lib.load()"),
        ("import lib as l", "l.load()"),
        ("from lib import load", "load()"),
        ("from lib import load as fetch", "fetch()"),
        ("from lib import *", "load()"),
        ("import lib.deep", "lib.deep.load()"),
        ("from lib import deep", "deep.load()"),
        ("from lib.deep import load", "load()"),
        ("import lib.deep as d", "d.load()"),
        ("from lib import again", "again()"),
        ("try:\n    import lib\nexcept ImportError:\n    lib = None", "lib.load()"),
        ("", "loader()\n\ndef loader():\n    from lib import load\n    return load()"),
        ("import lib\nload = lib.load", "load()"),
        ("import lib", "call(lib)"),
        ("import lib", "getattr(lib, 'load')()"),
    ],
)
def test_imports_are_followed_however_they_are_written(
    tmp_path: Path, imports: str, call: str
) -> None:
    app = f"{imports}\ndef init():\n    return {call}\n"
    package = "from .deep import load, load as again\nfrom . import deep\ndef other(): return 0\n"
    modules = {"app": app, "lib": package, "lib__deep": "def load():\n    return 1\n"}

    assert "lib.deep.load" in changed(tmp_path, modules, lib__deep="def load():\n    return 2\n")


def test_of_a_module_only_what_is_used_counts(tmp_path: Path) -> None:
    modules = {
        "app": "import lib\ndef init():\n    return lib.load()\n",
        "lib": "def load(): return 1\ndef other(): return 1\n",
    }

    assert changed(tmp_path, modules, lib="def load(): return 1\ndef other(): return 2\n") == []


def test_an_init_that_has_no_name_counts_with_its_module(tmp_path: Path) -> None:
    modules = {"app": "app.init(lambda: load())\ndef load(): return 1\n"}

    assert changed(tmp_path, modules, app=modules["app"].replace("1", "2")) == ["app", "app.load"]


def test_definitions_that_refer_to_each_other_end(tmp_path: Path) -> None:
    app = "def init(): return first()\ndef first(): return second()\ndef second(): return first()\n"

    assert names(reached(tmp_path, app=app)) == {"app.init", "app.first", "app.second"}


def test_globals_that_init_assigns_are_known(tmp_path: Path) -> None:
    modules = {
        "app": "import lib\ndef init():\n    global model\n    model = lib.load()\n",
        "lib": "def load():\n    global cached\n    cached = 1\ndef no():\n    global other\n",
    }

    assert reached(tmp_path, **modules).globals == {("app", "model"), ("lib", "cached")}
