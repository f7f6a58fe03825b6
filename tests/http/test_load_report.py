"""The load of a server as a response header, in the forms that balancers read."""

import json

import pytest

from potassium.http.load_report import Load, load_report

LOAD = Load(
    application_utilization=0.123456,
    rps_fractional=12.5,
    eps=0.0,
    named_metrics={"queue_length": 3, "busy": 1 / 3},
)


@pytest.mark.parametrize("form", [b"TEXT", b"text", b" Text "])
def test_as_text(form: bytes) -> None:
    """Pairs, separated by commas; the names of others than ORCA's own have their map's prefix."""
    report = load_report(form, LOAD)
    assert report == (
        b"TEXT application_utilization=0.1235, rps_fractional=12.5, eps=0.0, "
        b"named_metrics.queue_length=3, named_metrics.busy=0.3333"
    )


@pytest.mark.parametrize("form", [b"JSON", b"json"])
def test_as_json(form: bytes) -> None:
    """The JSON form of the load report's protobuf message."""
    report = load_report(form, LOAD)
    assert report is not None
    kind, _, content = report.partition(b" ")
    assert kind == b"JSON"
    assert json.loads(content) == {
        "application_utilization": 0.1235,
        "rps_fractional": 12.5,
        "eps": 0.0,
        "named_metrics": {"queue_length": 3, "busy": 0.3333},
    }


@pytest.mark.parametrize("form", [b"BIN", b"", b"XML", b"\xff"])
def test_any_other_form_is_not_answered(form: bytes) -> None:
    """A balancer that asks for one gets no report."""
    assert load_report(form, LOAD) is None


def test_large_figures_are_written_out() -> None:
    """No reader has to understand exponents."""
    load = Load(application_utilization=0, rps_fractional=1234567.891, eps=0, named_metrics={})
    report = load_report(b"TEXT", load)
    assert report == b"TEXT application_utilization=0, rps_fractional=1234567.891, eps=0"
