"""What a scrape of an app shows."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics_of,
)
from prometheus_client.parser import text_string_to_metric_families as metrics_of

__all__ = ["OPEN_METRICS", "Scrape", "prometheus", "promtool", "scrape"]

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


class Scrape:
    """The samples of one scrape."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = list(families)

    def values(self, name: str, **labels: str) -> dict[tuple[str, ...], float]:
        """Return the samples that have these labels, by the values of the others, but ``app``."""
        return {
            tuple(
                value for key, value in sorted(one.labels.items()) if key not in {*labels, "app"}
            ): (one.value)
            for family in self.families
            for one in family.samples
            if one.name == name and labels.items() <= one.labels.items()
        }

    def value(self, name: str, **labels: str) -> float:
        """Return the one sample that has these labels."""
        (value,) = self.values(name, **labels).values()
        return value


async def scrape(http: httpx.AsyncClient, path: str = "/metrics", *, accept: str = "") -> Scrape:
    """Return what an app shows."""
    answer = await http.get(path, headers={"Accept": accept} if accept else None)
    assert answer.status_code == httpx.codes.OK, answer.text
    is_open = answer.headers["content-type"].startswith("application/openmetrics-text")
    return Scrape((open_metrics_of if is_open else metrics_of)(answer.text))


def prometheus(name: str = "prometheus") -> str:
    """Return the path of a program of Prometheus; skip the test if it is not installed.

    With ``PROMETHEUS=required``, as in ``nox -s metrics``, fail instead.
    """
    found = shutil.which(name)
    if found is None:
        missing = f"{name} is not installed (Debian: apt-get install prometheus)"
        if os.environ.get("PROMETHEUS") == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def promtool(*arguments: str, stdin: str = "", cwd: Path | None = None) -> str:
    """Run promtool, which must be content; return what it has printed."""
    command = [prometheus("promtool"), *arguments]
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, cwd=cwd, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output
