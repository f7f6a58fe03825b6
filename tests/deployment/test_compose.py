"""The files for Docker Compose are valid, and agree with the code and with one another."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from support.metrics import promtool

from potassium import Jobs, Limits
from potassium.config import DEFAULT_PORT
from potassium.deployment import image_facts, stop_seconds

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "compose"
FILES = ["compose.yaml", "compose.gpu.yaml", "compose.cluster.yaml"]
WHOLE = ["compose.yaml", "compose.cluster.yaml"]


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    return document


def servers(name: str) -> list[dict[str, Any]]:
    """Return the services that run the app."""
    return [one for one in read(name)["services"].values() if "build" in one]


@pytest.fixture
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read("compose.yaml")["services"]
    return found


@pytest.mark.parametrize("name", FILES)
def test_the_compose_specification_is_met(name: str) -> None:
    """No field is misspelled, and none has a value of the wrong type."""
    merged = yaml.safe_dump(read(name))  # the checker does not know YAML's merge keys
    PyCompose.from_yaml(merged).validate()


@pytest.mark.parametrize("name", WHOLE)
def test_every_volume_and_file_exists(name: str) -> None:
    """Docker would make a folder of a file that does not."""
    volumes = read(name)["volumes"]
    for service in read(name)["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert (FOLDER / source).is_file() if source.startswith(".") else source in volumes


@pytest.mark.parametrize("name", WHOLE)
def test_the_server_can_write_where_it_has_to_and_nowhere_else(name: str, tmp_path: Path) -> None:
    """The folders are those of the image."""
    (tmp_path / "app.py").touch()
    facts = image_facts(str(tmp_path / "app.py"))
    for server in servers(name):
        assert server["read_only"] is True
        mounted = {volume.split(":")[1] for volume in server["volumes"]}
        assert mounted == {str(one) for one in facts.writable}


@pytest.mark.parametrize("name", WHOLE)
def test_the_server_may_do_nothing_else(name: str) -> None:
    for server in servers(name):
        assert server["cap_drop"] == ["ALL"]
        assert server["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", WHOLE)
def test_a_drain_is_never_cut_short(name: str) -> None:
    limits = {server["stop_grace_period"] for server in servers(name)}
    assert limits == {f"{stop_seconds(Limits())}s"}


@pytest.mark.parametrize("name", WHOLE)
def test_ports_are_those_of_the_server_and_open_to_this_machine_alone(name: str) -> None:
    ports = [port for server in servers(name) for port in server["ports"]]
    assert ports == [f"127.0.0.1:{DEFAULT_PORT + n}:{DEFAULT_PORT}" for n in range(len(ports))]
    services = read(name)["services"].values()
    published = [port for service in services for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_servers_of_a_cluster_have_one_database() -> None:
    """Both wait for it, and its user, password and name are those in their URL."""
    services = read("compose.cluster.yaml")["services"]
    database = services["postgres"]["environment"]
    user, password, name = (database[f"POSTGRES_{key}"] for key in ("USER", "PASSWORD", "DB"))
    for server in servers("compose.cluster.yaml"):
        url = f"postgresql://{user}:{password}@postgres/{name}"
        assert Jobs(url=url.replace(password, "secret"))
        assert server["environment"]["DATABASE_URL"] == url
        assert server["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert len(servers("compose.cluster.yaml")) == 2


def test_the_gpu_is_for_a_service_that_there_is(services: dict[str, dict[str, Any]]) -> None:
    assert {*read("compose.gpu.yaml")["services"]} <= {*services}


def test_prometheus_scrapes_the_server_and_has_our_alerts(
    services: dict[str, dict[str, Any]],
) -> None:
    """The server shows metrics at the path that Prometheus asks for by default."""
    (scrape,) = read("prometheus.yaml")["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": [f"server:{DEFAULT_PORT}"]}]
    assert "metrics_path" not in scrape
    assert services["server"]["environment"]["POTASSIUM_METRICS"] == "1"
    mounted = dict(volume.split(":")[1::-1] for volume in services["prometheus"]["volumes"])
    for rules in read("prometheus.yaml")["rule_files"]:
        assert f"/etc/prometheus/{rules}" in mounted


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "prometheus.yaml", tmp_path)
    shutil.copy(FOLDER.parent / "prometheus" / "potassium.rules.yaml", tmp_path)
    promtool("check", "config", str(tmp_path / "prometheus.yaml"))


def test_grafana_finds_prometheus_and_the_dashboard(services: dict[str, dict[str, Any]]) -> None:
    (source,) = read("grafana.datasource.yaml")["datasources"]
    host, port = re.fullmatch(r"http://(\w+):(\d+)", source["url"]).groups()  # type: ignore[union-attr]
    assert services[host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    (provider,) = read("grafana.dashboards.yaml")["providers"]
    grafana = services["grafana"]
    shown = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert shown.rpartition("/")[0] == provider["options"]["path"]
    assert any(volume.split(":")[1] == shown for volume in grafana["volumes"])
