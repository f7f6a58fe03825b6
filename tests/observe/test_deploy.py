"""The dashboard and the alerts name metrics that exist, in queries that Prometheus takes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.metrics import promtool

ROOT = Path(__file__).parent.parent.parent
ALERTS = ROOT / "deploy" / "prometheus" / "potassium.rules.yaml"
UNIT_TESTS = ROOT / "deploy" / "prometheus" / "potassium.rules.test.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "potassium.json"
PAGE = (ROOT / "docs" / "metrics.md").read_text("utf-8")

DOCUMENTED: dict[str, str] = dict(
    re.findall(r"^\| `(potassium_\w+)` \| (\w+) \|", PAGE, re.MULTILINE)
)
NAME = re.compile(r"\bpotassium_\w+")
ALERT = re.compile(r"- alert: (\w+)")


def shown() -> set[str]:
    """Return the names of all series that the documented metrics have."""
    series = set()
    for name, kind in DOCUMENTED.items():
        series |= (
            {f"{name}{end}" for end in ("_bucket", "_sum", "_count")}
            if (kind == "histogram")
            else {name}
        )
    return series


def parts(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a document."""
    if isinstance(node, dict):
        yield node
    for child in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from parts(child)


def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return document


def queries() -> list[str]:
    """Return all queries of the dashboard."""
    return [part["expr"] for part in parts(dashboard()) if "expr" in part]


@pytest.mark.parametrize("file", [ALERTS, UNIT_TESTS, DASHBOARD], ids=lambda file: file.name)
def test_every_metric_that_is_named_exists(file: Path) -> None:
    """One that was renamed would leave an alert that never fires."""
    named = set(NAME.findall(file.read_text("utf-8")))
    assert named
    assert named - shown() == set()


def test_every_metric_is_on_the_dashboard() -> None:
    """What is measured can be seen."""
    missing = {name for name in DOCUMENTED if not any(name in query for query in queries())}
    assert missing == set()


def test_prometheus_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    """With Grafana's variables filled in."""
    rules = {
        f"query:{number}": query.replace("$__rate_interval", "5m").replace("$", "")
        for number, query in enumerate(queries())
    }
    assert len(rules) > 30
    groups = [{"name": "dashboard", "rules": [{"record": n, "expr": e} for n, e in rules.items()]}]
    file = tmp_path / "dashboard.yaml"
    file.write_text(json.dumps({"groups": groups}))  # JSON is YAML
    promtool("check", "rules", str(file))


def test_no_two_panels_overlap() -> None:
    """And each has an id of its own."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells
        taken |= cells


def test_prometheus_takes_the_alerts() -> None:
    promtool("check", "rules", str(ALERTS))


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    """promtool runs their unit tests."""
    promtool("test", "rules", str(UNIT_TESTS))


def test_each_alert_has_a_unit_test_and_says_what_to_do() -> None:
    """On the page, under its name, and in a sentence that comes with it."""
    text = ALERTS.read_text("utf-8")
    alerts = ALERT.findall(text)
    assert len(alerts) > 10
    assert set(re.findall(r"alertname: (\w+)", UNIT_TESTS.read_text("utf-8"))) == set(alerts)
    assert set(re.findall(r"^### (Potassium\w+)$", PAGE, re.MULTILINE)) == set(alerts)
    for alert in text.split("- alert: ")[1:]:
        for part in ("severity:", "for:", "summary:", "runbook:"):
            if (alert.split()[0], part) != ("PotassiumWebhooksLost", "for:"):
                assert part in alert, alert.split()[0]
