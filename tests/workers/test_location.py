"""Where a worker imports an app from."""

import functools
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from potassium import UsageError
from potassium.config.import_path import ImportPath
from potassium.workers.location import location_of

# Tells where the app is, as the process that serves it finds out.
APP = """
import json, sys
from potassium import Potassium
from potassium.workers.location import location_of

app = Potassium({name})

@app.handler
def handler(cache, json_in):
    return dict()

def where():
    place = location_of(app, None, [handler])
    print(json.dumps([str(place.folder), place.module, place.name]))
"""
MAIN = APP + "\nif __name__ == '__main__':\n    where()\n"

LOAD = """
import sys
from pathlib import Path
from potassium.project.target import Target
folder, module, name = sys.argv[1:]
print(Target(Path(folder), module, name).load().name)
"""


def run(*arguments: str, folder: Path, text: str | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[0]


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


SERVED = {
    "a file": ({"app.py": MAIN}, ["app.py"], ("", "app", "app")),
    "a file whose name is none of a module": (
        {"my-app.py": MAIN},
        ["my-app.py"],
        ("", "my-app", "app"),
    ),
    "a file elsewhere": ({"a/b/app.py": MAIN}, ["a/b/app.py"], ("a/b", "app", "app")),
    "a file of a package, with a file beside it": (
        {"pkg/__init__.py": "", "pkg/names.py": "ONE = 'one'", "pkg/app.py": "import names" + MAIN},
        ["pkg/app.py"],
        ("pkg", "app", "app"),
    ),
    "a module of a package": (
        {"pkg/__init__.py": "", "pkg/names.py": "", "pkg/app.py": "from . import names" + MAIN},
        ["-m", "pkg.app"],
        ("", "pkg.app", "app"),
    ),
    "a package": (
        {"pkg/__init__.py": "", "pkg/__main__.py": MAIN},
        ["-m", "pkg"],
        ("", "pkg.__main__", "app"),
    ),
    "a file that a debugger runs": (
        {"app.py": MAIN},
        ["-c", "import runpy; runpy.run_path('app.py', run_name='__main__')"],
        ("", "app", "app"),
    ),
    "a module that a server has imported": (
        {"pkg/app.py": APP},
        ["-c", "import pkg.app; pkg.app.where()"],
        ("", "pkg.app", "app"),
    ),
    "an app from another module, which has its handlers": (
        {"models.py": APP, "run.py": "from models import app, where\nwhere()"},
        ["run.py"],
        ("", "models", "app"),
    ),
}


@pytest.mark.parametrize("served", SERVED)
def test_a_worker_imports_what_is_served(tmp_path: Path, served: str) -> None:
    """However it is served: from the same folder, so that its own imports are found."""
    files, command, expected = SERVED[served]
    write(tmp_path, {name: text.replace("{name}", repr(served)) for name, text in files.items()})

    place = json.loads(run(*command, folder=tmp_path))

    assert place == [str((tmp_path / expected[0]).resolve()), *expected[1:]]
    other = tmp_path / "elsewhere"
    other.mkdir()
    assert run("-c", LOAD, *place, folder=other) == served


TELL = APP.replace("{name}", "'one'") + (
    "\nfrom potassium import UsageError\ntry:\n    where()\nexcept UsageError as error:\n"
    "    print(error)\n"
)


@pytest.mark.parametrize("command", [["-c", TELL], ["-"], ["serve"]])
def test_an_app_that_is_in_no_module_is_an_error(tmp_path: Path, command: list[str]) -> None:
    """As in a notebook; the message says how to name it."""
    write(tmp_path, {"serve": TELL})

    assert run(*command, folder=tmp_path, text=TELL) == (
        "Workers import the app from a file that ends in .py. A notebook, python -c and stdin have "
        'none: write the app into one, and name it: Workers(app="module:app") or '
        'Workers(app="app.py:app").'
    )


def test_a_folder_that_is_run_has_no_module(tmp_path: Path) -> None:
    """Its ``__main__.py`` could be imported by no name."""
    write(tmp_path, {"folder/__main__.py": TELL})

    assert run("folder", folder=tmp_path).startswith("Workers import the app from a file")


@pytest.fixture
def module(tmp_path: Path) -> Callable[..., ModuleType]:
    """Return a function that makes a module with a file, as if it were imported."""

    def make(name: str, file: str | None = None, **attributes: object) -> ModuleType:
        one = ModuleType(name)
        one.__file__ = str(tmp_path / (file or f"{name.replace('.', '/')}.py"))
        vars(one).update(attributes)
        return one

    return make


def located(app: object, *modules: ModuleType, functions: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the module and the name of an app whose functions are in these modules."""
    those = []
    for name in functions:
        exec(textwrap.dedent("def one(): ..."), scope := {"__name__": name})  # noqa: S102
        those.append(scope["one"])
    place = location_of(app, None, those, {one.__name__: one for one in modules})  # type: ignore[arg-type]
    assert place.name is not None
    return place.module, place.name


def test_the_module_is_the_one_that_has_the_functions(module: Callable[..., ModuleType]) -> None:
    """Otherwise, handlers would be missing in the worker; and not the test that imports it."""
    app = object()
    test, models = module("test_models", app=app), module("models", app=app)

    assert located(app, test, models, functions=("models", "models")) == ("models", "app")
    assert located(app, models, test, functions=("test_models",)) == ("test_models", "app")


def test_of_several_modules_it_is_the_one_that_has_imported_the_others(
    module: Callable[..., ModuleType],
) -> None:
    """Its import was begun first."""
    app = object()
    main, models = module("main", model=app), module("models", app=app)

    assert located(app, main, models) == ("main", "model")
    assert located(app, main, models, functions=("models", "routes")) == ("main", "model")
    assert located(app, main, models, functions=("factory",)) == ("main", "model")


def test_an_app_may_have_several_names_or_be_an_attribute(
    module: Callable[..., ModuleType],
) -> None:
    """The shortest one counts; an attribute only if there is nothing else."""
    app = object()
    holder = module("holder", server=SimpleNamespace(app=app, application=app))

    assert located(app, module("names", application=app, app=app)) == ("names", "app")
    assert located(app, holder) == ("holder", "server.app")
    assert located(app, holder, module("names", application=app)) == ("names", "application")


def test_a_package_and_a_namespace_are_imported_as_such(
    module: Callable[..., ModuleType], tmp_path: Path
) -> None:
    app = object()
    package = module("pkg.inner", "pkg/inner/__init__.py", app=app)

    assert location_of(app, modules={"pkg.inner": package}) == ImportPath(
        tmp_path, "pkg.inner", "app"
    )


@pytest.mark.parametrize("file", ["other.py", "app.txt", "models/app.py"])
def test_what_cannot_be_imported_by_its_name_is_passed_over(
    module: Callable[..., ModuleType], file: str
) -> None:
    """Such as a module that was made of a file by a loader, under a name of its own."""
    app = object()
    with pytest.raises(UsageError, match="no module has this one at its top level"):
        located(app, module("models.app" if file == "app.txt" else "mine.app", file, app=app))


def test_an_app_made_in_a_function_is_an_error(module: Callable[..., ModuleType]) -> None:
    """Objects are compared, not asked: one that is equal to everything is not the app."""

    class Equal:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    class Standing:
        def __getattr__(self, name: str) -> object:
            raise AssertionError("an object that stands for another one was asked")

    with pytest.raises(UsageError, match=r'name it: Workers\(app="module:app"\)'):
        located(object(), module("app", app=Equal(), proxy=Standing(), fn=functools.partial(print)))


def test_what_is_given_outweighs_what_is_found(
    module: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It means the same as for the commands."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"pkg/__init__.py": "", "pkg/app.py": ""})
    app = object()
    modules = {"main": module("main", app=app)}

    place = ImportPath(tmp_path.resolve(), "pkg.app", "server.app")
    assert location_of(app, "pkg/app.py:server.app", modules=modules) == place
    assert location_of(app, "pkg.app:server.app", modules=modules) == place
    assert location_of(app, "pkg.app", modules=modules).name is None
    with pytest.raises(UsageError, match="There is no file"):
        location_of(app, "missing.py:app", modules=modules)


def test_what_is_given_must_be_the_app(
    module: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As far as it can be known: what is run is imported once more."""
    monkeypatch.chdir(tmp_path)
    app = object()
    one, main = module("app", app=app, other=object()), module("__main__", "main.py", app=app)

    assert location_of(app, "app:app", modules={"app": one}).name == "app"
    with pytest.raises(UsageError, match=r"Workers\(app='app:other'\): there is not this app"):
        location_of(app, "app:other", modules={"app": one})
    with pytest.raises(UsageError, match=r"Workers\(app='app:api'\): there is nothing by this"):
        location_of(app, "app:api", modules={"app": one})
    again = module("main", app=object())
    assert location_of(app, "main:app", modules={"__main__": main, "main": again}).module == "main"
