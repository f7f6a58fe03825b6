"""The unit for systemd is valid, and agrees with the code."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from potassium import Limits
from potassium.config import DEFAULT_PORT
from potassium.deployment import stop_seconds

UNIT = Path(__file__).parent.parent.parent / "deploy" / "systemd" / "potassium.service"
UNITS = {"": 1, "s": 1, "min": 60}


def systemd_analyze(*arguments: str | Path) -> str:
    """Run systemd-analyze, which must be content; skip the test if it is not installed."""
    program = shutil.which("systemd-analyze")
    if program is None:
        missing = "systemd-analyze is not installed (Debian: apt-get install systemd)"
        if os.environ.get("DEPLOY") == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def settings() -> dict[str, list[str]]:
    """Return the values of each setting, in order."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def seconds(name: str) -> int:
    (value,) = settings()[name]
    number, unit = re.fullmatch(r"(\d+)(\w*)", value).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit with an interpreter that there is."""
    text = UNIT.read_text("utf-8")
    assert text.count("/opt/potassium/.venv/bin/python") == 1
    file = tmp_path / UNIT.name
    file.write_text(text.replace("/opt/potassium/.venv/bin/python", sys.executable))
    return file


def test_systemd_takes_the_unit(unit: Path) -> None:
    """Without a word: no setting is unknown, and none has a value that is ignored."""
    assert systemd_analyze("verify", unit) == ""


def test_systemd_takes_the_template_for_several_gpus(unit: Path) -> None:
    """With the lines that a template needs."""
    template = unit.with_name("potassium@.service")
    unit.rename(template)
    lines = f"{template.name}.d"
    shutil.copytree(UNIT.with_name(lines), unit.with_name(lines))
    assert systemd_analyze("verify", unit.with_name("potassium@1.service")) == ""


def test_the_service_is_exposed_to_little(unit: Path) -> None:
    """As systemd judges, out of 10; a service without any restrictions has 9.6."""
    systemd_analyze("security", "--offline=true", "--threshold=16", unit)  # 1.6


def test_a_drain_is_never_cut_short() -> None:
    """Nor by the watchdog, which hears nothing while the server closes."""
    assert seconds("TimeoutStopSec") == stop_seconds(Limits())
    assert seconds("WatchdogSec") > seconds("TimeoutStopSec")
    assert settings()["KillSignal"] == ["SIGTERM"]


def test_a_start_may_take_long() -> None:
    """And systemd learns from the server when it is over."""
    assert seconds("TimeoutStartSec") == 30 * 60
    assert settings()["Type"] == ["notify"]


def test_the_server_can_write_where_it_has_to() -> None:
    """Relative paths, such as that of the jobs, lead below the state."""
    has = settings()
    assert has["WorkingDirectory"] == [f"%S/{has['StateDirectory'][0]}"]
    environ = dict(one.split("=", 1) for line in has["Environment"] for one in line.split())
    assert environ["HOME"] == f"%C/{has['CacheDirectory'][0]}"
    assert environ["POTASSIUM_PORT"] == str(DEFAULT_PORT)
    assert has["ProtectSystem"] == ["strict"]
    assert has["PrivateTmp"] == ["yes"]
