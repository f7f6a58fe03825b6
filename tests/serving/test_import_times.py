"""Measuring the imports of large libraries, so that nothing can tell that they were measured."""

import importlib
import importlib.util
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from potassium.serving import import_times
from potassium.serving.import_times import ImportTimes

WAIT = 0.02  # seconds that a library of a test takes to import


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder for packages named like large libraries, which are forgotten afterwards."""
    names = ("big", "bigger")
    monkeypatch.setattr(import_times, "LIBRARIES", frozenset(names))
    monkeypatch.syspath_prepend(tmp_path)
    finders = [one for one in sys.meta_path if not isinstance(one, ImportTimes)]  # not our own
    monkeypatch.setattr(sys, "meta_path", finders)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]


@pytest.fixture
def times(libraries: Path) -> Iterator[ImportTimes]:
    times = ImportTimes()
    times.install()
    yield times
    times.remove()


def package(folder: Path, name: str, code: str = "", **modules: str) -> None:
    root = folder / name
    root.mkdir()
    wait = f"import time; time.sleep({WAIT})\n"
    for module, content in {"__init__": code, **modules}.items():
        (root / f"{module}.py").write_text(wait + content)


def test_the_import_of_a_large_library_is_measured(libraries: Path, times: ImportTimes) -> None:
    """With all that it imports of its own."""
    package(libraries, "big", "from big import part", part="")
    importlib.import_module("big")
    assert times.seconds["big"] >= 2 * WAIT


def test_a_part_that_is_imported_later_counts_for_its_library(
    libraries: Path, times: ImportTimes
) -> None:
    """Libraries that import themselves lazily take most of their time then."""
    package(libraries, "big", part="")
    importlib.import_module("big")
    first = times.seconds["big"]
    importlib.import_module("big.part")
    assert times.seconds["big"] >= first + WAIT


def test_a_library_does_not_pay_for_another(libraries: Path, times: ImportTimes) -> None:
    """The sum of all is the time that passed."""
    package(libraries, "big")
    package(libraries, "bigger", "import big")
    began = time.monotonic()
    importlib.import_module("bigger")
    assert sum(times.seconds.values()) <= time.monotonic() - began
    assert min(times.seconds.values()) >= WAIT


def test_a_module_does_not_show_that_it_was_measured(libraries: Path, times: ImportTimes) -> None:
    """Its spec and loader are those that it has without, already while it runs."""
    package(libraries, "big", "ran_with = __loader__, __spec__.loader")
    found = importlib.util.find_spec("big")
    assert found is not None
    assert found.origin == str(libraries / "big" / "__init__.py")
    module = importlib.import_module("big")
    times.remove()
    expected = importlib.util.find_spec("big.__init__")
    assert expected is not None
    assert expected.loader is not None
    assert type(module.__loader__) is type(module.__spec__.loader) is type(expected.loader)  # type: ignore[union-attr]
    assert module.ran_with == (module.__loader__, module.__spec__.loader)  # type: ignore[union-attr]
    assert importlib.reload(module) is module


def test_an_import_that_fails_fails_as_before(libraries: Path, times: ImportTimes) -> None:
    """Of a library that is missing, or raises, or is only a folder."""
    with pytest.raises(ModuleNotFoundError, match="No module named 'big'"):
        importlib.import_module("big")
    package(libraries, "big", "raise ValueError('no')")
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match="no"):
        importlib.import_module("big")
    (libraries / "bigger").mkdir()
    importlib.invalidate_caches()
    assert importlib.import_module("bigger").__file__ is None


def test_two_that_measure_do_not_ask_each_other_without_end(
    libraries: Path, times: ImportTimes
) -> None:
    """Each asks those behind it only; both get their figures."""
    other = ImportTimes()
    other.install()
    package(libraries, "big")
    try:
        importlib.import_module("big")
    finally:
        other.remove()
    assert times.seconds["big"] >= WAIT
    assert other.seconds["big"] >= WAIT
    assert times.find_spec("big", None) is not None
    times.remove()
    assert times.find_spec("big", None) is None


def test_other_modules_are_left_to_the_other_finders(times: ImportTimes) -> None:
    """No more is done for them than to look at their name."""
    assert times.find_spec("json", None) is None


def test_once_removed_nothing_is_measured(libraries: Path, times: ImportTimes) -> None:
    """To remove it twice, or after another has taken it off, does nothing."""
    times.remove()
    times.remove()
    package(libraries, "big")
    importlib.import_module("big")
    assert times.seconds == {}


def test_the_age_of_the_process_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to the first start; of a second app in the process, it would say nothing."""
    times = ImportTimes()
    if sys.platform == "linux":
        before, now = times.since_process_began() or (0, 0)
        assert 0 < before <= now
    assert times.since_process_began() is None


def test_the_age_of_the_process_says_nothing_of_what_was_forked_or_is_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fork has imported nothing itself; in a notebook, somebody thinks between two cells."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "ps1", ">>> ", raising=False)
        assert ImportTimes().since_process_began() is None
    times = ImportTimes()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert times.since_process_began() is None


def test_a_system_that_does_not_tell_the_age_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS."""
    monkeypatch.setattr(import_times, "Path", lambda _: Path("/no/such/file"))
    assert ImportTimes().since_process_began() is None


def test_what_a_library_imports_of_its_own_is_not_looked_at(
    libraries: Path, times: ImportTimes
) -> None:
    """There may be thousands of parts, and their time is the library's."""
    package(libraries, "big")
    assert times.find_spec("big", None) is not None
    with times.importing("big"):
        assert times.find_spec("big", None) is None


def test_a_finder_that_finds_no_specs_is_passed_over(libraries: Path, times: ImportTimes) -> None:
    """As the import system does."""
    sys.meta_path.insert(1, object())  # type: ignore[arg-type]  # as some old ones are
    package(libraries, "big")
    importlib.import_module("big")
    assert times.seconds["big"] >= WAIT


def test_two_threads_that_import_do_not_pay_for_each_other(times: ImportTimes) -> None:
    """The time of one is not taken off the other's."""

    def other() -> None:
        with times.importing("bigger"):
            time.sleep(WAIT)

    with times.importing("big"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert times.seconds["big"] >= times.seconds["bigger"] >= WAIT


def test_a_module_without_a_spec_is_executed_as_well(libraries: Path, times: ImportTimes) -> None:
    """Somebody else may execute it, and take it apart before."""
    package(libraries, "big", "x = 5")
    spec = times.find_spec("big", None)
    assert spec is not None
    assert spec.loader is not None
    module = ModuleType("big")
    spec.loader.exec_module(module)
    assert module.x == 5


@pytest.mark.parametrize("ticks", [0, 10**15], ids=["none", "in the future"])
def test_an_age_that_makes_no_sense_is_not_told(
    monkeypatch: pytest.MonkeyPatch, ticks: int
) -> None:
    """As in sandboxes that say the process began with the machine, or have another clock."""
    stat = b"1 (python) " + b" ".join([b"0"] * 19 + [str(ticks).encode()])
    monkeypatch.setattr(Path, "read_bytes", lambda _: stat)
    assert import_times._age_of_process() is None
