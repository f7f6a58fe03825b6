"""Versions, and the clock."""

import pytest
from doctor.conftest import Build, seen

from potassium.doctor import software

REQUIRED = [
    "uvicorn>=0.38",
    'uvloop>=0.21; sys_platform != "win32"',
    'brotli>=1.2; extra == "compression"',
]
NUMPY_2 = (
    "torch 2.2.1+cu121 was built for numpy 1, and numpy is 2.0.1: tensors do not become arrays."
)
GOOD = {"uvicorn": "0.54.0", "uvloop": "0.21"}


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        (GOOD, [("ok", "uvicorn 0.54.0, uvloop 0.21")]),
        ({**GOOD, "brotli": "1.2.0"}, [("ok", "uvicorn 0.54.0, uvloop 0.21")]),
        (
            {**GOOD, "brotli": "1.1.9"},
            [("problem", "brotli 1.1.9 is older than 1.2, which Potassium needs.")],
        ),
        ({**GOOD, "uvicorn": "0.100"}, [("ok", "uvicorn 0.100, uvloop 0.21")]),
        ({**GOOD, "torch": "2.2", "numpy": "1.26"}, [("ok", "uvicorn 0.54.0, uvloop 0.21")]),
        ({"uvicorn": "0.54.0"}, [("problem", "uvloop is missing.")]),
        (
            {**GOOD, "torch": "2.2.1+cu121", "numpy": "2.0.1"},
            [("problem", NUMPY_2)],
        ),
        ({**GOOD, "torch": "2.3.0", "numpy": "2.0.1"}, [("ok", "uvicorn 0.54.0, uvloop 0.21")]),
    ],
)
def test_libraries_must_be_there_and_fit_together(
    machine: Build, packages: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    found = software.libraries(machine(packages=packages, requirements=REQUIRED))

    assert seen(found) == expected


def test_what_is_not_for_the_system_need_not_be_there(machine: Build) -> None:
    one = machine(packages={"uvicorn": "1"}, requirements=REQUIRED, system="Windows")

    assert seen(software.libraries(one)) == [("ok", "uvicorn 1")]


@pytest.mark.parametrize(
    ("version", "level"), [((3, 10, 9), "problem"), ((3, 11, 0), "ok"), ((3, 14, 1), "ok")]
)
def test_an_old_python_is_a_problem(
    machine: Build, version: tuple[int, int, int], level: str
) -> None:
    assert [one[0] for one in seen(software.python(machine(python=version)))] == [level]


def test_a_python_without_the_gil_is_worth_a_word(
    machine: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: int(name == "Py_GIL_DISABLED"))

    assert [one[0] for one in seen(software.python(machine()))] == ["note"]


@pytest.mark.parametrize(
    ("now", "programs", "files", "level"),
    [
        (2_000_000.0, {}, {}, "ok"),
        (2_000_000.0, {"timedatectl": "yes\n"}, {}, "ok"),
        (2_000_000.0, {"timedatectl": "no\n"}, {}, "note"),
        (2_000_000.0, {"timedatectl": "no\n"}, {"/.dockerenv": ""}, "ok"),  # not its own clock
        (0.0, {}, {}, "problem"),  # 1970: before the package was installed
    ],
)
def test_a_clock_that_cannot_be_right_is_found(
    machine: Build, now: float, programs: dict[str, str], files: dict[str, str], level: str
) -> None:
    one = machine(now=now, installed_at=1_000_000.0, programs=programs, files=files)

    assert [found for found, _ in seen(software.clock(one))] == [level]
