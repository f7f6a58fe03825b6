"""What ``init`` has changed besides the cache is so again."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from support.snapshots import Snapshot

from potassium.fastboot import settings
from potassium.fastboot.restoring import restored
from potassium.fastboot.root import Global
from potassium.fastboot.unfit import Unfit

Keep = Callable[..., Snapshot]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a module of the user's own."""
    module = ModuleType("own_module_of_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def changed(module: ModuleType, name: str, value: Any, *, is_same: bool) -> list[Global]:
    return [Global(module.__name__, name, value, is_same)]


def test_a_global_variable_is_bound_again(keep: Keep, module: ModuleType) -> None:
    """To the very object that is in the cache, if it was that one."""
    module.MODEL = None  # type: ignore[attr-defined]
    model = SimpleNamespace(x=1)
    snapshot = keep({"model": model}, globals=changed(module, "MODEL", model, is_same=False))
    cache = snapshot.read()
    assert module.MODEL is cache["model"]
    assert cache["model"] == model


@pytest.mark.parametrize(
    ("there", "value"),
    [({"old": 1}, {"new": 2}), ([1, 2], [3]), ({1}, {2, 3})],
)
def test_what_others_have_imported_is_filled(
    keep: Keep, module: ModuleType, there: Any, value: Any
) -> None:
    """The object stays the same one."""
    module.STATE = there  # type: ignore[attr-defined]
    keep({}, globals=changed(module, "STATE", value, is_same=True)).read()
    assert there == value


def test_an_object_gets_its_attributes(keep: Keep, module: ModuleType) -> None:
    there = module.STATE = SimpleNamespace(old=1)  # type: ignore[attr-defined]
    value = SimpleNamespace(new=2)
    keep({}, globals=changed(module, "STATE", value, is_same=True)).read()
    assert vars(there) == {"new": 2}


def test_environment_variables_are_set(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET_BY_INIT", "before")
    monkeypatch.setenv("REMOVED_BY_INIT", "before")
    snapshot = keep({})
    variables = {"SET_BY_INIT": "after", "REMOVED_BY_INIT": None}
    snapshot.manifest = replace(snapshot.manifest, variables=variables)
    snapshot.save()
    snapshot.read()
    assert os.environ["SET_BY_INIT"] == "after"
    assert "REMOVED_BY_INIT" not in os.environ


def test_modules_that_only_init_imports_are_imported(
    keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = keep({})
    (snapshot.folder / "imported_by_init_only.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(snapshot.folder)
    snapshot.manifest = replace(snapshot.manifest, imports=("imported_by_init_only",))
    snapshot.save()
    snapshot.read()
    assert sys.modules.pop("imported_by_init_only").x == 1


def test_classes_of_the_main_module_are_those_that_run(
    keep: Keep, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``python app.py`` has them as ``__main__.Net``, and the build as ``app.Net``."""

    class Net:
        pass

    Net.__module__, Net.__qualname__ = module.__name__, "Net"
    module.Net = Net  # type: ignore[attr-defined]
    snapshot = keep({"net": Net()}, globals=changed(module, "NET", Net, is_same=False))
    snapshot.change_keys(modules={module.__name__: "app.py"})

    class OfMain:
        pass

    main = ModuleType("__main__")
    main.__file__ = str(snapshot.app)
    main.Net = OfMain  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert type(snapshot.read()["net"]) is OfMain
    assert main.NET is OfMain

    main.__file__ = str(snapshot.folder / "other.py")
    assert type(snapshot.read()["net"]) is Net


def test_what_raises_while_it_is_restored_is_a_reason(keep: Keep, module: ModuleType) -> None:
    class Gone:
        pass

    Gone.__module__, Gone.__qualname__ = module.__name__, "Gone"
    module.Gone = Gone  # type: ignore[attr-defined]
    snapshot = keep({"gone": Gone()})
    del module.Gone
    with pytest.raises(Unfit, match=r"cannot be read: AttributeError: .* 'Gone'"):
        snapshot.read()


def test_what_cannot_be_restored_leaves_the_variables_as_they_were(
    keep: Keep, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then ``init`` runs, and finds what it would have found without a snapshot."""
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "SET_BY_INIT"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("REMOVED_BY_INIT", "before")
    module.value = 1  # type: ignore[attr-defined]
    snapshot = keep({}, globals=[Global(module.__name__, "value", 2, is_same=False)])
    (snapshot.path / "compiled").mkdir(0o755)
    variables = {"SET_BY_INIT": "after", "REMOVED_BY_INIT": None}
    snapshot.manifest = replace(snapshot.manifest, variables=variables)
    snapshot.save()
    before = dict(os.environ)
    monkeypatch.delitem(sys.modules, module.__name__)
    with pytest.raises(Unfit, match="cannot be read: ModuleNotFoundError"):
        snapshot.read()
    assert dict(os.environ) == before


@pytest.fixture
def _settings_put_back() -> Iterator[None]:
    pytest.importorskip("torch")
    before = settings.settings()
    yield
    settings.put(before)


@pytest.mark.usefixtures("_settings_put_back")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default dtype", "torch.float64"),
        ("default device", "meta"),
        ("gradients", False),
        ("threads", 3),
        ("precision of matrix products", "medium"),
        ("deterministic algorithms", [True, True]),
        ("cudnn.benchmark", True),
        ("cudnn.deterministic", True),
    ],
)
def test_settings_of_torch_are_set(keep: Keep, name: str, value: Any) -> None:
    assert settings.settings()[name] != value
    snapshot = keep({})
    snapshot.manifest = replace(snapshot.manifest, settings={name: value})
    snapshot.save()
    restored(snapshot.place)
    assert settings.settings()[name] == value


@pytest.mark.usefixtures("_settings_put_back")
def test_what_cannot_be_restored_leaves_the_settings_as_they_were(keep: Keep) -> None:
    snapshot = keep({}, globals=[Global("no_such_module", "value", 2, is_same=False)])
    wanted = {"default dtype": "torch.float64", "gradients": False}
    snapshot.manifest = replace(snapshot.manifest, settings=wanted)
    snapshot.save()
    before = settings.settings()
    with pytest.raises(Unfit, match="cannot be read: ModuleNotFoundError"):
        snapshot.read()
    assert settings.settings() == before


@pytest.mark.usefixtures("_settings_put_back")
def test_settings_that_are_so_anyway_are_left_alone() -> None:
    now = settings.settings()
    assert settings.differing(now) == {}
    assert settings.differing({**now, "gradients": False, "unknown": 1}) == {"gradients": False}
